"""The parts of a sweep by themselves: states, lines, bounds of parameters, early stops, environments, exit codes."""

import dataclasses
import json
import os
import re
import signal
import sys
import threading
import zipfile
from pathlib import Path

import pytest
import yaml

from lightning_physim.claims.plan import ROLES
from lightning_physim.errors import InputError
from lightning_physim.sweeps import LocalSweep, Reproduction, SweepSpec, early, online
from lightning_physim.sweeps.early import EarlyStopping, History
from lightning_physim.sweeps.launcher import Task
from lightning_physim.sweeps.processes import LocalProcesses, TrialProcess, resume_options, trial_environment
from lightning_physim.sweeps.spec import Trial
from lightning_physim.sweeps.state import SweepState, read_trials, state_of
from lightning_physim.tracking.run import RunDirectory

FILE = {
    "method": "grid",
    "metric": {"name": "val/loss"},
    "program": "trial.py",
    "parameters": {"a": {"values": [1, 2, 3]}, "b": {"value": 0.5}},
}


def spec(folder: Path, **changes) -> SweepSpec:
    path = folder / "toy.yaml"
    path.write_text(yaml.safe_dump(FILE | changes, sort_keys=False))
    return SweepSpec.read(path)


@pytest.mark.parametrize(
    "exit_code, told, state",
    [
        (0, "finished", "finished"),
        (0, "diverged", "finished"),
        (3, "diverged", "diverged"),
        (3, "running", "failed"),  # some other program's 3
        (3, None, "failed"),
        (1, "diverged", "failed"),
        (-signal.SIGTERM, None, "interrupted"),
        (128 + signal.SIGTERM, None, "interrupted"),
        (-signal.SIGINT, None, "interrupted"),
        (128 + signal.SIGHUP, None, "interrupted"),
        (-signal.SIGKILL, None, "failed"),
        (128 + signal.SIGKILL, None, "failed"),
        (128, None, "failed"),
        (2, None, "failed"),
    ],
)
def test_a_state_follows_from_the_exit_code_and_what_the_run_says(tmp_path, exit_code, told, state):
    if told is not None:
        (tmp_path / "state.json").write_text(json.dumps({"state": told, "step": 3, "reason": ""}))
    assert state_of(exit_code, RunDirectory(tmp_path)) == state


def test_the_last_line_of_a_trial_counts_and_a_torn_one_does_not(tmp_path):
    state = SweepState(tmp_path)
    assert state.rows() == [] == read_trials(tmp_path)
    one, two = Trial(1, {"a": 1}, "one"), Trial(0, {"a": 2}, "two")
    state.record(one, "started")
    state.record(two, "started")
    state.record(one, "finished", 0, float("nan"))
    rows = read_trials(tmp_path)
    assert [row["run_id"] for row in rows] == ["two", "one"]
    assert rows[1] == {
        "trial": 1, "parameters": {"a": 1}, "run_id": "one", "state": "finished", "exit_code": 0, "metric": "NaN",
    }  # fmt: skip
    assert rows[0]["exit_code"] is None and rows[0]["metric"] is None
    whole = state.file.read_bytes()
    state.file.write_bytes(whole + b'{"trial": 2')
    assert state.rows() == rows
    with state.alone():
        assert state.file.read_bytes() == whole
        with pytest.raises(InputError, match="got another at work"), SweepState(tmp_path).alone():
            pass
    state.file.write_bytes(b"nonsense\n" + whole)
    with pytest.raises(InputError, match="in line 1: remove that line"):
        state.rows()


@pytest.mark.parametrize(
    "changes",
    [
        {"trial": "x"}, {"trial": None}, {"parameters": 3}, {"parameters": [1]}, {"run_id": 3}, {"run_id": "../a"},
        {"run_id": ".."}, {"run_id": ""}, {"run_id": "a\0"}, {"state": ["finished"]}, {"exit_code": "0"},
        {"metric": [1]}, {"metric": "low"}, {"metric": {}}, {"metric": 10**400},
    ],
)  # fmt: skip
def test_a_line_with_values_of_other_types_is_refused(tmp_path, changes):
    state = SweepState(tmp_path)
    state.record(Trial(0, {"a": 1}, "one"), "finished", 0, 1.5)
    state.file.write_text(json.dumps(json.loads(state.file.read_text()) | changes) + "\n")
    with pytest.raises(InputError, match="sweep.jsonl must hold trial, .* in line 1: remove that line"):
        read_trials(tmp_path)


