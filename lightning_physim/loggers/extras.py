"""Figures, tables, reports and alerts: what a logger may fail to take."""

from collections.abc import Callable

from pytorch_lightning.utilities import rank_zero_info

from lightning_physim.stopwatch import Stopwatch


class Extras:
    """Hands extras to a logger: what cannot be logged costs one line and that kind of extra, and training goes on.

    Args:
        name: of the logger, for that line.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.stopwatch = Stopwatch()
        self._lost: set[str] = set()

    def send(self, kind: str, call: Callable[[], object]) -> None:
        """Make a call that logs something of a kind, unless one of that kind has failed."""
        if kind in self._lost:
            return
        with self.stopwatch:
            try:
                call()
            except Exception as error:  # whatever the logger's trouble is, it is not a reason not to train
                self._lost.add(kind)
                reason = " ".join(str(error).split())[:200]
                rank_zero_info(f"{self.name} goes without {kind}, training goes on: {reason}")
