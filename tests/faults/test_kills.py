"""A training that is killed, stopped or broken at any point goes on to the very numbers of one that was left alone."""

import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import yaml
from lightning_fabric.plugins.io import torch_io

from lightning_physim.callbacks import CollisionProbe, LearningCoefficient, Snapshots
from lightning_physim.llc.chains import Chains
from lightning_physim.module import PhysicsSimulator
from lightning_physim.tracking import jsonl
from tests.helpers.faults import Outcome, differences, forked
from tests.helpers.fits import TINY, only_run, physim

STEPS = 60
CONFIG = TINY | {
    "trainer": TINY["trainer"] | {"max_steps": STEPS},
    "validation": {"steps_per_decade": 6},
}
Inject = Callable[[pytest.MonkeyPatch], object]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kills")
    content = CONFIG | {"data": CONFIG["data"] | {"cache_dir": str(folder / "data")}}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(content))
    return folder


@pytest.fixture(scope="module")
def baseline(folder) -> Path:
    physim("fit", "--config", "tiny.yaml", cwd=folder)
    return only_run(folder)


def replaced(patch: pytest.MonkeyPatch, owner: Any, name: str, call: int, act: Callable[..., Any]) -> None:
    """Have a call of a function, by its number, do something else first."""
    patch.setattr(owner, name, nth(call, act, getattr(owner, name)))


def rows_in(folder: Path) -> int:
    found = list(folder.glob("runs/*/metrics.jsonl"))
    return found[0].read_bytes().count(b"\n") if found else 0


def send(folder: Path, number: int, row: int) -> Callable[[int], bool]:
    """Sends a signal when the run has so many rows."""

    def meanwhile(pid: int) -> bool:
        if rows_in(folder) < row:
            return False
        os.kill(pid, number)
        return True

    return meanwhile


def state(run: Path) -> dict[str, Any]:
    return json.loads((run / "state.json").read_text())


def ended_by(outcome: Outcome, number: int) -> bool:
    """Whether a command says that the signal has ended it: by its exit code, or as the signal itself has killed it."""
    return outcome.code in (-number, 128 + number)


def start(folder: Path, tmp_path: Path, **options: Any) -> Outcome:
    return forked("fit", "--config", str(folder / "tiny.yaml"), cwd=tmp_path, **options)


def goes_on_to(baseline: Path, tmp_path: Path, inject: Inject = lambda patch: None) -> list[str]:
    """What differs after a resume, or how that failed."""
    has_checkpoint = list(tmp_path.glob("runs/*/checkpoints/*.ckpt"))
    if not has_checkpoint:
        return ["no checkpoint to go on from"]
    outcome = forked("fit", "--ckpt_path", "last", cwd=tmp_path)
    return differences(baseline, only_run(tmp_path)) if outcome.code == 0 else [outcome.said[-1500:]]


rng = random.Random(12)
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
AT_ROWS = [(number, round(rng.uniform(0.25, 0.95), 2)) for number in SIGNALS for _ in range(6)]


@pytest.mark.slow
@pytest.mark.parametrize("number, share", AT_ROWS)
def test_a_signal_at_any_row(baseline, folder, tmp_path, number, share):
    row = int(share * rows_in(folder))
    outcome = start(folder, tmp_path, meanwhile=send(tmp_path, number, row))
    assert ended_by(outcome, number), outcome.said[-1500:]
    (run,) = tmp_path.glob("runs/*")
    if number == signal.SIGKILL:
        assert state(run)["state"] == "running"
    else:
        assert state(run)["state"] == "interrupted" and state(run)["reason"] == signal.Signals(number).name
        assert (run / "report.html").is_file() and "to go on: physim fit --ckpt_path" in outcome.said
        # Of that very step, unless the signal came before any was done.
        assert state(run)["step"] == int(max(run.glob("checkpoints/*")).stem[5:])
    assert goes_on_to(baseline, tmp_path) == []
    assert state(run) == {"state": "finished", "step": STEPS, "reason": ""}


def nth(call: int, act: Callable[..., Any], before: Callable[..., Any]) -> Callable[..., Any]:
    """``before``, whose call of that number does ``act`` first."""
    count = 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count == call:
            act(*args, **kwargs)
        return before(*args, **kwargs)

    return counted


def at(owner: Any, name: str, call: int, number: int) -> Inject:
    """A signal to itself in that call of a method."""
    return lambda patch: replaced(patch, owner, name, call, lambda *_, **__: os.kill(os.getpid(), number))


PLACES = {
    "a training step": (PhysicsSimulator, "training_step", 31),
    "a validation": (PhysicsSimulator, "validation_step", 8),
    "a probe": (CollisionProbe, "measure", 7),
    "a draw of an estimate": (Chains, "step", 130),
    "the burn-in of an estimate": (Chains, "step", 3),
    "a snapshot": (Snapshots, "record", 4),
    "a checkpoint": (pl.Trainer, "save_checkpoint", 6),
    "the last estimate": (LearningCoefficient, "measure", 3),
}
IN_PLACES = [(place, number) for place in PLACES for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)]


