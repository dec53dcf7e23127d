"""Runs that a command is given by name."""

import os
import sys
from pathlib import Path

from lightning_physim.tracking import RunDirectory, find_run


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
