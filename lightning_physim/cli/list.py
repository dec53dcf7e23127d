"""``physim list [DIR]``: the runs of a folder, newest first, a line each."""

import math
import time
from pathlib import Path
from stat import S_ISREG
from typing import NamedTuple

from jsonargparse import ArgumentParser

from lightning_physim import keys
from lightning_physim.cli.suggestions import suggesting
from lightning_physim.curves import COLLISION_HEAD, first_collision_step, head_curves, last
from lightning_physim.errors import InputError
from lightning_physim.files import stats
from lightning_physim.text import text_table
from lightning_physim.tracking.reading import read_metrics
from lightning_physim.tracking.run import RunDirectory, checkpoints_by_step
from lightning_physim.tracking.state import condition, read_state

LISTED = ("run", "age", "state", "steps", "size", "best head")
UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


class Listed(NamedTuple):
    """A run in the list: when it was last written to, as a time of the clock, and its cells."""

    written: float
    cells: tuple[str, ...]


def list_runs(argv: list[str]) -> None:
    """Print the list.

    Raises:
        InputError: there is no such folder.
    """
    parser = ArgumentParser(
        prog="physim list",
        description="List the runs of a folder, newest first. `best head` is the highest attention on near particles, "
        f"times uniform, and the first step beyond {COLLISION_HEAD:g} times.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("folder", nargs="?", default="runs", help="Folder that holds the run directories.")
    with suggesting(parser):
        root = Path(parser.parse_args(argv).folder)
    if not root.is_dir():
        raise InputError(f"physim list takes the folder of runs; got {root}, which is none: name one, or train first")
    listed: list[Listed] = []
    others: list[str] = []
    locked: list[str] = []
    for path in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        run = RunDirectory(path)
        try:
            if run.is_there:
                listed.append(described(run))
            else:
                others.append(run.id)
        except OSError as error:  # a folder of somebody else
            locked.append(f"{run.id} ({error.strerror})")
    listed.sort(reverse=True)
    if listed:
        print("\n".join(text_table([LISTED, *(row.cells for row in listed)], left=(0, 2, 5))))
    if others:
        print(f"no runs: {', '.join(others)}")
    if locked:
        print(f"cannot be read: {', '.join(locked)}")
    if not listed:
        print(f"no run in {root}: type physim fit")


def described(run: RunDirectory) -> Listed:
    """What the files of a run say of it; what cannot be read is told in place of its best head."""
    files = [each for each in stats(run.path.rglob("*")).values() if S_ISREG(each.st_mode)]
    written = max((file.st_mtime for file in files), default=run.path.stat().st_mtime)
    state, step, headline = read_state(run), None, "not measured"
    if state is not None:
        step = state.step
    try:
        metrics = read_metrics(run.metrics)
        steps = [int(curve[0][-1]) for curve in metrics.values()]
        step = max([*steps, step or 0], default=step)
        if head_curves(metrics, keys.ENRICHMENT):
            headline = f"{last(metrics, keys.BEST_ENRICHMENT):.1f} × uniform"
        if math.isfinite(first := first_collision_step(metrics)):
            headline += f", {COLLISION_HEAD:g} × at {first:,.0f}"
    except (InputError, OSError) as error:
        headline = f"unreadable: {error}" if run.metrics.is_file() else "no metrics.jsonl"
        step = step or max(checkpoints_by_step(run), default=None)
    size = sum(file.st_size for file in files) / 1e6
    steps_text = "–" if step is None else f"{step:,}"
    return Listed(written, (run.id, age(time.time() - written), condition(run), steps_text, f"{size:.1f} MB", headline))


def age(seconds: float) -> str:
    """A time span in its largest unit: ``3 h``."""
    length, unit = next(((length, unit) for length, unit in UNITS if seconds >= length), UNITS[-1])
    return f"{seconds / length:.0f} {unit}"
