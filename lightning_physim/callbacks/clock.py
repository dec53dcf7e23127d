"""Where the time goes."""

import time
from typing import Any

import pytorch_lightning as pl

from lightning_physim import keys
from lightning_physim.callbacks.observer import Observer
from lightning_physim.loggers import run_loggers
from lightning_physim.stopwatch import Stopwatch


class TrainingClock(Observer):
    """Logs the seconds spent in training batches and in loggers, ``time/train`` and ``time/log``.

    ``time/train_cpu`` are the CPU seconds of training batches, of all threads of this process: unlike ``time/train`` it
    does not count the time that other programs took from it.

    Put it first among the callbacks: what runs between the start of a batch and its own ``on_train_batch_end`` counts
    as training. On a GPU the kernels of a batch may still be running when it ends; the sum over many is right.

    Args:
        steps_per_decade: rows per tenfold increase of the step.
    """

    name = "train"
    what = ""

    def __init__(self, steps_per_decade: int = 8) -> None:
        super().__init__(steps_per_decade)
        self.cpu = Stopwatch(time.process_time)

    def on_train_batch_start(self, *_: Any) -> None:
        self.stopwatch.start()
        self.cpu.start()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        self.stopwatch.stop()
        self.cpu.stop()
        super().on_train_batch_end(trainer, pl_module)

    def measure(self, trainer: pl.Trainer, module: pl.LightningModule, final: bool) -> dict[str, float]:
        log = sum(logger.seconds for logger in run_loggers(trainer.loggers))
        return {keys.TIME_TRAIN_CPU: self.cpu.seconds, keys.TIME_LOG: log}

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"cpu_seconds": self.cpu.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.cpu.seconds = state_dict.get("cpu_seconds", 0.0)  # older checkpoints have none
