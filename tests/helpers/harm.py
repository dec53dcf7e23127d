"""A callback that does harm to a training, in processes that a test cannot reach into."""

import os
import signal
from typing import Any

import pytorch_lightning as pl


class Harm(pl.Callback):
    """Does it at the start of a batch, once, on one rank or on all.

    Args:
        how: name of a signal to itself, or ``raise``.
        rank: -1 for all.
        step: optimizer steps taken by then.
    """

    def __init__(self, how: str, rank: int, step: int) -> None:
        self.how, self.rank, self.step = how, rank, step

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if trainer.global_step < self.step or self.rank not in (-1, trainer.global_rank):
            return
        self.step = 10**9
        if self.how == "raise":
            raise RuntimeError(f"injected on rank {trainer.global_rank}")
        os.kill(os.getpid(), getattr(signal, self.how))
