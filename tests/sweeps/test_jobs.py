"""Trials as jobs of submitit: by its local executor, and as far as `sbatch` where SLURM is only pretended."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest
import yaml

from lightning_physim.errors import InputError
from lightning_physim.sweeps import jobs
from lightning_physim.sweeps.jobs import SubmititJobs
from lightning_physim.sweeps.launcher import Task
from lightning_physim.sweeps.spec import Trial
from lightning_physim.tracking.run import RunDirectory
from tests.helpers.fits import physim, values, without
from tests.helpers.processes import start, until

# Stands for a training: leaves a checkpoint when it is told to end, and goes on with it.
PROGRAM = """
import json, os, signal, sys, time, zipfile
from pathlib import Path
run = Path("runs") / os.environ["WANDB_RUN_ID"]
(run / "checkpoints").mkdir(parents=True, exist_ok=True)
with (run / "log").open("a") as file:
    file.write(" ".join(sys.argv[1:]) + f" {os.environ.get('SLURM_NTASKS')}\\n")
def end(number, frame):
    zipfile.ZipFile(run / "checkpoints" / "step-00000003.ckpt", "w").close()
    sys.exit(128 + number)
signal.signal(signal.SIGTERM, end)
while not Path("go").exists():
    time.sleep(0.02)
(run / "metrics.jsonl").write_text(json.dumps({"step": 1, "val/loss": 0.5}) + "\\n")
"""


def toy(folder: Path) -> Task:
    (folder / "trial.py").write_text(PROGRAM)
    sweep = folder / "runs" / "toy"
    sweep.mkdir(parents=True)
    return Task(
        Trial(0, {}, "r"), (sys.executable, "trial.py", "--k=1"), RunDirectory(folder / "runs" / "r"), sweep, None
    )


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(jobs, "JOB_POLL", 0.05)
    monkeypatch.setenv("SLURM_NTASKS", "1")  # of a job that the sweep itself runs in


def task_of(controller: int) -> int:
    """The process of the job that submitit's local controller has started."""
    children = Path(f"/proc/{controller}/task/{controller}/children")
    return int(until(lambda: children.read_text().split())[0])


@pytest.mark.slow
def test_a_job_that_gets_the_clusters_signal_is_queued_again_and_goes_on(tmp_path, monkeypatch, fast):
    monkeypatch.chdir(tmp_path)
    task, began = toy(tmp_path), []
    log = task.run.path / "log"
    launcher = SubmititJobs("submitit-local", task.folder, {})
    submitted = launcher.launch(task, lambda: began.append(1), print)
    assert submitted.how == f"is job {submitted.job.job_id}" and submitted.outlives
    until(log.is_file)
    assert submitted.poll() is None
    submitted.send_signal(signal.SIGTERM)  # of the sweep, which the job outlives
    os.kill(task_of(int(submitted.job.job_id)), signal.SIGUSR2)
    until(lambda: len(log.read_text().splitlines()) == 2)
    # A sweep after this one finds the job, and its result.
    (tmp_path / "go").touch()
    submitted.job._process.wait()
    found = launcher.launch(task, lambda: began.append(2), print)
    assert until(lambda: found.poll() == 0) and began == [1] and not found.note.exists()
    first, second = log.read_text().splitlines()
    assert (first, second) == ("--k=1 None", f"--k=1 --ckpt_path={task.run.path} None")
    assert (task.run.path / "metrics.jsonl").is_file()


@pytest.mark.slow
def test_a_job_that_is_stopped_early_ends_with_its_checkpoint(tmp_path, monkeypatch, fast):
    monkeypatch.chdir(tmp_path)
    task = toy(tmp_path)
    submitted = SubmititJobs("submitit-local", task.folder, {}).launch(task, lambda: None, print)
    until((task.run.path / "log").is_file)
    submitted.terminate()
    until((task.run.path / "checkpoints" / "step-00000003.ckpt").is_file)
    monkeypatch.setattr(type(submitted.job), "_results_timeout_s", 0, raising=False)
    assert until(lambda: submitted.poll()) == -signal.SIGKILL  # it has left no result


@pytest.mark.slow
def test_a_command_that_cannot_be_started_is_a_failure(tmp_path, fast):
    task = Task(Trial(0, {}, "r"), ("/nonexistent",), RunDirectory(tmp_path / "r"), tmp_path, None)
    submitted = SubmititJobs("submitit-local", tmp_path, {}).launch(task, lambda: None, print)
    assert until(lambda: submitted.poll()) == 1
    assert "FileNotFoundError" in submitted.job.stdout()


SLURM = {
    "srun": "exit 0",
    "sbatch": 'cp "$1" submission.sh; echo "Submitted batch job 7"',
    "sacct": 'echo "JobID|State|NodeList"; echo "7|RUNNING|node1"',
    "scancel": 'echo "$@" >> cancelled',
}


