"""What a run's configuration does not tell of itself: the code, the data and the machine behind it."""

import re
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

import lightning_physim
from lightning_physim import keys
from lightning_physim.callbacks import LearningCoefficient


def provenance(trainer: pl.Trainer) -> dict[str, Any]:
    """For the configuration of a W&B run, once the trainer is set up; no collective.

    Returns:
        ``{"provenance": {...}, "metrics": {key: {"unit": ..., "goal": ...}}}``, a key with ``*`` for what
        stands for heads, regions and numbers of intervals. The first holds ``version`` and, from
        a checkout, ``commit`` and ``dirty`` (tracked files differ from it); ``data``, the directory of each split,
        which is named by a hash of what made it; ``sgld``, the settings of learning coefficients with all defaults;
        ``world_size``, ``device``, ``torch``.
    """
    found: dict[str, Any] = {"version": lightning_physim.__version__, **_checkout()}
    data: Any = getattr(trainer, "datamodule", None)
    if hasattr(data, "specs"):
        found["data"] = {name: spec.directory(data.cache_dir).name for name, spec in data.specs.items()}
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, LearningCoefficient):
            found["sgld"] = asdict(callback.sgld)
    found["world_size"] = trainer.world_size
    found["device"] = device_name(trainer)
    found["torch"] = str(torch.__version__)  # of a class of its own, which YAML writes with its tag
    # wandb 0.31 has no place for a unit, and none for a direction that would not change the summary too.
    metrics = {re.sub(r"\{\w+\}", "*", key): {"unit": key.unit, "goal": key.goal} for key in keys.KEYS}
    return {"provenance": found, "metrics": metrics}


def device_name(trainer: pl.Trainer) -> str:
    """What a trainer computes on: the model of a GPU, or the type of another device."""
    device = trainer.strategy.root_device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device.type)


def _checkout() -> dict[str, Any]:
    """Commit of the checkout that the package runs from; empty for an installed one, inside a repository or not."""
    folder = Path(lightning_physim.__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, check=True, timeout=10.0
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return {}
