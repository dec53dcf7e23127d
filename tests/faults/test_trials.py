"""Many trainings: one that is cut short, diverges or cannot be read neither ends the others nor counts as done."""

import json
import os
import signal
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.helpers.faults import forked, trouble
from tests.helpers.fits import TINY, only_run, physim, values, without
from tests.helpers.processes import start, until

pytestmark = pytest.mark.slow
DIVERGES = ("--model.optimizer=sgd", "--model.lr=1e6", "--model.warmup_steps=0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trials")
    data = TINY["data"] | {"cache_dir": str(folder / "data")}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY | {"data": data}))
    (folder / "quick.yaml").write_text(yaml.safe_dump(without("llc") | {"data": data, "threads": 1}))
    physim("fit", "--config", "tiny.yaml", cwd=folder)
    return folder


def sweep(folder: Path, tmp_path: Path, parameters: dict) -> None:
    """Write ``s.yaml``."""
    command = ["${interpreter}", "-m", "lightning_physim", "fit", "--config", str(folder / "quick.yaml"), "${args}"]
    content = {"method": "grid", "metric": {"name": "val/loss"}, "command": command, "parameters": parameters}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(content))


def sweep_folder(tmp_path: Path) -> Path:
    (file,) = tmp_path.glob("runs/*/sweep.jsonl")
    return file.parent


def states(tmp_path: Path) -> list[tuple[int, str]]:
    file = sweep_folder(tmp_path) / "sweep.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return [(line["trial"], line["state"]) for line in lines if line["state"] != "started"]


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_trial_that_gets_a_signal_from_outside_is_not_finished_and_goes_on(folder, tmp_path):
    steps = {"trainer.max_steps": {"value": 150}}
    sweep(folder, tmp_path, {"seed_everything": {"values": [0, 1]}} | steps)
    process = start("s.yaml", cwd=tmp_path)
    until(lambda: list(tmp_path.glob("runs/*-000-*/checkpoints/step-00000010.ckpt")), 120)
    (trial,) = [pid for pid in children(process.pid) if "fit" in Path(f"/proc/{pid}/cmdline").read_text()]
    os.kill(trial, signal.SIGTERM)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 1, said
    assert "interrupted: trial 0, exit code -15" in said and "the same command runs what is left" in said
    assert states(tmp_path) == [(0, "interrupted"), (1, "finished")]
    done = physim("sweep", "s.yaml", cwd=tmp_path)
    assert "1 of 2 trials are finished" in done.stdout and "trial 0 of 2 goes on" in done.stdout
    assert states(tmp_path)[-1] == (0, "finished")
    (run,) = tmp_path.glob("runs/*-000-*")
    physim("fit", "--config", str(folder / "quick.yaml"), "--trainer.max_steps=150", "--runs=alone", cwd=tmp_path)
    (alone,) = (tmp_path / "alone").iterdir()
    assert values(run) == values(alone)


def test_a_trial_that_diverges_has_ended_and_is_named(folder, tmp_path):
    others = {"model.optimizer": {"value": "sgd"}, "trainer.max_steps": {"value": 30}}
    sweep(folder, tmp_path, {"model.lr": {"values": [1.0e6, 0.01]}} | others)
    done = physim("sweep", "s.yaml", cwd=tmp_path)
    assert states(tmp_path) == [(0, "diverged"), (1, "finished")]
    assert "diverged: trial 0, exit code 3" in done.stdout
    assert "Trial 1 has the best val/loss" in (sweep_folder(tmp_path) / "report.html").read_text()
    assert "2 of 2 trials are finished" in physim("sweep", "s.yaml", cwd=tmp_path).stdout


