"""What other packages say in the terminal of ours, and nobody who uses ours need read."""

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGE = str(Path(__file__).parents[1])
CHATTY = (
    "pytorch_lightning.utilities.rank_zero",
    "pytorch_lightning.accelerators.cuda",
    "lightning_fabric.utilities.rank_zero",
    "lightning_fabric.utilities.distributed",
    "lightning_fabric.utilities.seed",
)
"""Loggers by which Lightning tells of other products, of seeds, of devices, of restored states and of its own end."""
NOTICE = re.escape("`isinstance(treespec, LeafSpec)` is deprecated")
"""A warning about Lightning, which looks into torch's pytrees the way that torch deprecates."""
UNSYNCED = r"It is recommended to use `self\.log\(.*sync_dist=True"
"""Lightning's warning about values that may differ from rank to rank. Those of our network do not."""


class _OursAlone(logging.Filter):
    """Of what is no warning, only what this package says: it speaks by the first of these loggers too."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno > logging.INFO or record.pathname.startswith(PACKAGE)


@contextmanager
def without_noise() -> Iterator[None]:
    """A command without adverts and notices of other packages, and without paths before warnings of ours."""
    chatty, quiet = [logging.getLogger(name) for name in CHATTY], _OursAlone()
    shown = warnings.formatwarning

    def formatted(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        ours = filename.startswith(PACKAGE)
        return f"{message}\n" if ours else shown(message, category, filename, lineno, line)

    for logger in chatty:
        logger.addFilter(quiet)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", NOTICE)
            warnings.formatwarning = formatted
            yield
    finally:
        warnings.formatwarning = shown
        for logger in chatty:
            logger.removeFilter(quiet)
