"""``physim validate|test|predict``: one table, and what stays in the run that the checkpoint is of."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import Logger
from torch import Tensor

from lightning_physim import keys
from lightning_physim.errors import InputError
from lightning_physim.files import replace_file
from lightning_physim.loggers import log_row
from lightning_physim.report import print_splits, try_report
from lightning_physim.tracking import JsonlLogger, PhysimWandbLogger, RunDirectory, checkpoint_step, only_writer


def run_of(checkpoint: str) -> RunDirectory:
    """The run that a checkpoint lies in, ``<run>/checkpoints/<file>``."""
    return RunDirectory(Path(checkpoint).parent.parent)


def evaluate(
    trainer: Trainer,
    evaluation: Callable[[], Any],
    checkpoint: str,
    stays: bool,
    others: Sequence[str] = (),
    loggers: Sequence[Logger] = (),
    table: bool = True,
) -> None:
    """Evaluate, and print one table of all splits.

    Args:
        trainer: of the evaluation.
        evaluation: by the trainer.
        checkpoint: of the network.
        stays: whether the numbers become a row of the run's ``metrics.jsonl``, part of its report and of its summary in
            W&B.
        others: options by which these are not the numbers of the run, so that they do not stay.
        loggers: that get the numbers too, at the step of the checkpoint.
        table: whether the numbers are those that :func:`lightning_physim.report.print_splits` knows.

    Raises:
        InputError: the numbers are to stay in a run that is being trained.
    """
    evaluation()
    if not trainer.is_global_zero:
        return
    splits = trainer.datamodule.test_splits  # type: ignore[attr-defined]
    values = {_of_split(key, splits): float(value) for key, value in trainer.callback_metrics.items()}
    if table:
        print_splits(values)
    run, step = run_of(checkpoint), checkpoint_step(checkpoint)
    log_row(loggers, values, step or 0)
    for logger in loggers:
        logger.finalize("success")
    if others:
        print(f"not in {run.metrics}, as the numbers are with {'; '.join(others)}")
    elif stays and values and run.metrics.is_file() and step is not None:
        with only_writer(run):
            JsonlLogger(run.metrics, fatal=True).log_metrics(values, step)
            if (run.path / "wandb").is_dir():
                wandb = PhysimWandbLogger(run)
                wandb.log_summary(values)
                wandb.finish()
        try_report(run)
        print(f"in {run.metrics} and {run.report}")


def _of_split(key: str, splits: Sequence[str]) -> str:
    """A key with the name of its split in place of the number that Lightning puts behind it, as an own network logs."""
    name, numbered, number = key.rpartition("/dataloader_idx_")
    return keys.of_split(splits[int(number)], name.removeprefix("test/")) if numbered else key


def predict(trainer: Trainer, prediction: Callable[[], Any], truth: Callable[[], Tensor], checkpoint: str) -> None:
    """Predict, and leave what the network returns beside the truth: ``predictions-<step>.npz`` in the run.

    Args:
        trainer: of the prediction.
        prediction: by the trainer, what the network returns for each batch: tensors ``[systems, ...]``, alone or in
            tuples, lists and mappings. Ours returns ``[systems, times, particles, 4]``.
        truth: ``[systems, times, particles, 4]`` of the split that is predicted.
        checkpoint: of the network.

    Raises:
        InputError: several processes, of which each would have a part; or a network that returns something else.
    """
    if trainer.world_size > 1:
        raise InputError(f"predict writes what one process has; got {trainer.world_size}: type --trainer.devices=1")
    arrays = dict(_joined("predicted", prediction() or [])) | {"truth": truth().numpy()}
    path = run_of(checkpoint).path / f"predictions-{checkpoint_step(checkpoint) or 0:08d}.npz"
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]  # none of them is named allow_pickle
    replace_file(path, content.getvalue())
    shapes = ", ".join(f"{name} {[*array.shape]}" for name, array in arrays.items())
    print(f"{shapes}; states are (x, y, vx, vy): {path}")


def _joined(name: str, batches: Sequence[Any]) -> Iterator[tuple[str, np.ndarray]]:
    """What a network has returned for each batch as arrays over all of them, by name: ``predicted/0`` in a tuple."""
    kinds = list(dict.fromkeys(map(_kind, batches)))
    if kinds == ["Tensor"]:
        try:
            joined = torch.cat([torch.atleast_1d(batch) for batch in batches])
            # NumPy knows no bfloat16, which float32 holds without loss.
            yield name, (joined.float() if joined.dtype == torch.bfloat16 else joined).numpy()
        except (RuntimeError, TypeError) as error:
            raise InputError(
                "predictions must be dense tensors, alike in all batches but for their first dimension; "
                f"{name} is not: {' '.join(str(error).split())[:200]}"
            ) from error
    elif len(kinds) == 1 and isinstance(batches[0], tuple | list | Mapping) and len(batches[0]):
        for key in batches[0] if isinstance(batches[0], Mapping) else range(len(batches[0])):
            yield from _joined(f"{name}/{key}", [batch[key] for batch in batches])
    else:
        raise InputError(
            "predict_step returns tensors, alone or in tuples, lists and mappings that are the same for every batch; "
            f"got {' and '.join(kinds) or 'no batch'} as {name}: return one tensor [systems, ...] for each quantity"
        )


def _kind(returned: Any) -> str:
    """What a network has returned for a batch, in words that are the same where two of them can be joined."""
    if isinstance(returned, Tensor):
        return "Tensor"
    name = type(returned).__name__
    if isinstance(returned, Mapping):
        return f"{name} of {', '.join(map(str, returned)) or 'nothing'}"
    return f"{name} of {len(returned)}" if isinstance(returned, tuple | list) else name
