"""Validate on the same log-spaced steps as everything else."""

from typing import Any

import pytorch_lightning as pl

from lightning_physim.callbacks.schedule import LogSchedule, is_final_step


class LogSpacedValidation(pl.Callback):
    """Runs Lightning's own validation loop at log-spaced steps and after the last one, in place of a fixed interval.

    Args:
        steps_per_decade: validations per tenfold increase of the step.
    """

    def __init__(self, steps_per_decade: int = 8) -> None:
        self.schedule = LogSchedule(steps_per_decade)
        self.last_step = -1

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # A checkpoint comes after the validation of its step; the next batch may still belong to that step.
        self.last_step = trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        # Lightning validates after a batch when the count of batches is a multiple of `val_check_batch`, which it
        # reads anew each time: the count itself means now, one more than the count means not now.
        step, loop = trainer.global_step, trainer.fit_loop.epoch_loop
        due = step != self.last_step and (self.schedule.due(step) or is_final_step(trainer))
        batches = 1 + (loop.total_batch_idx if trainer.check_val_every_n_epoch is None else loop.batch_idx)
        trainer.val_check_batch = batches if due else batches + 1
        self.last_step = step