def test_a_slurm_job_asks_for_what_was_typed_and_is_requeued(tmp_path, monkeypatch, fast):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    for name, line in SLURM.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    task, began = toy(tmp_path), []
    options = {"time": 240, "partition": "gpu", "gpus_per_node": 1}
    launcher = SubmititJobs("slurm", task.folder, options)
    submitted = launcher.launch(task, lambda: began.append(1), print)
    asked = (tmp_path / "submission.sh").read_text().splitlines()
    for line in ("time=240", "partition=gpu", "gpus-per-node=1", "job-name=r", "signal=USR2@90", "requeue"):
        assert f"#SBATCH --{line}" in asked
    assert submitted.poll() is None and submitted.how == "is job 7" and submitted.note.read_text() == "7\n"
    again = launcher.launch(task, lambda: began.append(2), print)
    assert again.job.job_id == "7" and began == [1]
    submitted.terminate()
    submitted.kill()
    assert (tmp_path / "cancelled").read_text() == "--signal=INT 7\n7\n"


@pytest.mark.parametrize(
    "launcher, options, words",
    [
        ("slurm", {}, "a job needs its minutes, after which it is queued again; got none: type --slurm time=240"),
        ("slurm", {"time": 9}, "submitit refuses: Could not detect \"srun\""),
        ("submitit-local", {"tiem": 9}, "submitit refuses: Unknown argument 'tiem' for executor 'slurm'"),
    ],
)  # fmt: skip
def test_what_submitit_refuses_is_one_line(tmp_path, monkeypatch, launcher, options, words):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(InputError) as refused:
        SubmititJobs(launcher, tmp_path, options)
    assert str(refused.value).startswith(words) and "\n" not in str(refused.value)


def test_without_submitit_one_line_says_what_to_type(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(InputError, match=r"needs submitit; type `pip install 'lightning_physim\[slurm\]'`"):
        SubmititJobs("slurm", tmp_path, {"time": 5})


@pytest.mark.parametrize(
    "argv, words",
    [
        (["--slurm", "time=5"], "--slurm is for jobs; got time=5: type --launcher=slurm, or leave it out"),
        (["--launcher=submitit-local", "--slurm", "time"], "options of sbatch are spelled --slurm time=240"),
        (["--launcher=pbs"], "pbs"),
        (["--online", "--launcher=slurm"], "--online takes --count alone"),
    ],
)
def test_wrong_options_of_a_launcher_are_one_line_and_exit_code_2(tmp_path, argv, words):
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump({"method": "grid", "metric": {"name": "x"}, "program": "a"}
                                                      | {"parameters": {"k": {"values": [1]}}}))  # fmt: skip
    for command in ("sweep", "reproduce")[: 1 if "--online" in argv else 2]:
        done = physim(command, *(["toy.yaml"] if command == "sweep" else []), *argv, cwd=tmp_path, code=2)
        (line,) = done.stderr.splitlines()
        assert line.startswith("physim: ") and words in line and not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_sweep_of_jobs_that_is_killed_and_requeued_is_the_undisturbed_one(tmp_path):
    steps = 40
    sweep = {
        "method": "grid", "metric": {"name": "val/loss"}, "program": "lightning_physim",
        "command": ["${interpreter}", "-m", "${program}", "fit", "--config", "tiny.yaml", "${args}"],
        "parameters": {"seed_everything": {"values": [0, 1]}, "trainer.max_steps": {"value": steps}},
    }  # fmt: skip
    for name in ("whole", "hurt"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tiny.yaml").write_text(yaml.safe_dump(without("llc", "geometry", "snapshots", "emergence")))
        (tmp_path / name / "toy.yaml").write_text(yaml.safe_dump(sweep))
    physim("sweep", "toy.yaml", "--count=1", cwd=tmp_path / "whole")

    argv, folder = ("toy.yaml", "--launcher=submitit-local"), tmp_path / "hurt"
    killed = start(*argv, cwd=folder)
    until(lambda: list(folder.glob("runs/*-000-*/checkpoints/step-0000000?.ckpt")), 120)
    (note,) = folder.glob("runs/*/*.job")
    os.kill(task_of(int(note.read_text())), signal.SIGUSR2)  # as the cluster before its time limit
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    done = physim("sweep", *argv, cwd=folder)
    (log,) = folder.glob("runs/*/*-000-*.log")
    assert "SIGTERM: training ends after this step, with a checkpoint" in log.read_text()
    (state,) = folder.glob("runs/*/sweep.jsonl")
    rows = [json.loads(line) for line in state.read_text().splitlines()]
    assert {row["trial"]: row["state"] for row in rows} == {0: "finished", 1: "finished"}, done.stdout
    (whole,) = (tmp_path / "whole" / "runs").glob("*-000-*")
    assert values(folder / "runs" / whole.name) == values(whole)
