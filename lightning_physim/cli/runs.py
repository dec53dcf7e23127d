"""Runs that a command is given by name."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from lightning_physim.errors import InputError
from lightning_physim.tracking import RunDirectory, checkpoints_by_step, find_run


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
