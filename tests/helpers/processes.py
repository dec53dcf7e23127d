"""Processes that a test starts, waits for and kills."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

FOREIGN = ("WANDB", "PL_", "PHYSIM", "LOCAL_RANK")
"""What W&B, Lightning or a run before this one has put into the environment begins with one of these."""
SILENCED = {"WANDB_ERROR_REPORTING": "false"}
"""Nothing of a test goes beyond this machine. wandb reports its own errors to a server of its makers."""


def default_signals() -> None:
    """End at the signals that a shell may have told this process, as a job in the background, to ignore."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def clean_environment() -> dict[str, str]:
    """A copy of the environment without what is foreign."""
    return {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)} | SILENCED


def clear_environment(patch: pytest.MonkeyPatch) -> None:
    """Take what is foreign out of the environment until ``patch`` is undone."""
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        patch.delenv(name)
    for name, value in SILENCED.items():
        patch.setenv(name, value)


def until(condition, seconds: float = 60.0):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)
    return found


def start(*argv: str, cwd: Path, command: str = "sweep") -> subprocess.Popen:
    """``physim sweep`` or another command as a process of its own, to be killed."""
    return subprocess.Popen(
        [sys.executable, "-m", "lightning_physim", command, *argv],
        cwd=cwd,
        env=clean_environment() | {"HOME": str(cwd), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
