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
NOTICES = "|".join(
    (
        # Lightning looks into torch's pytrees the way that torch deprecates.
        re.escape("`isinstance(treespec, LeafSpec)` is deprecated"),
        # Ours are the same on every rank when they are logged.
        r"It is recommended to use `self\.log\(.*sync_dist=True",
    )
)
"""Warnings that are about the code of others, or do not hold for ours."""


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
            warnings.filterwarnings("ignore", NOTICES)
            warnings.formatwarning = formatted
            yield
    finally:
        warnings.formatwarning = shown
        lightning.removeFilter(quiet)