def test_a_trial_whose_file_cannot_be_read_does_not_end_the_sweep(folder, tmp_path):
    program = (
        "import os, pathlib, sys; run = pathlib.Path('runs') / os.environ['WANDB_RUN_ID']; run.mkdir(parents=True); "
        "(run / 'metrics.jsonl').write_text({'a': 'garbage\\n' * 3, 'b': '[1]\\n' * 3, "
        "'c': '{\"step\": 1, \"val/loss\": 2.0}\\n'}[sys.argv[1][4:]])"
    )
    content = {
        "method": "grid",
        "metric": {"name": "val/loss"},
        "command": ["${interpreter}", "-c", program, "${args}"],
    }
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(content | {"parameters": {"k": {"values": ["a", "b", "c"]}}}))
    done = physim("sweep", "s.yaml", cwd=tmp_path)
    assert states(tmp_path) == [(0, "finished"), (1, "finished"), (2, "finished")]
    assert done.stdout.count("remove that line") == 2 and "val/loss 2" in done.stdout
    assert physim("report", sweep_folder(tmp_path).name, cwd=tmp_path).code == 0


@pytest.mark.parametrize("config", ["tiny.yaml", "quick.yaml"])
def test_training_to_nan_ends_in_one_line_and_every_command_copes(folder, tmp_path, config):
    outcome = forked("fit", "--config", str(folder / config), *DIVERGES, cwd=tmp_path)
    assert outcome.code == 3 and not trouble(outcome, []), outcome.said[-1500:]
    assert "training diverged: the loss is" in outcome.lines[0] and "learning rate of 1e+06" in outcome.lines[0]
    run = only_run(tmp_path)
    state = json.loads((run / "state.json").read_text())
    assert state["state"] == "diverged" and f"at step {state['step']}" in outcome.lines[0]
    assert outcome.lines[0].removeprefix("physim: ") in unescape((run / "report.html").read_text())
    (kept,) = (run / "figures" / "train_diverged").iterdir()
    with np.load(kept) as arrays:
        assert arrays["states"].shape == (16, 2, 6, 4) and arrays["lr"] == 1e6
    assert forked("report", "last", cwd=tmp_path).code == 0
    for command in (["llc", "last", "--regions=[L0H0]", "--sgld.n_draws=8"], ["test", "--ckpt_path", "last"]):
        outcome = forked(*command, cwd=tmp_path)  # there may be no checkpoint before the end that has a coefficient
        assert outcome.code in (0, 2) and not trouble(outcome, []), outcome.said[-1500:]
    again = forked("fit", "--ckpt_path", "last", cwd=tmp_path)
    assert again.code == 3 and again.lines
    on = forked(
        "fit", "--config", str(folder / config), *DIVERGES, "--safeguard.allow_nan=true", "--runs=on", cwd=tmp_path
    )
    assert on.code == 0 and not trouble(on, []), on.said[-1500:]


def test_a_reproduction_judges_the_rest_and_names_who_diverged(folder, tmp_path):
    words = ["reproduce", "--config", str(folder / "quick.yaml"), "--seeds=2", "--jobs=2", "--trainer.max_steps=20"]
    done = physim(*words, cwd=tmp_path)
    (file,) = tmp_path.glob("runs/reproduce-*/sweep.jsonl")
    ran = {json.loads(line)["run_id"] for line in file.read_text().splitlines()}
    seed = next(tmp_path / "runs" / name for name in ran if name.endswith("seed-1"))
    lines = (seed / "metrics.jsonl").read_text().replace('"val/loss":', '"val/loss": "NaN", "was":')
    (seed / "metrics.jsonl").write_text(lines)
    broken = next(tmp_path / "runs" / name for name in ran if "interaction" in name)
    (broken / "metrics.jsonl").write_text("garbage\n" * 3)
    done = physim(*words, cwd=tmp_path)
    assert f"left out: {seed.name}: diverged" in done.stdout and f"left out: {broken.name}: each line of" in done.stdout
    claims = json.loads((file.parent / "claims.json").read_text())
    assert len(claims) == 3 and "1 seed" in (file.parent / "claims.html").read_text()
