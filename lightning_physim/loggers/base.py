"""What a logger of a run takes beside rows of numbers."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


class RunLogger:
    """Mixed into a Lightning logger, before it: what it does not take, it need not define.

    Steps are optimizer steps taken. Callbacks call these methods on every rank; a logger writes on rank zero alone
    (``rank_zero_only``).
    """

    shows_report = False
    """Whether figures and the table of heads are drawn for it each time that the report is written."""

    takes_pages = False
    """Whether it is given the viewer as a page, in place of the figures that stand for it elsewhere."""

    @property
    def seconds(self) -> float:
        """Seconds spent in logging so far."""
        return 0.0

    def log_table(self, key: str, columns: list[str], data: list[list[Any]], step: int | None = None) -> None:
        """Take a table of rows; one of a later step replaces it."""

    def log_arrays(self, key: str, arrays: Mapping[str, Any], step: int) -> None:
        """Take arrays of numbers or booleans by name; those of every step stay."""

    def log_figure(self, key: str, figure: "Figure", step: int) -> None:
        """Take an interactive figure."""

    def log_figures(self, figures: Mapping[str, "Figure"], step: int) -> None:
        """Take the figures of a report, by their keys."""
        for key, figure in figures.items():
            self.log_figure(key, figure, step)

    def log_page(self, key: str, page: str, step: int) -> None:
        """Take a page of HTML that needs nothing else."""

    def log_data(self, splits: Mapping[str, Path]) -> None:
        """Take the directory of each split of the data that the run uses."""

    def log_checkpoint(self, path: Path, step: int) -> None:
        """Take a checkpoint that is kept."""

    def log_report(self, path: Path, step: int) -> None:
        """Take the report of a run that has ended."""

    def log_summary(self, outcome: Mapping[str, float]) -> None:
        """Take what the run has come to so far, under names by which tables of runs are sorted."""

    def alert(self, title: str, text: str) -> None:
        """Tell somebody who is not watching."""

    def finish(self) -> None:
        """Everything has been logged."""
