"""Runs that a command is given by name."""

import math
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from lightning_physim import keys
from lightning_physim.curves import Metrics, last
from lightning_physim.errors import InputError
from lightning_physim.tracking import RunDirectory, checkpoints_by_step, find_run, read_metrics


def chosen_run(root: str | Path, which: str) -> RunDirectory:
    """:func:`lightning_physim.tracking.find_run`, which tells the run that ``last`` stands for.

    After a sweep that is a trial, after a reproduction a control: whoever types it should see.
    """
    run = find_run(root, which)
    if (
        which == "last" and os.environ.get("LOCAL_RANK", "0") == "0"
    ):  # processes that a launcher has started say nothing
        print(f"last: {run.path}", file=sys.stderr)
    return run


def chosen_checkpoints(run: RunDirectory, steps: Iterable[int] | None) -> dict[int, Path]:
    """The checkpoints of a run by step, ascending: those of ``steps``, or all.

    Raises:
        InputError: there is none, or none of one of the steps.
    """
    found = checkpoints_by_step(run)
    missing = sorted({*(steps or ())} - found.keys())
    if missing or not found:
        raise InputError(
            f"--steps are steps with a checkpoint, {', '.join(map(str, sorted(found))) or f'none in {run.checkpoints}'}"
            f"; got {', '.join(map(str, missing)) or 'none to choose from'}"
        )
    return {step: found[step] for step in sorted({*(steps or found)})}


def logged(run: RunDirectory, state: str) -> tuple[str, Metrics | None]:
    """What a training has logged that one of many commands has run, and what has become of it.

    One that has not finished, that cannot be read or that diverged is named and left out; it does not end the many.

    Args:
        run: of the training.
        state: as :class:`lightning_physim.sweeps.LocalSweep` knows it; ``"not started"`` is not worth a line.
    """
    metrics = None
    if state == "finished":
        try:
            metrics = read_metrics(run.metrics)
        except (InputError, OSError) as error:
            return unreadable(run, error)
        if not math.isfinite(last(metrics, keys.VAL_LOSS)):
            state, metrics = "diverged", None  # trained on with --safeguard.allow_nan, or by an earlier version
    if state not in ("finished", "not started"):
        print(f"left out: {run.id}: {state}")
    return state, metrics


def unreadable(run: RunDirectory, error: Exception) -> tuple[str, None]:
    """A run that is left out because of one of its files."""
    print(f"left out: {run.id}: {error}")
    return "unreadable", None