def test_counts_of_trials_begin_at_one(tmp_path):
    sweep = spec(tmp_path)
    assert [trial.run_id[:-6] for trial in sweep.trials(None, 0)] == [f"{sweep.id(0)}-00{i}-" for i in range(3)]
    assert len(sweep.trials(1, 0)) == 1 and len(sweep.trials(9, 0)) == 3
    with pytest.raises(InputError, match="--count must be at least 1; got 0"):
        sweep.trials(0, 0)
    with pytest.raises(InputError, match="--jobs must be at least 1; got 0"):
        LocalSweep(sweep, str(tmp_path / "runs"), None, 0).run(0)
    # A grid is the same whatever the seed; draws are not.
    assert sweep.id(0) == sweep.id(1)
    drawn = spec(tmp_path, method="random")
    assert drawn.id(0) != drawn.id(1) and drawn.id(0).startswith("toy-")


def test_a_grid_over_more_than_can_be_counted_takes_a_count(tmp_path):
    sweep = spec(tmp_path, parameters={"a": {"values": [1, 2]}, "b": {"min": 0, "max": 10**12}, "c": {"value": 3}})
    assert [trial.parameters for trial in sweep.trials(2, 0)] == [{"a": 1, "b": b, "c": 3} for b in (0, 1)]
    with pytest.raises(InputError, match="at most 1,000,000 trials; got 2,000,000,000,002: list fewer values, or type"):
        sweep.trials(None, 0)
    small = spec(tmp_path, parameters={name: {"min": 0, "max": 2} for name in "abc"})
    every = [trial.parameters for trial in small.trials(None, 0)]
    assert len(every) == 27
    assert all([trial.parameters for trial in small.trials(n, 0)] == every[:n] for n in range(1, 28))


def test_a_sweep_has_an_id_where_nothing_of_the_name_of_its_file_can_stand_in_one(tmp_path):
    path = tmp_path / "ü.yaml"
    path.write_text(yaml.safe_dump(FILE))
    assert re.fullmatch("sweep-[0-9a-f]{6}", SweepSpec.read(path).id(0))


def test_a_command_of_trials_says_what_is_left_and_ends_with_a_code(tmp_path):
    said: list[str] = []
    sweep = LocalSweep(spec(tmp_path), str(tmp_path / "runs"), None, 0, said.append)
    sweep.folder.mkdir(parents=True)
    assert sweep.conclude(0) == 0 and said == []
    assert sweep.command(sweep.trials[0])[-1] == f"--runs={tmp_path / 'runs'}"
    assert "--runs" not in " ".join(LocalSweep(spec(tmp_path), "runs", None, 0).command(sweep.trials[0]))
    sweep.state.record(sweep.trials[0], "diverged", 3)
    assert sweep.conclude(0) == 0 and len(said) == 1 and said[0].startswith("diverged: trial 0, exit code 3, ")
    for state, code in (("failed", 1), ("interrupted", -15)):
        said.clear()
        sweep.state.record(sweep.trials[1], state, code)
        assert sweep.conclude(0) == 1
        assert len(said) == 3 and said[-1] == "the same command runs what is left"
    sweep.state.record(sweep.trials[1], "finished", 0)
    said.clear()
    assert sweep.conclude(signal.SIGTERM) == 143 and said[-1] == "the same command runs what is left"


class FakeProcess:
    def __init__(self) -> None:
        self.told: list[str] = []

    def terminate(self) -> None:
        self.told.append("terminate")

    def kill(self) -> None:
        self.told.append("kill")


