"""Who writes to a run, and how it has ended: a lock that dies with its process, and ``state.json``."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from filelock import FileLock, Timeout

from lightning_physim.errors import Diverged, Interrupted
from lightning_physim.files import clear_leftovers, locked, replace_file
from lightning_physim.signals import signal_name
from lightning_physim.tracking.run import RunDirectory

State = Literal["running", "finished", "interrupted", "diverged", "failed"]


class RunState(NamedTuple):
    """What has become of a training.

    Args:
        state: ``interrupted`` by a signal or ``failed`` by an error, to be gone on with; ``diverged`` where its numbers
            are no longer finite. Of one whose process was killed it is ``running``, and nobody holds its lock.
        step: optimizer steps taken.
        reason: name of the signal, or what the error says; empty while it runs and when it has finished.
    """

    state: State
    step: int
    reason: str = ""


def write_state(run: RunDirectory, state: RunState) -> None:
    """Write ``state.json``, whole. Raises ``OSError`` where it cannot be written."""
    replace_file(run.state, (json.dumps(state._asdict()) + "\n").encode())


def read_state(run: RunDirectory) -> RunState | None:
    """What ``state.json`` says; None where there is none that can be read, as in older runs."""
    try:
        content: Any = json.loads(run.state.read_bytes())
        return RunState(str(content["state"]), int(content["step"]), str(content["reason"]))  # type: ignore[arg-type]
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def state_after(error: BaseException, step: int) -> RunState:
    """What an error has made of a training."""
    if isinstance(error, Interrupted):
        return RunState("interrupted", step, signal_name(error.number))
    if isinstance(error, Diverged):
        return RunState("diverged", step, str(error))
    return RunState("failed", step, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")


def how_to_go_on(run: RunDirectory, state: RunState) -> str:
    """What to type, where that would lead on: from a checkpoint, and not into the same NaN again."""
    if state.state not in ("interrupted", "failed") or not any(run.checkpoints.glob("*.ckpt")):
        return ""
    return f"; to go on: physim fit --ckpt_path {run.path}"


def is_written(run: RunDirectory) -> bool:
    """Whether some process trains the run now; leaves nothing behind."""
    path = run.path / ".lock"
    if not path.is_file():
        return False
    lock = FileLock(path, timeout=0)
    try:
        with lock:
            return False
    except (Timeout, OSError):  # held, or of somebody else
        return True


def condition(run: RunDirectory) -> str:
    """The state of a run in a word: ``killed`` of one that nobody trains any more, ``unknown`` of an older run."""
    state = read_state(run)
    if state is None:
        return "unknown"
    return "killed" if state.state == "running" and not is_written(run) else state.state


@contextmanager
def only_writer(run: RunDirectory) -> Iterator[None]:
    """Inside, no other process trains the run. What killed processes have left of half-written files is removed.

    Rank zero alone writes, and locks.

    Raises:
        InputError: another process trains it.
    """
    refusal = f"one process trains a run; got another at work in {run.path}: wait for its end, or start a new run"
    with locked(run.path / ".lock", refusal):
        for folder in (run.path, run.checkpoints, *run.figures.glob("**/")):
            clear_leftovers(folder)
        yield
