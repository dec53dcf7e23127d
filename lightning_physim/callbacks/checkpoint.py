"""Checkpoints at log-spaced steps, to look back at, and a rolling one, to go on from."""

import io
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning.callbacks import Checkpoint

from lightning_physim.callbacks.safeguard import is_ending
from lightning_physim.callbacks.schedule import LogSchedule, is_final_step
from lightning_physim.files import replace_file
from lightning_physim.loggers import run_loggers
from lightning_physim.modes import is_finite
from lightning_physim.ranges import check_counts


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there whole.

    Lightning's own writes to the folder for temporary files. From another disk it is copied, so that a kill leaves half
    of one, and a small one has no room for it.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Save a checkpoint.

        Raises:
            OSError: it cannot be written; what was there is as it was.
        """
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        content = io.BytesIO()
        torch.save(checkpoint, content)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        replace_file(Path(path), content.getbuffer())


class LogSpacedCheckpoint(Checkpoint):
    """Keeps ``step-00001234.ckpt`` at every step of a log-spaced schedule and at the last one.

    Between them a checkpoint every ``rolling_steps`` replaces the previous such, so that a killed run loses little. A
    checkpoint is written once everything that belongs to its step has been logged, a validation that follows it
    included; resuming from it therefore loses and repeats nothing. A run that a signal ends leaves a rolling one, see
    :class:`lightning_physim.callbacks.Safeguard`. There is none of weights that are not finite. Kept ones go to every
    :class:`lightning_physim.loggers.RunLogger`.

    Args:
        dirpath: folder of the checkpoints; None for ``checkpoints/`` under the trainer's ``default_root_dir``.
        steps_per_decade: kept checkpoints per tenfold increase of the step.
        rolling_steps: steps between rolling checkpoints; 0 for none.
    """

    def __init__(self, dirpath: str | None = None, steps_per_decade: int = 4, rolling_steps: int = 500) -> None:
        check_counts(0, rolling_steps=rolling_steps)
        self.dirpath = dirpath
        self.schedule = LogSchedule(steps_per_decade)
        self.rolling_steps = rolling_steps
        self.last_step = -1
        self.rolling: str | None = None
        self.superseded: str | None = None
        """The rolling one before the last checkpoint; still there where the process was killed between the two."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        folder = self.dirpath or str(Path(trainer.default_root_dir) / "checkpoints")
        self.folder = Path(trainer.strategy.broadcast(folder))
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:  # a user's own stays
            trainer.strategy.checkpoint_io = WholeFiles()
        if stage == "fit" and trainer.is_global_zero:
            self.folder.mkdir(parents=True, exist_ok=True)  # a place that cannot be is to be refused before training

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        loop = trainer.fit_loop
        assert loop._data_fetcher is not None
        if not loop.epoch_loop._should_check_val_fx(loop._data_fetcher):
            self._save_if_due(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._save_if_due(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_step != self.last_step or self.rolling is not None:  # one that rolls is to stay after all
            self._save(trainer, keep=True)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._drop_superseded(trainer)

    def state_dict(self) -> dict[str, Any]:
        return {"last_step": self.last_step, "rolling": self.rolling, "superseded": self.superseded}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.last_step, rolling = state_dict["last_step"], state_dict["rolling"]
        self.rolling = rolling and Path(rolling).name  # a path in older checkpoints
        self.superseded = state_dict.get("superseded")  # older checkpoints have none

    def _save_if_due(self, trainer: pl.Trainer) -> None:
        step = trainer.global_step
        if step == self.last_step:
            return
        keep = self.schedule.due(step) or is_final_step(trainer)
        rolling = self.rolling_steps and step % self.rolling_steps == 0
        if keep or rolling or is_ending(trainer):
            self._save(trainer, keep)

    def _save(self, trainer: pl.Trainer, keep: bool) -> None:
        if not is_finite(trainer.lightning_module):
            return
        self.last_step = trainer.global_step
        path = self.folder / f"step-{self.last_step:08d}.ckpt"
        self.superseded = None if self.rolling == path.name else self.rolling
        # State first: the checkpoint holds it.
        self.rolling = None if keep else path.name
        trainer.save_checkpoint(path, weights_only=False)  # collective: every rank calls it, rank zero writes
        for logger in run_loggers(trainer.loggers) if keep else ():
            logger.log_checkpoint(path, step=self.last_step)
        self._drop_superseded(trainer)

    def _drop_superseded(self, trainer: pl.Trainer) -> None:
        if self.superseded is not None and trainer.is_global_zero:
            (self.folder / self.superseded).unlink(missing_ok=True)
