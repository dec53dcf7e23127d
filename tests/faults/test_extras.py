"""What is beside the training: W&B, the report, disks, terminals, names. Trouble there costs a line."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from lightning_physim import report
from lightning_physim.report import run_page
from tests.helpers.faults import forked, trouble
from tests.helpers.fits import TINY, only_run, physim, without

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("extras")
    data = TINY["data"] | {"cache_dir": str(folder / "data")}
    trainer = TINY["trainer"] | {"max_steps": 12}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(without("llc") | {"data": data, "trainer": trainer}))
    physim("fit", "--config", "tiny.yaml", cwd=folder)
    return folder


VARIABLES = [
    {"WANDB_MODE": "online", "WANDB_API_KEY": "malformed"},
    {"WANDB_MODE": "online", "WANDB_API_KEY": "x" * 39},
    {"WANDB_MODE": "online", "WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"},
    {"WANDB_MODE": "bogus"},
    {"WANDB_MODE": ""},
    {"WANDB_BASE_URL": "not a url"},
    {"WANDB_PROJECT": "a/b"},
    {"WANDB_TAGS": ",,,"},
    {"WANDB_SILENT": "bogus"},
    {"WANDB_RESUME": "bogus"},
    {"WANDB_RESUME": "must"},
    {"WANDB_RUN_GROUP": "x" * 300},
    {"WANDB_DIR": "/proc/nowhere"},
    {"WANDB_CONFIG_DIR": "/proc/nowhere"},
    {"WANDB_ENTITY": "a b/c"},
    {"WANDB_NOTES": "\x1b[31m"},
]


@pytest.mark.parametrize("variables", VARIABLES, ids=lambda v: "-".join(f"{k}={x[:12]}" for k, x in v.items()))
def test_wandb_as_it_must_not_be_costs_a_line(folder, tmp_path, variables):
    given = {"WANDB_MODE": "offline"} | variables
    outcome = forked("fit", "--config", str(folder / "tiny.yaml"), cwd=tmp_path, **given)
    assert outcome.code == 0 and not trouble(outcome, []), outcome.said[-1500:]
    assert json.loads((only_run(tmp_path) / "state.json").read_text())["state"] == "finished"
    assert len([line for line in outcome.said.splitlines() if line.startswith("W&B")]) <= 2, outcome.said


@pytest.mark.parametrize(
    "name", [".", "..", "../../x", "/abs", "a/b", "a:b", "a;b", "a,b", "a#b", "a?b", "a'b", "x" * 250]
)
def test_an_id_that_names_no_run_is_refused(folder, tmp_path, name):
    outcome = forked("fit", "--config", str(folder / "tiny.yaml"), cwd=tmp_path, WANDB_RUN_ID=name)
    assert outcome.code == 2 and not trouble(outcome, [*tmp_path.glob("runs/*"), *tmp_path.parent.glob("x")])
    assert "WANDB_RUN_ID names the directory of a run" in outcome.lines[0]


NAMES = [
    "x[/y]",
    "x[red]y",
    "with space",
    "a:b",
    "n" * 200,
    "\N{SNOWMAN}",
    "-dash",
    "quote'",
    "semi;colon",
    "$HOME",
    "a\\b",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_folder_may_hold_runs_and_be_gone_on_with(folder, tmp_path, name):
    where = f"--runs={name}"
    outcome = forked("fit", "--config", str(folder / "tiny.yaml"), where, cwd=tmp_path, WANDB_MODE="offline")
    assert outcome.code == 0 and not trouble(outcome, []), outcome.said[-1500:]
    (run,) = (tmp_path / name).iterdir()
    assert f"report: {name}/{run.name}/report.html" in outcome.said
    renamed = run.rename(run.with_name(name.replace("/", "")))
    words = ("fit", f"--ckpt_path={renamed}", "--trainer.max_steps=14")
    outcome = forked(*words, cwd=tmp_path, WANDB_MODE="offline")
    assert outcome.code == 0 and not trouble(outcome, []), outcome.said[-1500:]
    assert "goes without" not in outcome.said


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
@pytest.mark.parametrize("command", ["report", "test"])
def test_a_terminal_that_knows_few_letters(folder, tmp_path, encoding, command):
    run = only_run(folder)
    words = [command, str(run)] if command == "report" else [command, "--ckpt_path", str(run)]
    done = subprocess.run(
        [sys.executable, "-m", "lightning_physim", *words], cwd=tmp_path, capture_output=True, timeout=120,
        env=os.environ | {"PYTHONIOENCODING": encoding, "HOME": str(tmp_path), "WANDB_MODE": "disabled"},
    )  # fmt: skip
    assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr[-1500:]


@pytest.mark.parametrize("variables", [{"LOCAL_RANK": "1"}, {"SLURM_PROCID": "1"}, {"RANK": "1"}])
def test_a_rank_without_the_others(folder, tmp_path, variables):
    done = subprocess.run(
        [sys.executable, "-m", "lightning_physim", "fit", "--config", str(folder / "tiny.yaml")],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env=os.environ | variables | {"HOME": str(tmp_path), "WANDB_MODE": "disabled"},
    )  # fmt: skip
    assert done.returncode in (0, 2) and "Traceback" not in done.stderr, done.stderr[-1500:]
    assert bool(list(tmp_path.glob("runs/*/metrics.jsonl"))) == (done.returncode == 0)


def test_a_report_that_fails_costs_a_line(folder, tmp_path):
    def fails(*_: object, **__: object) -> None:
        raise KeyError("injected")

    outcome = forked(
        "fit", "--config", str(folder / "tiny.yaml"), cwd=tmp_path,
        inject=lambda patch: patch.setattr(run_page, "write_page", fails),
    )  # fmt: skip
    assert outcome.code == 0 and "Traceback" not in outcome.said
    assert not (only_run(tmp_path) / "report.html").exists()
    outcome = forked(
        "fit", "--config", str(folder / "tiny.yaml"), "--runs=second", cwd=tmp_path,
        inject=lambda patch: patch.setattr(report.sections, "loss_figure", fails),
    )  # fmt: skip
    assert outcome.code == 0 and "Traceback" not in outcome.said
    (run,) = (tmp_path / "second").iterdir()
    assert "The section loss cannot be drawn: KeyError" in (run / "report.html").read_text()


@pytest.fixture
def small_disk(tmp_path):
    """``make(kilobytes)`` gives a folder on a disk of that size."""
    mounted = []

    def make(kilobytes: int) -> Path:
        folder = tmp_path / f"disk-{kilobytes}"
        folder.mkdir()
        options = f"size={kilobytes}k"
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
        if done.returncode:
            pytest.skip("this user cannot mount a small disk")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("kilobytes", [4, 64, 400, 1500])
def test_a_full_disk_is_one_line_and_the_run_goes_on_elsewhere(folder, tmp_path, small_disk, kilobytes):
    disk = small_disk(kilobytes)
    words = ("fit", "--config", str(folder / "tiny.yaml"), f"--runs={disk}/runs")
    outcome = forked(*words, cwd=tmp_path)
    assert outcome.code in (0, 2) and not trouble(outcome, []), outcome.said[-1500:]
    assert not list(disk.glob("**/*.new"))
    if outcome.code == 2:
        assert "No space left on device" in outcome.lines[0] and str(disk) in outcome.lines[0]
    if any(zipfile.is_zipfile(path) for path in disk.glob("runs/*/checkpoints/*.ckpt")):
        subprocess.run(["mount", "-o", "remount,size=60m", str(disk)], check=True)
        outcome = forked("fit", "--ckpt_path", "last", f"--runs={disk}/runs", cwd=tmp_path)
        assert outcome.code == 0, outcome.said[-1500:]


def test_a_cache_that_does_not_fit(folder, tmp_path, small_disk):
    disk = small_disk(40)
    words = ("fit", "--config", str(folder / "tiny.yaml"), f"--data.cache_dir={disk}/data", "--data.n_train=2000")
    outcome = forked(*words, cwd=tmp_path)
    assert outcome.code == 2 and not trouble(outcome, tmp_path.glob("runs/*")), outcome.said[-1500:]
    assert not list(disk.glob("**/*.partial"))


@pytest.mark.parametrize("where", ["/dev/null", "/proc/x", "x" * 300, "file/below"])
def test_a_place_that_cannot_be(folder, tmp_path, where):
    (tmp_path / "file").write_text("")
    outcome = forked("fit", "--config", str(folder / "tiny.yaml"), f"--runs={where}", cwd=tmp_path)
    assert outcome.code == 2 and not trouble(outcome, []), outcome.said[-1500:]


def test_two_that_make_the_same_data_make_it_once(folder, tmp_path):
    other = []
    words = ("fit", "--config", str(folder / "tiny.yaml"), f"--data.cache_dir={tmp_path}/data", "--data.n_train=400")

    def second(_: int) -> bool:
        if not list(tmp_path.glob("data/.*.partial")):
            return False
        other.append(forked(*words, "--runs=second", cwd=tmp_path))
        return True

    assert forked(*words, cwd=tmp_path, meanwhile=second).code == 0
    assert [outcome.code for outcome in other] == [0]
    assert len(list(tmp_path.glob("data/train-*"))) == 1 and not list(tmp_path.glob("data/.*.partial"))
