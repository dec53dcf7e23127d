"""The report while training runs."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_only

from lightning_physim.callbacks.schedule import LogSchedule, is_final_step
from lightning_physim.report.html import run_figures, write_report
from lightning_physim.report.summary import head_table
from lightning_physim.tracking import HEAD_TABLE, PANELS, RunDirectory, read_metrics


class LiveReport(pl.Callback):
    """Writes ``report.html`` once a decade of steps and at the end, and logs its figures to Weights & Biases.

    Figures go out as interactive plots under ``report/<name>`` and the table of heads under ``report/heads``, to every
    logger that has ``log_figure``. Everything comes from the files of the run. Rank zero alone, no collective.

    Args:
        run: the run directory.
    """

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self.schedule = LogSchedule(1)
        self.last_step = -1

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        # The last step has its report when everything that is measured at the end has been.
        if trainer.global_step >= 10 and self.schedule.due(trainer.global_step) and not is_final_step(trainer):
            self._write(trainer)

    def on_train_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._write(trainer)
        for logger in trainer.loggers:
            if hasattr(logger, "log_report") and self.run.report.is_file():
                logger.log_report(self.run.report, step=trainer.global_step)

    @rank_zero_only
    def _write(self, trainer: pl.Trainer) -> None:
        # With gradient accumulation several batches end at one step.
        if trainer.global_step == self.last_step or not self.run.metrics.is_file():
            return
        self.last_step = step = trainer.global_step
        write_report(self.run.path)
        online: list[Any] = [logger for logger in trainer.loggers if hasattr(logger, "log_figure")]
        if not online:
            return
        metrics = read_metrics(self.run.metrics)
        figures = run_figures(self.run, metrics)
        heads = head_table(metrics)
        for logger in online:
            for panel in PANELS:
                if panel.name in figures:
                    logger.log_figure(panel.key, figures[panel.name], step=step)
            if heads:
                columns = list(heads[0])
                logger.log_table(
                    HEAD_TABLE, columns=columns, data=[[row[name] for name in columns] for row in heads], step=step
                )
