"""One bar for the whole run: how far it is, what it is doing, and how long that will take."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from tqdm import tqdm

from lightning_physim.ranges import check_counts

TRAINING = "training"


class StepProgressBar(ProgressBar):
    """A single bar over optimizer steps: epochs mean little here, and validation is short.

    Shows what is being measured, what is logged with ``prog_bar=True``, and an estimate of the time left: steps at the
    rate of training alone, and every measurement that is still to come at what it took last. Where nobody watches, in a
    log, it prints a line every ten seconds.

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
        self._since = (0, 0.0)

    def disable(self) -> None:
        self.enabled = False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Before others measure the untrained network, which takes seconds.
        self.bar = tqdm(
            desc=TRAINING,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{postfix}"
            if trainer.max_steps > 0
            else None,
            unit="step",
            total=trainer.max_steps if trainer.max_steps > 0 else None,
            disable=not self.enabled or not trainer.is_global_zero,
            mininterval=0.2 if sys.stderr.isatty() else 10.0,
            dynamic_ncols=True,
        )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.bar.initial = self.bar.n = trainer.global_step
        self._since = (trainer.global_step, time.perf_counter() - measuring_seconds(trainer))

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if trainer.global_step % self.refresh_every == 0:
            self._refresh(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._refresh(trainer, pl_module)
        self.bar.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if self.bar is not None:
            self.bar.close()

    def doing(self, what: str) -> None:
        """Say at once what the run is doing."""
        if self.bar is not None and not self.bar.disable:
            self.bar.set_description_str(what, refresh=sys.stderr.isatty())

    def _refresh(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = self.get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        names = {key.rsplit("/", 1)[-1]: value for key, value in metrics.items()}
        shown = [f"{k}={f'{v:.3g}' if isinstance(v, float) else v}" for k, v in names.items()]
        left = self._seconds_left(trainer)
        self.bar.set_postfix_str(", ".join([f"{tqdm.format_interval(left)} left"] * (left > 0) + shown), refresh=False)
        self.bar.update(trainer.global_step - self.bar.n)

    def _seconds_left(self, trainer: pl.Trainer) -> float:
        """Estimated; 0 where the end is not known, or nothing has been trained yet."""
        step, (first, began) = trainer.global_step, self._since
        if trainer.max_steps < 1 or step == first:
            return 0.0
        rate = (time.perf_counter() - measuring_seconds(trainer) - began) / (step - first)
        left = sum(observer.seconds_left(step, trainer.max_steps) for observer in observers(trainer))
        return rate * (trainer.max_steps - step) + left


def observers(trainer: pl.Trainer) -> list[Any]:
    """Callbacks that measure at steps of a schedule: :class:`lightning_physim.callbacks.observer.Observer`."""
    return [each for each in getattr(trainer, "callbacks", ()) if hasattr(each, "seconds_left")]


def measuring_seconds(trainer: pl.Trainer) -> float:
    """Seconds that the observers of a trainer have measured so far."""
    return sum(observer.measuring.seconds for observer in observers(trainer))


@contextmanager
def shown_as(trainer: pl.Trainer, what: str) -> Iterator[None]:
    """Inside, the bar of a trainer says that the run is doing this, where it has a bar."""
    bars = [each for each in getattr(trainer, "callbacks", ()) if isinstance(each, StepProgressBar)]
    for bar in bars:
        bar.doing(what)
    try:
        yield
    finally:
        for bar in bars:
            bar.doing(TRAINING)
