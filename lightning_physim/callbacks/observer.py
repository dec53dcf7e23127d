"""What every measuring callback shares: when it measures, that it leaves no trace, and where its numbers go."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl

from lightning_physim import keys
from lightning_physim.callbacks.safeguard import end_now
from lightning_physim.callbacks.schedule import LogSchedule, is_final_step
from lightning_physim.errors import Diverged, GivenUp
from lightning_physim.loggers import log_row
from lightning_physim.modes import evaluating, is_finite
from lightning_physim.stopwatch import Stopwatch


class Observer(pl.Callback):
    """Measures before training, on a log-spaced schedule of steps, and after the last step.

    A subclass gives ``name`` and :meth:`measure`, and perhaps ``what``. All ranks measure at the same steps; loggers
    write on rank zero. The seconds spent are logged as ``time/<name>`` and survive a resume. A network whose weights or
    loss are not finite is not measured. What is given up for a signal is measured after the resume.

    Args:
        steps_per_decade: measurements per tenfold increase of the step.
    """

    name: str
    what: str | None = None
    """What is measured, in words for the progress bar; None for ``name``, empty for what takes no time of its own."""

    def __init__(self, steps_per_decade: int) -> None:
        self.schedule = LogSchedule(steps_per_decade)
        self.stopwatch = Stopwatch()
        self.last_step = -1
        self.given_up = -1
        """The step of a measurement that is still to be made."""
        self.listener: Callable[[Observer | None], object] | None = None
        """Called with this observer when it begins to measure, and with None when it has ended."""

    @property
    def seconds(self) -> float:
        """Seconds spent so far, those before a resume included."""
        return self.stopwatch.seconds

    def measure(self, trainer: pl.Trainer, module: pl.LightningModule, final: bool) -> dict[str, float]:
        """Metrics of the module as it stands, the same on every rank; ``final`` at the last step of the run.

        Collectives are allowed: every rank is here.

        Raises:
            Diverged: on every rank, as the network's numbers are not finite.
            GivenUp: on every rank, as a signal is to end training.
        """
        raise NotImplementedError

    def due(self, trainer: pl.Trainer, final: bool) -> bool:
        """Whether to measure after ``trainer.global_step`` steps; the same on every rank. May be a collective."""
        return final or trainer.global_step == 0 or self.schedule.due(trainer.global_step)

    def planned(self, last_step: int) -> list[int]:
        """The steps after which it will measure, the first one aside, as far as the schedule tells."""
        return sorted({*self.schedule.steps(last_step), last_step})

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_step in (0, self.given_up):
            self.observe(trainer, pl_module, final=False)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        self.observe(trainer, pl_module, is_final_step(trainer))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # For a run that max_steps did not end: by epochs, by time, or by hand.
        self.observe(trainer, pl_module, final=True)

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "last_step": self.last_step, "given_up": self.given_up}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.stopwatch.seconds, self.last_step = state_dict["seconds"], state_dict["last_step"]
        self.given_up = state_dict.get("given_up", -1)  # older checkpoints have none

    def observe(self, trainer: pl.Trainer, module: pl.LightningModule, final: bool) -> None:
        """Measure if it is due, and log; ``final`` as of :meth:`measure`. Every rank is here."""
        # With gradient accumulation several batches end at one step.
        if trainer.global_step == self.last_step or not self.due(trainer, final):
            return
        self.last_step = trainer.global_step
        if not is_finite(module):
            return
        try:
            with self._told(), self.stopwatch, evaluating(module):
                metrics = self.measure(trainer, module, final)
        except Diverged:
            return
        except GivenUp:
            if final:  # there is no step after it to go on from: the checkpoint before it counts
                end_now(trainer)
            self.given_up, self.last_step = trainer.global_step, -1
            return
        metrics[keys.time_of(self.name)] = self.seconds
        log_row(trainer.loggers, metrics, trainer.global_step)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Inside, the listener knows that this one measures."""
        if self.listener is None:
            yield
            return
        self.listener(self)
        try:
            yield
        finally:
            self.listener(None)