def test_early_stopping_looks_now_and_then_and_is_patient_before_it_kills(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(early.time, "monotonic", lambda: now[0])
    histories = {"a": History([1, 2], [3.0, 2.0]), "b": History([5], [9.0]), "c": History(), "d": History([4], [8.0])}
    looked: list[dict] = []

    class Rule:
        def to_stop(self, given, judged):
            looked.append({key: list(values) for key, values in given.items()} | {"judged": sorted(judged)})
            return {"b"}

    trials = {name: Trial(i, {}, name) for i, name in enumerate("abcd")}
    asked: list[str] = []

    def history(trial: Trial) -> History:
        asked.append(trial.run_id)
        return histories[trial.run_id]

    stopping = EarlyStopping(Rule(), 5, history)
    stopping.ended(trials["a"], History([9], [5.0]))
    ours = {trials[name]: TrialProcess(FakeProcess(), False) for name in "bcd"}
    running = [trials["b"], trials["c"], trials["d"]]
    assert stopping.stop(trials.values(), running, ours) == [trials["b"]]
    assert ours[trials["b"]].process.told == ["terminate"] and ours[trials["b"]].stopped == 100.0
    assert asked == ["b", "c", "d"]  # "a" has ended: what it left is known
    # Nothing is said of what has logged nothing, and "d" has yet to come to its fifth step.
    assert looked == [{"a": [5.0], "b": [9.0], "d": [8.0], "judged": ["b"]}]
    now[0] += early.EARLY_POLL - 0.01
    assert stopping.stop(trials.values(), running, ours) == [] and len(looked) == 1
    now[0] += 0.01
    assert stopping.stop(trials.values(), running, ours) == [] and len(looked) == 2  # it has been told already
    now[0] = 100.0 + early.KILL_DELAY
    stopping.stop(trials.values(), running, ours)
    assert ours[trials["b"]].process.told == ["terminate"]
    now[0] += 0.01
    stopping.stop(trials.values(), running, ours)
    assert ours[trials["b"]].process.told == ["terminate", "kill"] and ours[trials["c"]].process.told == []


def test_a_trial_is_offline_unless_told_and_knows_no_sweep_of_wandbs(monkeypatch):
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    for name in ("WANDB_SWEEP_ID", "SLURM_NTASKS", "SLURM_PROCID"):
        monkeypatch.setenv(name, "abc")
    trial = Trial(0, {}, "run")
    found = trial_environment(trial, "sweep", None)
    assert not {"SLURM_NTASKS", "SLURM_PROCID"} & found.keys()
    assert {key: value for key, value in found.items() if key.startswith("WANDB")} == {
        "WANDB_RUN_ID": "run", "WANDB_RUN_GROUP": "sweep", "WANDB_MODE": "offline",
    }  # fmt: skip
    monkeypatch.setenv("WANDB_MODE", "online")
    assert trial_environment(trial, "sweep", "mine")["WANDB_MODE"] == "online"
    assert trial_environment(trial, "sweep", "mine")["WANDB_PROJECT"] == "mine"
    control = Trial(0, {}, "run", job_type="permuted", tags=("control",))
    found = trial_environment(control, "sweep", None)
    assert (found["WANDB_JOB_TYPE"], found["WANDB_TAGS"]) == ("permuted", "control")
    monkeypatch.setenv("WANDB_TAGS", "mine")
    assert trial_environment(control, "sweep", None)["WANDB_TAGS"] == "mine,control"
    assert trial_environment(trial, "sweep", None)["WANDB_TAGS"] == "mine"


def test_what_has_no_checkpoint_makes_room(tmp_path):
    said: list[str] = []
    folder = tmp_path / "sweep"
    folder.mkdir()
    run = RunDirectory(tmp_path / "r")
    assert resume_options(run, folder, said.append) == []
    run.path.mkdir()
    assert resume_options(run, folder, said.append) == [] and not run.path.exists() and said == []
    for n in (1, 2):
        run.path.mkdir()
        (run.path / "log").write_text(str(n))
        assert resume_options(run, folder, said.append) == [] and not run.path.exists()
        assert (folder / f"r.{n}" / "log").read_text() == str(n) and said[-1].endswith(str(folder / f"r.{n}"))
    (run.path / "checkpoints").mkdir(parents=True)
    zipfile.ZipFile(run.path / "checkpoints" / "step-00000003.ckpt", "w").close()
    assert resume_options(run, folder, said.append) == [f"--ckpt_path={run.path}"] and len(said) == 2


def test_a_trial_that_still_runs_is_not_started_again(tmp_path):
    began: list[str] = []
    task = Task(Trial(0, {}, "r"), ("sleep", "60"), RunDirectory(tmp_path / "r"), tmp_path, None)
    started = LocalProcesses().launch(task, lambda: began.append("first"), print)
    assert not started.goes_on and started.how == "starts" and started.stopped is None and started.poll() is None
    try:
        assert LocalProcesses().launch(task, lambda: began.append("again"), print) is None
        assert os.getsid(started.process.pid) == started.process.pid  # Ctrl-C does not reach it by itself
    finally:
        started.kill()
        started.process.wait()
    assert started.poll() == -signal.SIGKILL
    (tmp_path / "r" / "checkpoints").mkdir(parents=True)
    zipfile.ZipFile(tmp_path / "r" / "checkpoints" / "step-00000003.ckpt", "w").close()
    echo = dataclasses.replace(task, command=("echo", "words"))
    resumed = LocalProcesses().launch(echo, lambda: began.append("last"), print)
    assert resumed.how == "goes on" and resumed.process.wait() == 0 and began == ["first", "last"]
    assert task.log.read_text() == f"words --ckpt_path={tmp_path / 'r'}\n" and resumed.process.stdin is None


def test_a_reproduction_takes_its_steps_from_the_last_option_or_the_file(tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text("trainer:\n  max_steps: 4000\n")
    assert Reproduction(config).max_steps == 4000
    given = ("--trainer.max_steps=10", "--trainer.max_steps=30", "--threads=1")
    plan = Reproduction(config, n_seeds=1, options=given, runs=str(tmp_path))
    assert (
        plan.max_steps == 30
        and plan.folder == tmp_path / plan.id()
        and re.fullmatch("reproduce-mine-[0-9a-f]{6}", plan.id())
    )
    flow = Reproduction(config, n_seeds=1, options=given, claims="c")
    stretched = [word for word in flow.command(flow.trials()[0]) if word.startswith("--trainer.max_steps=")]
    assert stretched[-1] == f"--trainer.max_steps={round(30 * ROLES['flow_fine'].stretch)}"
    assert {"role": "seed", "seed": 0} in [trial.parameters for trial in plan.trials()]
    with pytest.raises(InputError, match="trainings need an end"):
        Reproduction(config, options=("--trainer.max_steps=0",))
    for content, words in (("trainer: 3", "section trainer of"), ("trainer: {max_steps: many}", "a whole number")):
        config.write_text(content)
        with pytest.raises(InputError, match=words):
            Reproduction(config)


@pytest.mark.parametrize("count, words", [(None, []), (3, ["--count", "3"])])
def test_the_agent_gets_the_sweep_and_how_many_trials_to_run(monkeypatch, count, words):
    started: list[tuple[list[str], dict]] = []

    class Agent:
        def __init__(self, command, **how):
            started.append((command, how))

        terminate = None

        def wait(self):
            return 7

    monkeypatch.setattr(online.subprocess, "Popen", Agent)
    assert online.OnlineSweep("me/p/s", "http://x").run(count) == 7
    ((command, how),) = started
    assert command == [sys.executable, "-m", "wandb", "agent", "--forward-signals", *words, "me/p/s"]
    assert how["start_new_session"] and how["env"]["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)


def test_a_signal_ends_the_agent_and_is_the_exit_code(monkeypatch):
    class Agent:
        told = 0

        def __init__(self, command, **how):
            pass

        def terminate(self):
            Agent.told += 1

        def wait(self):
            os.kill(os.getpid(), signal.SIGTERM)
            return 0

    monkeypatch.setattr(online.subprocess, "Popen", Agent)
    assert online.OnlineSweep("me/p/s", "http://x").run(None) == 128 + signal.SIGTERM
    assert Agent.told == 1


@pytest.mark.parametrize("broken, code", [(0, 7), (5, 5)])
def test_a_scheduler_runs_as_long_as_the_agent_and_a_broken_one_ends_it(monkeypatch, broken, code):
    said: list[tuple[str, object]] = []
    over = {"agent": threading.Event(), "sweep-scheduler": threading.Event()}

    class Client:
        def __init__(self, command, **how):
            self.name = command[3]
            said.append((self.name, command[-1]))
            if broken and self.name == "sweep-scheduler" or not broken and self.name == "agent":
                over[self.name].set()

        def wait(self):
            assert over[self.name].wait(10)
            return 7 if self.name == "agent" else broken

        def terminate(self):
            over[self.name].set()

        def send_signal(self, number):
            said.append((self.name, number))
            over[self.name].set()

    monkeypatch.setattr(online.subprocess, "Popen", Client)
    assert online.OnlineSweep("me/p/s", "http://x", scheduled=True).run(2) == code
    assert said == [("sweep-scheduler", "me/p/s"), ("agent", "me/p/s"), ("sweep-scheduler", signal.SIGINT)]


@pytest.mark.parametrize(
    "scheduler, words",
    [
        ({"job": "me/p/job:latest"}, "engine must be wandb, optuna, ax; got None: .* `wandb launch-sweep "),
        ("optuna2", "got optuna2"),
        ({"engine": "ax"}, r"the scheduler ax needs a package; type `pip install 'wandb\[ax\]'`"),
    ],
)  # fmt: skip
def test_a_scheduler_that_the_client_cannot_run_makes_no_sweep(tmp_path, monkeypatch, scheduler, words):
    monkeypatch.setattr(online, "find_spec", lambda name: None)
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(FILE | {"scheduler": scheduler}))
    with pytest.raises(InputError, match=words):
        online.OnlineSweep.create(tmp_path / "sweep.yaml")


@pytest.mark.parametrize("content", ["[]", "a: 1", "parameters: 3", "{"])
def test_a_file_that_is_no_sweep_makes_none(tmp_path, content):
    (tmp_path / "sweep.yaml").write_text(content)
    with pytest.raises(InputError, match="a sweep is a YAML file"):
        online.OnlineSweep.create(tmp_path / "sweep.yaml")


def test_an_id_is_of_sixty_plain_letters_and_a_hash(tmp_path):
    path = tmp_path / f"{'a' * 40} (b)/{'c' * 70}.yaml".replace("/", "-")
    path.write_text(yaml.safe_dump(FILE))
    name, _, digest = SweepSpec.read(path).id(0).rpartition("-")
    assert name == f"{'a' * 40}-b--{'c' * 16}" and len(name) == 60 and len(digest) == 6