@pytest.mark.slow
@pytest.mark.parametrize("place, number", IN_PLACES)
def test_a_signal_in_the_midst_of(baseline, folder, tmp_path, place, number):
    outcome = start(folder, tmp_path, inject=at(*PLACES[place], number))
    assert ended_by(outcome, number), outcome.said[-1500:]
    assert goes_on_to(baseline, tmp_path) == []


def half_a_checkpoint(patch: pytest.MonkeyPatch) -> None:
    """Dies with half of the sixth checkpoint under its own name, as a slow copy to another disk leaves it."""

    def half(checkpoint: Any, path: Any) -> None:
        torch.save(checkpoint, path)
        os.truncate(path, os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)

    replaced(patch, torch_io, "_atomic_save", 6, half)


def half_a_row(patch: pytest.MonkeyPatch) -> None:
    def half(path: Path, row: dict) -> None:
        with path.open("ab") as file:
            file.write(json.dumps(row).encode()[: len(json.dumps(row)) // 2])
        os.kill(os.getpid(), signal.SIGKILL)

    replaced(patch, jsonl, "append_json_line", 50, half)


WRITES: dict[str, Inject] = {
    "half a checkpoint": half_a_checkpoint,
    "half a row": half_a_row,
    "between two rolling checkpoints": at(Path, "unlink", 2, signal.SIGKILL),
    **{f"a file, number {n}": at(Path, "replace", n, signal.SIGKILL) for n in (1, 2, 5, 9, 14)},
    "config.yaml, opened": at(Path, "open", 3, signal.SIGKILL),
}


@pytest.mark.slow
@pytest.mark.parametrize("write", WRITES)
def test_killed_while_it_writes(baseline, folder, tmp_path, write):
    outcome = start(folder, tmp_path, inject=WRITES[write])
    assert outcome.code == -signal.SIGKILL, outcome.said[-1500:]
    if not list(tmp_path.glob("runs/*/checkpoints/*.ckpt")):
        return  # before the first step: there is nothing to go on from, and nothing is lost
    # Once more, in the first file that the resume replaces: its own configuration.
    again = forked("fit", "--ckpt_path", "last", cwd=tmp_path, inject=at(Path, "replace", 1, signal.SIGKILL))
    assert again.code == -signal.SIGKILL
    assert goes_on_to(baseline, tmp_path) == []
    assert not list(tmp_path.glob("runs/**/*.new"))


ERRORS = {
    "an error": RuntimeError("injected"),
    "no memory": MemoryError(),
}


@pytest.mark.slow
@pytest.mark.parametrize("error", ERRORS)
def test_an_exception_in_a_step(baseline, folder, tmp_path, error):
    def fails(*_: Any, **__: Any) -> None:
        raise ERRORS[error]

    outcome = start(folder, tmp_path, inject=lambda p: replaced(p, PhysicsSimulator, "training_step", 31, fails))
    assert outcome.code == 1 and outcome.said.count("Traceback (most recent call last)") == 1
    (run,) = tmp_path.glob("runs/*")
    assert state(run)["state"] == "failed" and type(ERRORS[error]).__name__ in state(run)["reason"]
    assert goes_on_to(baseline, tmp_path) == []


@pytest.mark.slow
def test_several_kills_in_one_run(baseline, folder, tmp_path):
    assert start(folder, tmp_path, meanwhile=send(tmp_path, signal.SIGKILL, 30)).code == -signal.SIGKILL
    for row, number in ((42, signal.SIGTERM), (50, signal.SIGKILL), (57, signal.SIGINT)):
        outcome = forked("fit", "--ckpt_path", "last", cwd=tmp_path, meanwhile=send(tmp_path, number, row))
        assert ended_by(outcome, number)
    assert goes_on_to(baseline, tmp_path) == []


@pytest.mark.slow
def test_a_second_signal_ends_training_at_once(folder, tmp_path):
    def twice(*_: Any, **__: Any) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)

    outcome = start(folder, tmp_path, inject=lambda p: replaced(p, PhysicsSimulator, "training_step", 31, twice))
    assert ended_by(outcome, signal.SIGTERM)
    (run,) = tmp_path.glob("runs/*")
    assert state(run)["step"] == 30 and max(run.glob("checkpoints/*")).stem == "step-00000028"


@pytest.mark.slow
def test_a_run_has_one_writer(baseline, folder, tmp_path):
    before = len(list(baseline.parent.iterdir()))
    said: list[Outcome] = []

    def second(_: int) -> bool:
        if rows_in(tmp_path) < 40:
            return False
        said.append(forked("fit", "--ckpt_path", "last", cwd=tmp_path))
        return True

    outcome = start(folder, tmp_path, meanwhile=second)
    (refused,) = said
    assert outcome.code == 0 and refused.code == 2
    assert len(refused.lines) == 1 and "one process trains a run; got another at work in" in refused.lines[0]
    assert differences(baseline, only_run(tmp_path)) == [] and len(list(baseline.parent.iterdir())) == before
