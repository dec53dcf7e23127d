"""The report while training runs."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_info, rank_zero_only, rank_zero_warn

from lightning_physim import keys
from lightning_physim.callbacks.schedule import LogSchedule, is_final_step
from lightning_physim.curves import collision_heads
from lightning_physim.loggers import RunLogger, run_loggers
from lightning_physim.report.heads import head_table
from lightning_physim.report.llc_figures import estimate_table
from lightning_physim.report.run_page import viewer_page, write_report
from lightning_physim.report.sections import RunContent
from lightning_physim.report.summary import headline, outcome
from lightning_physim.stopwatch import Stopwatch
from lightning_physim.tracking import RunDirectory, read_metrics

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MAX_SHARE = 0.01
"""Of the time since the start, that reports before the last one may take; the first is free."""


class LiveReport(pl.Callback):
    """Writes ``report.html`` while training runs and at the end, and logs its figures to every logger that takes them.

    Until the end the page reads itself again. Steps are log-spaced, and passed over where reports so far have taken
    more than a hundredth of the time. Figures go out as interactive plots under ``report/<name>``, the table of heads
    under ``report/heads``, and that of learning coefficients under ``report/estimates``. The viewer goes out as a
    page under ``report/viewer``, or as two plots to what takes no pages. All that goes to every
    :class:`lightning_physim.loggers.RunLogger` that shows the report, and comes from the files of the run. They also
    get the outcome so far, and an alert when the first head has passed five times uniform attention. Rank zero alone,
    no collective. A report that cannot be written costs a line, and training goes on.

    Args:
        run: the run directory.
        steps_per_decade: steps that are considered, per tenfold increase.
    """

    def __init__(self, run: RunDirectory, steps_per_decade: int = 4) -> None:
        self.run = run
        self.schedule = LogSchedule(steps_per_decade)
        self.last_step = -1
        self.stopwatch = Stopwatch()
        self.start = 0.0
        self.told = False
        """Whether somebody has been told of the first head."""

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.start = time.perf_counter()
        # A run that goes on has told of the heads that it had. No state of a checkpoint: evaluations would miss it.
        resumed = trainer.global_step > 0 and self.run.metrics.is_file()
        self.told = resumed and bool(collision_heads(read_metrics(self.run.metrics)))
        rank_zero_info(f"report, which reloads itself from step 10 on: {self.run.report.resolve().as_uri()}")
        for logger in trainer.loggers:
            if not run_loggers([logger]):
                rank_zero_info(
                    f"{type(logger).__name__} takes numbers alone; figures and tables are in {self.run.report}"
                )

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        # The last step has its report when everything that is measured at the end has been.
        if trainer.global_step >= 10 and self.schedule.due(trainer.global_step) and not is_final_step(trainer):
            if self.stopwatch.seconds <= MAX_SHARE * (time.perf_counter() - self.start):
                self._write(trainer, live=True)

    def on_train_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._write(trainer)
        for logger in run_loggers(trainer.loggers) if self.run.report.is_file() else ():
            logger.log_report(self.run.report, trainer.global_step)

    @rank_zero_only
    def _write(self, trainer: pl.Trainer, live: bool = False) -> None:
        # With gradient accumulation several batches end at one step.
        if live and trainer.global_step == self.last_step or not self.run.metrics.is_file():
            return
        self.last_step = step = trainer.global_step
        with self.stopwatch:
            content = try_report(self.run, live)
            shown = [logger for logger in run_loggers(trainer.loggers) if logger.shows_report]
            if shown and content is not None:
                self._log(shown, content, step)

    def _log(self, loggers: list[RunLogger], content: RunContent, step: int) -> None:
        figures = _by_key(content.figures())
        heads, estimates = head_table(content.metrics), estimate_table(content.metrics)
        emerged = bool(collision_heads(content.metrics)) and not self.told
        self.told = self.told or emerged
        for logger in loggers:
            logger.log_summary(outcome(content.metrics))
            if emerged:
                logger.alert("The first head has emerged", f"{self.run.id}, step {step:,}: {headline(content.metrics)}")
            if not logger.takes_pages:
                logger.log_figures(figures | _by_key(content.figures(viewed=True)), step)
            else:
                logger.log_figures(figures, step)
                if page := viewer_page(content):
                    logger.log_page(keys.VIEWER, page, step)
            if heads:
                columns = list(heads[0])
                logger.log_table(keys.HEAD_TABLE, columns, [[row[name] for name in columns] for row in heads], step)
            if estimates:
                logger.log_table(keys.ESTIMATE_TABLE, [*keys.ESTIMATE_COLUMNS], estimates, step)


def _by_key(figures: Mapping[str, "Figure"]) -> dict[str, "Figure"]:
    return {keys.REPORT_FIGURE.of(figure=name): figure for name, figure in figures.items()}


def try_report(run: RunDirectory, live: bool = False) -> RunContent | None:
    """Write the report of a run; what is in it, or None and a line of warning where it cannot be written.

    Args:
        live: whether training goes on, so that the page reads itself again.
    """
    try:
        content = RunContent(run)
        write_report(content, live=live)
        return content
    except Exception as error:  # whatever it is, training is worth more
        reason = " ".join(str(error).split())[:200]
        rank_zero_warn(f"{run.report} cannot be written, training goes on: {type(error).__name__}: {reason}")
        return None
