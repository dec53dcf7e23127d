"""Where the time goes."""

import time
from typing import Any

import pytorch_lightning as pl

from lightning_physim.callbacks.observer import Observer


class TrainingClock(Observer):
    """Logs ``time/train``, the seconds spent in training batches, and ``time/log``, those spent in loggers.

    Put it first among the callbacks: what runs between the start of a batch and its own ``on_train_batch_end`` counts
    as training. On a GPU the kernels of a batch may still be running when it ends; the sum over many is right.

    Args:
        steps_per_decade: rows per tenfold increase of the step.
    """

    name = "train"

    def __init__(self, steps_per_decade: int = 8) -> None:
        super().__init__(steps_per_decade)
        self.start = 0.0

    def on_train_batch_start(self, *_: Any) -> None:
        self.start = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        self.seconds += time.perf_counter() - self.start
        super().on_train_batch_end(trainer, pl_module)

    def measure(self, trainer: pl.Trainer, module: pl.LightningModule, final: bool) -> dict[str, float]:
        return {"time/log": sum(getattr(logger, "seconds", 0.0) for logger in trainer.loggers)}
