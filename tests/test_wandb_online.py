"""The genuine W&B client against the loopback server: online, offline and synced, resumed, killed, and swept."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from test_fit import TINY, only_run, physim, rows
from wandb_server import Run, WandbServer

pytest.importorskip("wandb")

CLOCK, VALIDATION, PROBE, _, CHECKPOINT = TINY["trainer"]["callbacks"]
# Without estimates of learning coefficients a fit takes a second beside its imports.
QUICK = TINY | {"trainer": TINY["trainer"] | {"callbacks": [CLOCK, VALIDATION, PROBE, CHECKPOINT]}}
# Slow enough to be hit in the middle: some twenty rows a second, a checkpoint every seven steps.
LONG = {"trainer.max_steps": 100000, "trainer.log_every_n_steps": 1}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """The data set of all fits here."""
    folder = tmp_path_factory.mktemp("online")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    physim("simulate", "--config", "tiny.yaml", "--data.cache_dir", str(folder / "data"), cwd=folder)
    return folder / "data"


@pytest.fixture
def folder(tmp_path, data, wandb_server) -> Path:
    """A folder to run commands in, with the configurations ``tiny.yaml`` and ``quick.yaml``."""
    for name, config in (("tiny", TINY), ("quick", QUICK)):
        config = config | {"data": config["data"] | {"cache_dir": str(data)}}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


def start(*argv: str, cwd: Path, module: str = "lightning_physim", **environment: str) -> subprocess.Popen:
    """A command in a process and a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *argv],
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)} | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen, timeout: float = 120.0) -> str:
    """What it said, once it has ended with exit code 0."""
    try:
        said, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        kill(process)
        raise
    assert process.returncode == 0, said
    return said


def kill(process: subprocess.Popen) -> None:
    """``kill -9``, as the system does to a whole job."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def fit(*argv: str, cwd: Path, **environment: str) -> str:
    return finish(start("fit", *argv, cwd=cwd, **environment))


def sync(run: Path, pattern: str = "offline-run-*") -> str:
    directories = sorted(str(path.relative_to(run)) for path in (run / "wandb").glob(pattern))
    return finish(start("sync", *directories, cwd=run, module="wandb"))


def until(condition: Callable[[], object], timeout: float = 60.0) -> None:
    """Wait for it."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)


def is_figure(row: dict) -> bool:
    return any(isinstance(value, dict) for value in row.values())


def numbers(run: Run) -> list[dict]:
    """The rows of numbers that the server has, spelt as in ``metrics.jsonl``."""
    found = []
    for row in run.history():
        if not is_figure(row):
            step = row["trainer/global_step"]
            spelt = {key: _spelt(value) for key, value in row.items() if not key.startswith(("_", "trainer/"))}
            found.append({"step": step} | spelt)
    return found


def _spelt(value: float) -> float | str:
    return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(str(value), value)


def logged(run: Path) -> list[dict]:
    """The rows of ``metrics.jsonl``, less the column that it has alone."""
    return [{key: value for key, value in row.items() if key != "time"} for row in rows(run)]


def untimed(rows: list[dict]) -> list[dict]:
    return [{key: value for key, value in row.items() if not key.startswith("time/")} for row in rows]


def media(run: Run) -> set[tuple[str, bytes]]:
    """Key and content of every figure."""
    found = {}
    for name, content in run.files.items():
        if name.startswith("media/"):
            found[re.sub(r"_\d+_[0-9a-f]+", "", name), content] = None
    return set(found)


def assert_complete(server: WandbServer, run: Path) -> None:
    """The server has the run, once, with every row, and finished."""
    there = server.only_run()
    assert there.id == run.name and (there.state, there.exit_code) == ("finished", 0)
    assert numbers(there) == logged(run)
    assert server.unknown == []


def test_online_and_synced_are_the_same(folder, wandb_server):
    said = fit("--config", "tiny.yaml", cwd=folder)
    run = only_run(folder)
    online = wandb_server.only_run()
    assert f"W&B: {wandb_server.url}/tester/lightning_physim/runs/{run.name}" in said
    assert_complete(wandb_server, run)
    assert [row["_step"] for row in online.history()] == list(range(len(online.history())))
    assert online.config["model.d_model"] == 16 and online.config["data.system.radius"] == 0.08
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert not {"model", "data", "trainer"} & set(online.config)
    assert {key.split(".")[0] for key in online.config} == set(config)
    figures = [row for row in online.history() if is_figure(row)]
    assert [row["trainer/global_step"] for row in figures] == [1, 10, 10, 30, 30]
    for row in figures:
        (shown,) = [value for value in row.values() if isinstance(value, dict)]
        table = json.loads(online.files[shown["path"]])
        assert len(table["data"]) == shown["nrows"] > 0
    trace = json.loads((run / "figures" / "trace.json").read_text())
    assert table["columns"] == trace["columns"] and table["data"] == trace["data"]
    assert {artifact.state for artifact in wandb_server.artifacts} == {"COMMITTED"} and wandb_server.artifacts

    fit("--config", "tiny.yaml", "--runs", "offline", cwd=folder, WANDB_MODE="offline")
    (second,) = (folder / "offline").iterdir()
    assert list(wandb_server.runs) == [run.name]
    sync(second)
    synced = wandb_server.runs[second.name]
    assert numbers(synced) == logged(second) and untimed(numbers(synced)) == untimed(numbers(online))
    assert synced.config == online.config | {"runs": "offline"}
    assert media(synced) == media(online) and len(media(online)) == 5
    assert synced.state == "finished" and wandb_server.unknown == []


def assert_each_row_once(there: Run, run: Path, ended_at: int) -> None:
    """W&B has every row of ``metrics.jsonl`` once, in order, and else only what a first part measured at its end."""
    found, expected = untimed(numbers(there)), untimed(logged(run))
    steps = [row["step"] for row in found]
    assert steps == sorted(steps)
    names = [(row["step"], *sorted(row)) for row in found]
    assert len(set(names)) == len(names)
    assert [row for row in found if row in expected] == expected
    assert {row["step"] for row in found if row not in expected} <= {ended_at}


MODES = [("online", "online"), ("offline", "offline"), ("offline", "online")]


@pytest.mark.parametrize("modes", [MODES[0], *(pytest.param(modes, marks=pytest.mark.slow) for modes in MODES[1:])])
def test_a_resumed_run_continues_in_wandb(folder, wandb_server, modes):
    first, second = modes
    fit("--config", "quick.yaml", "--trainer.max_steps=18", cwd=folder, WANDB_MODE=first)
    run = only_run(folder)
    # As if it had been killed before its last checkpoint, W&B has rows beyond the one that is left.
    (run / "checkpoints" / "step-00000018.ckpt").unlink()
    assert {row["step"] for row in logged(run)} > {10, 13, 15, 18}
    fit("--ckpt_path", "last", "--trainer.max_steps=30", cwd=folder, WANDB_MODE=second)
    if second == "offline":
        sync(run)
    there = wandb_server.only_run()
    assert there.id == run.name == only_run(folder).name and there.state == "finished"
    assert_each_row_once(there, run, ended_at=18)
    assert max(row["step"] for row in numbers(there)) == 30
    assert wandb_server.unknown == []
