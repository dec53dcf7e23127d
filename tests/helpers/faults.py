"""Faults, injected into runs of toy size, and what became of them."""

import contextlib
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_flatten

from lightning_physim.cli import main
from tests.helpers.fits import values
from tests.helpers.processes import clear_environment

LIMIT = 60.0
"""Seconds that a command has to end, whatever it was given."""
MEMORY = 6 * 2**30
"""Bytes that it may take."""


class Outcome(NamedTuple):
    """How a command ended.

    Args:
        code: its exit code; None where it did not end in time.
        said: everything that it printed.
    """

    code: int | None
    said: str

    @property
    def lines(self) -> list[str]:
        """What ``physim`` itself said was wrong."""
        return [line for line in self.said.splitlines() if line.startswith("physim: ")]


def forked(
    *argv: str,
    cwd: Path,
    seconds: float = LIMIT,
    inject: Callable[[pytest.MonkeyPatch], object] = lambda patch: None,
    meanwhile: Callable[[int], bool] = lambda pid: True,
    **variables: str,
) -> Outcome:
    """Run a command in a copy of this process: a new one would take seconds to import what it needs.

    Args:
        argv: its words.
        cwd: where.
        seconds: that it has.
        inject: changes what the copy is made of.
        meanwhile: called with its number while it runs, until it says that it is through.
        variables: of its environment.
    """
    output = cwd / f"said-{os.getpid()}-{time.monotonic_ns()}"
    child = os.fork()
    if child == 0:
        _be_the_command(argv, cwd, output, inject, variables)
    end = time.monotonic() + seconds
    status = None
    through = False
    while status is None and time.monotonic() < end:
        through = through or meanwhile(child)
        pid, waited = os.waitpid(child, os.WNOHANG)
        status = os.waitstatus_to_exitcode(waited) if pid else None
        time.sleep(0.005)
    if status is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    said = output.read_text(errors="replace")
    output.unlink()
    return Outcome(status, said)


def _be_the_command(
    argv: Iterable[str],
    cwd: Path,
    output: Path,
    inject: Callable[[pytest.MonkeyPatch], object],
    variables: dict[str, str],
) -> None:
    code = 1
    with contextlib.suppress(BaseException):
        os.setsid()
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.stdout = sys.stderr = open(1, "w", closefd=False)
        patch = pytest.MonkeyPatch()
        clear_environment(patch)
        for name, value in {"HOME": str(cwd), "WANDB_MODE": "disabled", **variables}.items():
            patch.setenv(name, value)
        os.chdir(cwd)
        warnings.simplefilter("ignore")
        inject(patch)
        torch.set_num_threads(1)
        try:
            code = main(list(argv))
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
    os._exit(code)


def trouble(outcome: Outcome, left: Iterable[Path]) -> str:
    """What is wrong with how a command has taken a fault; empty where nothing is.

    It may go on (0), refuse it (2) or say that training diverged (3), in one line each, without a traceback; what is
    refused leaves no run.

    Args:
        outcome: of the command.
        left: run directories that were not there before.
    """
    if outcome.code is None:
        return f"not ended after {LIMIT:g} s"
    if "Traceback" in outcome.said:
        return f"traceback: {outcome.said.strip().splitlines()[-1][:200]}"
    if outcome.code not in (0, 2, 3):
        return f"exit code {outcome.code}"
    if outcome.code and len(outcome.lines) != 1:
        return f"{len(outcome.lines)} lines: {outcome.lines}"
    if outcome.code == 2 and (names := [path.name for path in left]):
        return f"left over: {names}"
    return ""


def differences(run: Path, other: Path) -> list[str]:
    """What differs between two runs that should have come to the same: numbers, arrays, checkpoints, weights."""
    found = []
    one, two = values(run), values(other)
    found += [f"{key}: {one.get(key)} and {two.get(key)}" for key in sorted({*one, *two}) if not _alike(one, two, key)]
    for kind, pattern in (("arrays", "figures/**/*.npz"), ("checkpoints", "checkpoints/*")):
        names, others = ({str(path.relative_to(r)) for path in r.glob(pattern)} for r in (run, other))
        found += [f"{kind}: {name} in one alone" for name in sorted(names ^ others)]
        if kind == "arrays":
            for name in sorted(names & others):
                with np.load(run / name) as a, np.load(other / name) as b:
                    found += [f"{name}: {k}" for k in {*a, *b} if k not in a or not np.array_equal(a[k], b[k], True)]
    last, others_last = (
        torch.load(max((r / "checkpoints").iterdir()), weights_only=True, map_location="cpu") for r in (run, other)
    )
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        a, b = (tree_flatten(content[part]) for content in (last, others_last))
        same = a[1] == b[1] and all(
            torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y for x, y in zip(a[0], b[0], strict=True)
        )
        found += [] if same else [f"checkpoint: {part}"]
    return found


def _alike(one: dict, two: dict, key: tuple[int, str]) -> bool:
    return key in one and key in two and (one[key] == two[key] or (one[key] != one[key] and two[key] != two[key]))
