"""What other packages say in the terminal of ours, and nobody who uses ours need read."""

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGE = str(Path(__file__).parents[1])
ADVERTS = ("💡 Tip", "TPU available")
"""Beginnings of what Lightning's logger says of other products, and of devices that are not there."""
NOTICE = re.escape("`isinstance(treespec, LeafSpec)` is deprecated")
"""A warning about Lightning, which looks into torch's pytrees the way that torch deprecates."""
UNSYNCED = r"It is recommended to use `self\.log\(.*sync_dist=True"
"""Lightning's warning about values that may differ from rank to rank. Those of our network do not."""


class _NoAdverts(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(ADVERTS)


@contextmanager
def without_noise() -> Iterator[None]:
    """A command without adverts and notices of other packages, and without paths before warnings of ours."""
    lightning, quiet = logging.getLogger("pytorch_lightning.utilities.rank_zero"), _NoAdverts()
    shown = warnings.formatwarning

    def formatted(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        ours = filename.startswith(PACKAGE)
        return f"{message}\n" if ours else shown(message, category, filename, lineno, line)

    lightning.addFilter(quiet)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", NOTICE)
            warnings.formatwarning = formatted
            yield
    finally:
        warnings.formatwarning = shown
        lightning.removeFilter(quiet)
