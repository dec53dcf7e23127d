"""One bar for the whole run."""

import math
import sys
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from tqdm import tqdm

from lightning_physim.callbacks.observer import Observer
from lightning_physim.ranges import check_counts

FORMAT = "{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{left}{postfix}]"
TIMED_STEPS = 5
"""Steps that are timed before the time left is told."""
MIN_SECONDS = 0.3
"""Of a measurement that the bar tells of; shorter ones would make it flicker."""


class StepProgressBar(ProgressBar):
    """A single bar over optimizer steps: epochs mean little here, and validation is short.

    Says what takes the time, training or a measurement, and how long the rest will take, as ``[elapsed<left]``. That is
    the steps that are left at the pace of training alone. Every planned measurement is added, at the mean of those of
    its kind so far. A ``+`` behind the time: something is planned that was not measured yet. Shows what is logged with
    ``prog_bar=True``. Where nobody watches, in a log, it prints a line every ten seconds.

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
        self.first_step = self.n_timed = 0
        self.seconds = 0.0
        """Of the steps that were timed, all but the first, without their measurements."""
        self._begun = self._measured_from = 0.0
        """When the step and the measurement have begun. What was measured is taken from the step."""

    def disable(self) -> None:
        self.enabled = False

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.bar = None
        for observer in observers(trainer) if self.enabled and trainer.is_global_zero else ():
            observer.listener = lambda observer: self._measuring(trainer, observer)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.first_step = trainer.global_step
        self._open(trainer)

    def on_train_batch_start(self, *_: Any) -> None:
        self._begun = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if trainer.global_step > self.first_step + 1:
            self.n_timed += 1
            self.seconds += time.perf_counter() - self._begun
        if trainer.global_step % self.refresh_every == 0:
            self._refresh(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._refresh(trainer, pl_module)
        self.bar.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if self.bar is not None:
            self.bar.close()

    def seconds_left(self, trainer: pl.Trainer) -> tuple[float, bool]:
        """What the rest of the training will take, and whether that is all of it.

        NaN while too little is known, or without a last step. It is not all where something was not measured yet.
        """
        step, last = trainer.global_step, trainer.max_steps
        if last < 1 or (self.n_timed < TIMED_STEPS and step < last):
            return math.nan, False
        left, known = (last - step) * self.seconds / max(self.n_timed, 1), True
        for observer in observers(trainer):
            planned = [0, *observer.planned(last)]
            done = sum(at <= step for at in planned)
            left += (len(planned) - done) * observer.seconds / done
            known = known and (observer.seconds > 0 or done == len(planned))
        return left, known

    def _open(self, trainer: pl.Trainer) -> None:
        if self.bar is None:
            self.bar = _Bar(
                desc="training: ",
                total=trainer.max_steps if trainer.max_steps > 0 else None,
                initial=trainer.global_step,
                disable=not self.enabled or not trainer.is_global_zero,
                mininterval=0.2 if sys.stderr.isatty() else 10.0,
                dynamic_ncols=True,
                bar_format=FORMAT if trainer.max_steps > 0 else None,
            )

    def _measuring(self, trainer: pl.Trainer, observer: Observer | None) -> None:
        """An observer begins to measure, or None: it has ended."""
        self._open(trainer)
        if observer is None:
            self._begun += time.perf_counter() - self._measured_from
        self._measured_from = time.perf_counter()
        done = 0 if observer is None else sum(at <= trainer.global_step for at in observer.planned(trainer.global_step))
        long = observer is not None and (not observer.seconds or observer.seconds > MIN_SECONDS * done)
        name = f"measuring {observer.what or observer.name}" if observer is not None and long else "training"
        if name != self.bar.desc.removesuffix(": "):
            self.bar.n, self.bar.seconds_left = trainer.global_step, self.seconds_left(trainer)
            self.bar.set_postfix_str("", refresh=False)  # a line has room for one of them
            self.bar.set_description(name, refresh=sys.stderr.isatty())

    def _refresh(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = self.get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        names = {key.rsplit("/", 1)[-1]: value for key, value in metrics.items()}
        self.bar.set_postfix({k: f"{v:.3g}" if isinstance(v, float) else v for k, v in names.items()}, refresh=False)
        self.bar.seconds_left = self.seconds_left(trainer)
        self.bar.update(trainer.global_step - self.bar.n)


class _Bar(tqdm):
    """With the seconds that are left, which tqdm would take from all that has passed."""

    seconds_left = (math.nan, False)

    @property
    def format_dict(self) -> dict[str, Any]:
        seconds, is_all = self.seconds_left
        text = self.format_interval(seconds) + "+" * (not is_all) if math.isfinite(seconds) else "?"
        return super().format_dict | {"left": text}


def observers(trainer: pl.Trainer) -> list[Observer]:
    """Those that take time of their own."""
    return [each for each in trainer.callbacks if isinstance(each, Observer) and each.what != ""]  # type: ignore[attr-defined]
