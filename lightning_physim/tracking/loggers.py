"""The loggers of a run."""

from collections.abc import Sequence
from pathlib import Path

from pytorch_lightning.loggers import Logger

from lightning_physim.tracking.jsonl import JsonlLogger
from lightning_physim.tracking.run import RunDirectory, checkpoint_step
from lightning_physim.tracking.wandb_logger import PhysimWandbLogger


def new_loggers(
    run: RunDirectory, resume_from: str | Path | None = None, artifacts: Sequence[str] = (), wandb: bool = True
) -> list[Logger]:
    """``metrics.jsonl`` and Weights & Biases, of which the second decides by itself whether it is online.

    They come first in ``Trainer(logger=[*new_loggers(run), ...])``: the first says where checkpoints go.

    Args:
        run: the run directory.
        resume_from: the checkpoint that training goes on from, with its step in its name. Rows beyond it are dropped
            from ``metrics.jsonl``; W&B keeps what it has, and those rows are not sent again.
        artifacts: of ``"checkpoints"`` and ``"data"`` those that W&B gets whole.
        wandb: whether W&B is one of them.
    """
    resume_step = None if resume_from is None else checkpoint_step(resume_from)
    ours: list[Logger] = [JsonlLogger(run.metrics, resume_step)]
    return [*ours, PhysimWandbLogger(run, resume_step, artifacts)] if wandb else ours
