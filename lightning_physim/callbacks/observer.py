"""What every measuring callback shares: when it measures, that it leaves no trace, and where its numbers go."""

from typing import Any

import pytorch_lightning as pl

from lightning_physim import keys
from lightning_physim.callbacks.schedule import LogSchedule, is_final_step
from lightning_physim.modes import evaluating
from lightning_physim.stopwatch import Stopwatch


class Observer(pl.Callback):
    """Measures before training, on a log-spaced schedule of steps, and after the last step.

    A subclass gives ``name`` and :meth:`measure`. All ranks measure at the same steps; loggers write on rank zero. The
    seconds spent are logged as ``time/<name>`` and survive a resume.

    Args:
        steps_per_decade: measurements per tenfold increase of the step.
    """

    name: str

    def __init__(self, steps_per_decade: int) -> None:
        self.schedule = LogSchedule(steps_per_decade)
        self.stopwatch = Stopwatch()
        self.last_step = -1

    @property
    def seconds(self) -> float:
        """Seconds spent so far, those before a resume included."""
        return self.stopwatch.seconds

    def measure(self, trainer: pl.Trainer, module: pl.LightningModule, final: bool) -> dict[str, float]:
        """Metrics of the module as it stands, the same on every rank; ``final`` at the last step of the run.

        Collectives are allowed: every rank is here.
        """
        raise NotImplementedError

    def due(self, trainer: pl.Trainer, final: bool) -> bool:
        """Whether to measure after ``trainer.global_step`` steps; the same on every rank. May be a collective."""
        return final or trainer.global_step == 0 or self.schedule.due(trainer.global_step)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_step == 0:
            self._observe(trainer, pl_module, final=False)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        self._observe(trainer, pl_module, is_final_step(trainer))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # For a run that max_steps did not end: by epochs, by time, or by hand.
        self._observe(trainer, pl_module, final=True)

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "last_step": self.last_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.stopwatch.seconds, self.last_step = state_dict["seconds"], state_dict["last_step"]

    def _observe(self, trainer: pl.Trainer, module: pl.LightningModule, final: bool) -> None:
        # With gradient accumulation several batches end at one step.
        if trainer.global_step == self.last_step or not self.due(trainer, final):
            return
        self.last_step = trainer.global_step
        with self.stopwatch, evaluating(module):
            metrics = self.measure(trainer, module, final)
        metrics[keys.time_of(self.name)] = self.seconds
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=trainer.global_step)
