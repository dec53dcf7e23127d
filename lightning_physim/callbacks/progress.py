"""One bar for the whole run."""

import sys
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from tqdm import tqdm

from lightning_physim.ranges import check_counts


class StepProgressBar(ProgressBar):
    """A single bar over optimizer steps: epochs mean little here, and validation is short.

    Shows what is logged with ``prog_bar=True``. Where nobody watches, in a log, it prints a line every ten seconds.

    Args:
        refresh_every: steps between updates.

    Raises:
        InputError: ``refresh_every`` below 1.
    """

    def __init__(self, refresh_every: int = 20) -> None:
        super().__init__()
        check_counts(refresh_every=refresh_every)
        self.refresh_every = refresh_every
        self.enabled = True
        self.bar: Any = None

    def disable(self) -> None:
        self.enabled = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.bar = tqdm(
            desc="training",
            unit="step",
            total=trainer.max_steps if trainer.max_steps > 0 else None,
            initial=trainer.global_step,
            disable=not self.enabled or not trainer.is_global_zero,
            mininterval=0.2 if sys.stderr.isatty() else 10.0,
            dynamic_ncols=True,
        )

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if trainer.global_step % self.refresh_every == 0:
            self._refresh(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._refresh(trainer, pl_module)
        self.bar.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if self.bar is not None:
            self.bar.close()

    def _refresh(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = self.get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        names = {key.rsplit("/", 1)[-1]: value for key, value in metrics.items()}
        self.bar.set_postfix({k: f"{v:.3g}" if isinstance(v, float) else v for k, v in names.items()}, refresh=False)
        self.bar.update(trainer.global_step - self.bar.n)
