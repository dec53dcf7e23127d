"""What other packages say in the terminal of ours, and nobody who uses ours need read."""

import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

PACKAGE = str(Path(__file__).parents[1])
NOISE = (
    "💡 Tip", "GPU available: ", "TPU available: ",  # adverts, and devices: our first line names the one that is used
    "Seed set to ", "[rank: ",  # of each process; our first line has it
    "Initializing distributed: ", "-" * 20, "distributed_backend=",  # one line for each process
    "`Trainer.fit` stopped: `max_steps=",  # the bar has arrived
    "Restoring states ", "Loaded model weights ", "Restored all states ",  # the command line has named the checkpoint
)  # fmt: skip
"""Beginnings of what Lightning's loggers say and our own lines have said, or that nobody needs."""
LOGGERS = (
    "pytorch_lightning.utilities.rank_zero",
    *(f"lightning_fabric.utilities.{name}" for name in ("rank_zero", "distributed", "seed")),
)
NOTICE = re.escape("`isinstance(treespec, LeafSpec)` is deprecated")
"""A warning about Lightning, which looks into torch's pytrees the way that torch deprecates."""
UNSYNCED = r"It is recommended to use `self\.log\(.*sync_dist=True"
"""Lightning's warning about values that may differ from rank to rank. Those of our network do not."""


class _NoNoise(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(NOISE)


@contextmanager
def without_noise() -> Iterator[None]:
    """A command without adverts and notices of other packages, and without paths before warnings of ours.

    Warnings stand above a progress bar, and do not run into it.
    """
    loggers, quiet = [logging.getLogger(name) for name in LOGGERS], _NoNoise()

    def show(
        message: Warning | str, category: type[Warning], filename: str, lineno: int,
        file: TextIO | None = None, line: str | None = None,
    ) -> None:  # fmt: skip
        from tqdm import tqdm  # here: most commands warn of nothing

        ours = filename.startswith(PACKAGE)
        text = str(message) if ours else warnings.formatwarning(message, category, filename, lineno, line)
        tqdm.write(text.rstrip("\n"), file=file or sys.stderr)

    for logger in loggers:
        logger.addFilter(quiet)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", NOTICE)
            # Not `formatwarning`, which Lightning replaces when it is imported.
            warnings.showwarning = show
            yield
    finally:
        for logger in loggers:
            logger.removeFilter(quiet)
