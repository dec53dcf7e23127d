"""``physim validate|test|predict``: one table, and what stays in the run that the checkpoint is of."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Trainer
from torch import Tensor

from lightning_physim.errors import InputError
from lightning_physim.files import replace_file
from lightning_physim.report import print_splits, try_report
from lightning_physim.tracking import JsonlLogger, PhysimWandbLogger, RunDirectory, checkpoint_step, only_writer


def run_of(checkpoint: str) -> RunDirectory:
    """The run that a checkpoint lies in, ``<run>/checkpoints/<file>``."""
    return RunDirectory(Path(checkpoint).parent.parent)


def evaluate(trainer: Trainer, evaluation: Callable[[], Any], checkpoint: str, stays: bool) -> None:
    """Evaluate, and print one table of all splits.

    Args:
        trainer: of the evaluation.
        evaluation: by the trainer, without its own table.
        checkpoint: of the network.
        stays: whether the numbers become a row of the run's ``metrics.jsonl``, part of its report and of its summary in
            W&B.

    Raises:
        InputError: the numbers are to stay in a run that is being trained.
    """
    evaluation()
    if not trainer.is_global_zero:
        return
    values = {key: float(value) for key, value in trainer.callback_metrics.items()}
    print_splits(values)
    run, step = run_of(checkpoint), checkpoint_step(checkpoint)
    if stays and run.metrics.is_file() and step is not None:
        with only_writer(run):
            JsonlLogger(run.metrics).log_metrics(values, step)
            if (run.path / "wandb").is_dir():
                wandb = PhysimWandbLogger(run)
                wandb.log_summary(values)
                wandb.finish()
        try_report(run)
        print(f"in {run.metrics} and {run.report}")


def predict(trainer: Trainer, prediction: Callable[[], Any], truth: Callable[[], Tensor], checkpoint: str) -> None:
    """Predict, and leave the rollouts beside the truth: ``predictions-<step>.npz`` in the run.

    Args:
        trainer: of the prediction.
        prediction: by the trainer, ``[systems, times, particles, 4]`` of each batch.
        truth: the same of the split that is predicted.
        checkpoint: of the network.

    Raises:
        InputError: several processes, of which each would have a part.
    """
    if trainer.world_size > 1:
        raise InputError(f"predict writes what one process has; got {trainer.world_size}: type --trainer.devices=1")
    predicted = torch.cat(prediction()).numpy()
    path = run_of(checkpoint).path / f"predictions-{checkpoint_step(checkpoint) or 0:08d}.npz"
    content = io.BytesIO()
    np.savez_compressed(content, predicted=predicted, truth=truth().numpy())
    replace_file(path, content.getvalue())
    print(f"predicted and truth, [systems, times, particles, (x, y, vx, vy)]: {path}")
