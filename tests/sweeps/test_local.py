"""Sweeps: the trials that a file asks for, W&B's own command lines, and a runner that survives being killed."""

import json
import os
import signal
import sys
import threading
from pathlib import Path

import pytest
import yaml

from lightning_physim.report import write_comparison
from lightning_physim.sweeps import LocalSweep, SweepSpec
from lightning_physim.sweeps import early as early_module
from lightning_physim.sweeps import engine as engine_module
from lightning_physim.tracking.wandb_service import end_service
from tests.helpers.fits import physim, said, values, without
from tests.helpers.processes import SILENCED, start, until

SWEEPS = Path(__file__).parents[2] / "sweeps"
GRID = {
    "program": "trial.py",
    "command": ["${env}", "${interpreter}", "${program}", "${args}"],
    "method": "grid",
    "metric": {"name": "val/loss", "goal": "minimize"},
    "parameters": {"model.n_heads": {"values": [2, 4]}, "lr": {"value": 0.1}, "k": {"min": 1, "max": 3}},
}
# Stands for a training that is over at once: its metric is k, and it does what `act` says.
PROGRAM = """
import json, os, sys, time
from pathlib import Path
given = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:])
run = Path("runs") / os.environ["WANDB_RUN_ID"]
run.mkdir(parents=True)
(run / "environment.json").write_text(json.dumps({k: v for k, v in os.environ.items() if k.startswith("WANDB")}))
if given.get("act") == "fail" and not Path("mended").exists():
    sys.exit(3)
while given.get("act") == "wait" and not Path("go").exists():
    time.sleep(0.02)
(run / "metrics.jsonl").write_text(json.dumps({"step": 1, "val/loss": float(given["k"])}) + "\\n")
"""


def write(folder: Path, **changes) -> Path:
    (folder / "trial.py").write_text(PROGRAM)
    path = folder / "toy.yaml"
    path.write_text(yaml.safe_dump({**GRID, **changes}, sort_keys=False))
    return path


def sweep_rows(folder: Path) -> list[dict]:
    (state,) = folder.glob("runs/*/sweep.jsonl")
    return [json.loads(line) for line in state.read_text().splitlines()]


def test_a_grid_is_complete_and_in_the_order_of_the_file(tmp_path):
    trials = SweepSpec.read(write(tmp_path)).trials(None, seed=0)
    expected = [{"model.n_heads": heads, "lr": 0.1, "k": k} for heads in (2, 4) for k in (1, 2, 3)]
    assert [trial.parameters for trial in trials] == expected
    assert [trial.index for trial in trials] == list(range(6)) and len({trial.run_id for trial in trials}) == 6
    assert [trial.run_id for trial in SweepSpec.read(tmp_path / "toy.yaml").trials(2, seed=9)] == [
        trial.run_id for trial in trials[:2]
    ]


def test_random_trials_depend_on_seed_and_index_alone(tmp_path):
    spec = SweepSpec.read(write(tmp_path, method="random", parameters={"x": {"min": 0.0, "max": 1.0}}))
    ten, three, other = spec.trials(10, seed=1), spec.trials(3, seed=1), spec.trials(3, seed=2)
    assert [(t.parameters, t.run_id) for t in ten[:3]] == [(t.parameters, t.run_id) for t in three]
    assert len({t.parameters["x"] for t in ten + other}) == 13
    assert spec.id(1) != spec.id(2)


def test_commands_are_those_of_the_agent(tmp_path, monkeypatch):
    from wandb import wandb_agent

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EXTRA", "--data.n_train=7")
    for name in ("WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH"):
        monkeypatch.setenv(name, "restored afterwards")
    started = []
    monkeypatch.setattr(wandb_agent, "AgentProcess", lambda command, **_: started.append(command) or _Process())
    macros = ("args", "args_no_hyphens", "args_no_equals", "args_no_boolean_flags", "args_json", "args_append_hydra")
    path = write(
        tmp_path,
        command=["${env}", "${interpreter}", "-m", "${program}", 3, "${envvar:EXTRA}", *(f"${{{m}}}" for m in macros)],
        parameters={
            "threads": {"value": None}, "flag": {"values": [True, False]}, "x": {"value": 1.0e-5},
            "model": {"parameters": {"n_heads": {"value": 4}, "block": {"parameters": {"norm": {"value": "rms"}}}}},
        },
    )  # fmt: skip
    spec = SweepSpec.read(path)
    agent = wandb_agent.Agent.__new__(wandb_agent.Agent)
    agent._in_jupyter, agent._function, agent._forward_signals, agent._run_processes = False, None, False, {}
    for trial in spec.trials(None, 0):
        agent._sweep_command = list(spec.content["command"])
        arguments = {key: {"value": value} for key, value in trial.parameters.items()}
        agent._command_run({"run_id": "abc", "program": "trial.py", "args": arguments})
        ours = spec.command(trial)
        assert ours[1] == sys.executable
        assert ["python" if word == sys.executable else word for word in ours] == started.pop()
        assert "--model={'n_heads': 4, 'block': {'norm': 'rms'}}" in ours and "--data.n_train=7" in ours
    assert "${envvar:EXTRA}" in spec.content["command"]


class _Process:
    last_sigterm_time = None


def test_fit_takes_values_as_an_agent_spells_them(capsys):
    spelled = [
        "--threads=None", "--trainer.max_steps=1e3", "--data.n_train=50.0", "--model.attend_self=True",
        "--model={'n_heads': 8.0, 'warmup_steps': 3}", "--data.system.damping=None", "--model.lr=1e-05",
    ]  # fmt: skip
    parsed = yaml.safe_load(said(["fit", "--config", "demo", *spelled, "--print_config"], capsys))
    assert parsed["threads"] is None and parsed["trainer"]["max_steps"] == 1000 and parsed["data"]["n_train"] == 50
    assert parsed["model"]["n_heads"] == 8 and parsed["model"]["d_model"] == 32 and parsed["model"]["lr"] == 1e-5
    assert parsed["model"]["attend_self"] is True and parsed["data"]["system"]["damping"] is None


@pytest.mark.parametrize("path", sorted(SWEEPS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_sweeps_pass_their_check_and_leave_nothing(path, tmp_path):
    done = physim("sweep", str(path), "--check", "--count=2", cwd=tmp_path)
    content = yaml.safe_load(path.read_text())
    assert content["project"] == "lightning_physim" and content["name"] == path.stem and content["description"]
    config = "smoke" if path.stem in ("late_flow", "llc_calibration", "onset") else "demo"
    for line in done.stdout.splitlines():
        assert f"-m lightning_physim fit --config {config} " in line
        assert all(f"--{name}=" in line for name in content["parameters"])
    assert len(done.stdout.splitlines()) == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "parameters, words",
    [
        ({"model.n_headz": {"value": 2}}, "trial 0: ", ),
        ({"model.n_heads": {"values": [4, 5]}}, "trial 1: n_heads must divide d_model=32; got n_heads=5"),
        ({"trainer.max_steps": {"value": 10.5}}, "trainer.max_steps"),
        ({"llc.sgld.n_beta": {"value": -1.0}}, "n_beta must be positive"),
    ],
)  # fmt: skip
def test_check_finds_a_wrong_option_or_value(tmp_path, parameters, words):
    command = ["${interpreter}", "-m", "lightning_physim", "fit", "--config", "demo", "${args}"]
    write(tmp_path, command=command, parameters=parameters)
    done = physim("sweep", "toy.yaml", "--check", cwd=tmp_path, code=2)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("physim: ")]
    assert words in line and next(iter(parameters)).rsplit(".", 1)[1] in line
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"method": "anneal"}, "method must be grid, random or bayes; got anneal: change it, or let W&B's server run"),
        ({"early_terminate": {"type": "hyperband"}}, "{type: hyperband, min_iter: N} or {type: hyperband, max_iter"),
        ({"controller": {"type": "local"}}, "got controller: remove it, or let W&B's server run it: --online"),
        ({"parameters": {"x": {"min": 0.5, "max": 1}}}, "a grid needs values"),
        ({"scheduler": {"engine": "optuna"}}, "got scheduler: remove it, or let W&B's server run it: --online"),
        ({"parameters": {"x": 3}}, "type {value: 3}"),
        ({"parameters": {}}, "parameters must be names"),
        ({"metric": None}, "metric must name"),
        ({"metric": {"name": "a", "goal": "least"}}, "minimize or maximize; got least"),
        ({"command": ["${args_json_file}"]}, "got ${args_json_file}"),
        ({"program": None}, "program must be"),
        ({"command": ["${program}", "a\0b"]}, "each word of command, program and project must be text"),
        ({"project": "a\0b"}, "each word of command, program and project must be text"),
        ({"command": "physim fit"}, "command must be a list"),
        ({"method": "random"}, "got no --count: type e.g. --count 20"),
        ({"method": "bayes"}, "a bayes sweep never ends by itself; got no --count: type e.g. --count 20"),
    ],
)
def test_what_cannot_be_swept_here_is_one_line_and_exit_code_2(tmp_path, changes, words):
    write(tmp_path, **changes)
    done = physim("sweep", "toy.yaml", "--check", cwd=tmp_path, code=2)
    (line,) = done.stderr.splitlines()
    assert line.startswith("physim: ") and words in line and not (tmp_path / "runs").exists()


@pytest.mark.parametrize("options", [(), ("--check",)])
def test_a_program_that_is_none_is_refused_before_anything_is_written(tmp_path, options):
    write(tmp_path, command=["./nosuch", "${args}"])
    done = physim("sweep", "toy.yaml", *options, cwd=tmp_path, code=2)
    (line,) = done.stderr.splitlines()
    assert line.startswith("physim: a trial's command must begin with a program that can be run; got './nosuch': ")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "argv, words",
    [
        (["nosuch.yaml"], "a sweep is a YAML file; got nosuch.yaml"),
        (["toy.yaml", "--jobs=0"], "--jobs must be at least 1; got 0"),
        (["toy.yaml", "--jobs=0", "--check"], "--jobs must be at least 1; got 0"),
        (["toy.yaml", "--count=0"], "--count must be at least 1; got 0"),
        (["toy.yaml", "--bogus"], "bogus"),
        ([], "file"),
        (
            ["toy.yaml", "--online", "--jobs=2", "--check"],
            "takes --count alone, W&B does the rest; got --jobs, --check",
        ),
        (["toy.yaml", "--online", "--count=0"], "--count must be at least 1; got 0"),
        (["nosuch.yaml", "--online"], "a sweep is a YAML file; got nosuch.yaml"),
        (["toy.yaml", "--online"], "--online needs a W&B account; type `wandb login`"),
    ],
)
def test_wrong_options_are_one_line_and_exit_code_2(tmp_path, argv, words):
    write(tmp_path)
    end_service()  # what wandb has read of the environment of an earlier test it would keep
    done = physim("sweep", *argv, cwd=tmp_path, code=2)
    (line,) = done.stderr.splitlines()
    assert line.startswith("physim: ") and words in line


def test_failures_are_named_and_run_again_and_the_rest_goes_on(tmp_path):
    write(tmp_path, parameters={"act": {"values": ["fail", "none"]}, "k": {"values": [3, 1]}}, project="elsewhere")
    done = physim("sweep", "toy.yaml", "--jobs=2", cwd=tmp_path, code=1)
    assert [line for line in done.stdout.splitlines() if line.startswith("failed: trial 0, exit code 3, runs/toy-")]
    assert "trial 3 of 4 finished after" in done.stdout and "val/loss 1" in done.stdout
    rows = sweep_rows(tmp_path)
    ends = {row["trial"]: row for row in rows if row["state"] != "started"}
    assert len(rows) == 8 and [ends[i]["state"] for i in range(4)] == ["failed", "failed", "finished", "finished"]
    assert [ends[i]["exit_code"] for i in range(4)] == [3, 3, 0, 0] and ends[2]["metric"] == 3
    (sweep,) = {path.parent for path in tmp_path.glob("runs/*/sweep.jsonl")}
    environment = json.loads((tmp_path / "runs" / ends[3]["run_id"] / "environment.json").read_text())
    assert environment == {
        "WANDB_MODE": "offline", "WANDB_PROJECT": "elsewhere", "WANDB_RUN_ID": ends[3]["run_id"],
        "WANDB_RUN_GROUP": sweep.name, **SILENCED,
    }  # fmt: skip

    (tmp_path / "mended").touch()
    done = physim("sweep", "toy.yaml", cwd=tmp_path)
    assert "2 of 4 trials are finished" in done.stdout
    assert {row["trial"] for row in sweep_rows(tmp_path)[8:]} == {0, 1}
    # What the failed trials had left is still there, out of the way of the new ones.
    assert (sweep / f"{ends[0]['run_id']}.1" / "environment.json").is_file()
    physim("sweep", "toy.yaml", cwd=tmp_path)
    assert len(sweep_rows(tmp_path)) == 12


@pytest.mark.slow
def test_a_killed_sweep_waits_for_the_trials_that_outlived_it(tmp_path):
    write(tmp_path, parameters={"act": {"value": "wait"}, "k": {"values": [1, 2]}})
    killed = start("toy.yaml", cwd=tmp_path)
    until(lambda: list(tmp_path.glob("runs/*/environment.json")))
    done = physim("sweep", "toy.yaml", cwd=tmp_path, code=2)
    assert done.stderr.startswith("physim: one process runs a sweep; got another at work in runs/toy-")
    killed.kill()
    killed.communicate()
    (state,) = tmp_path.glob("runs/*/sweep.jsonl")
    with state.open("a") as file:
        file.write('{"trial": 1, "sta')  # as of a machine that died while it wrote
    threading.Timer(1.0, (tmp_path / "go").touch).start()
    done = physim("sweep", "toy.yaml", cwd=tmp_path)
    assert "trial 0 of 2 is still run by an earlier process" in done.stdout.splitlines()[1]
    states = [(row["trial"], row["state"]) for row in sweep_rows(tmp_path)]
    assert states == [(0, "started"), (0, "started"), (0, "finished"), (1, "started"), (1, "finished")]


@pytest.mark.slow
def test_a_killed_bayes_sweep_goes_on_with_the_same_trials(tmp_path):
    changes = {"parameters": {"k": {"min": 0.0, "max": 1.0}, "act": {"value": "wait"}}}
    write(tmp_path, method="bayes", **changes)
    killed = start("toy.yaml", "--count=3", "--jobs=2", cwd=tmp_path)
    until(lambda: len(list(tmp_path.glob("runs/*/environment.json"))) == 2)
    killed.kill()
    killed.communicate()
    before = sweep_rows(tmp_path)
    assert [(row["trial"], row["state"]) for row in before] == [(0, "started"), (1, "started")]
    threading.Timer(1.0, (tmp_path / "go").touch).start()
    done = physim("sweep", "toy.yaml", "--count=3", cwd=tmp_path)
    assert "trial 0 of 3 is still run by an earlier process" in done.stdout
    ends = {row["trial"]: row for row in sweep_rows(tmp_path) if row["state"] == "finished"}
    assert sorted(ends) == [0, 1, 2] and [ends[i]["run_id"] for i in (0, 1)] == [row["run_id"] for row in before]
    assert all(ends[i]["metric"] == ends[i]["parameters"]["k"] for i in range(3))
    assert len({row["run_id"] for row in sweep_rows(tmp_path)}) == 3
    done = physim("sweep", "toy.yaml", "--count=4", cwd=tmp_path)
    assert "3 of 4 trials are finished" in done.stdout and sweep_rows(tmp_path)[-1]["trial"] == 3


def test_a_bayes_sweep_is_the_same_from_the_same_seed_and_after_a_kill(tmp_path, monkeypatch):
    monkeypatch.setattr(engine_module, "STARTUP", 2)
    bayes = {"method": "bayes", "parameters": {"k": {"min": 0.0, "max": 1.0}, "lr": {"distribution": "log_normal"}}}
    tried = {}
    for name, seed in (("whole", 0), ("killed", 0), ("other", 1)):
        folder = tmp_path / name
        folder.mkdir()
        write(folder, **bayes)
        if name == "killed":
            physim("sweep", "toy.yaml", "--count=3", cwd=folder)
            (state,) = folder.glob("runs/*/sweep.jsonl")
            state.write_text("".join(state.read_text().splitlines(keepends=True)[:-1]))  # the third has but started
        physim("sweep", "toy.yaml", "--count=4", f"--seed={seed}", cwd=folder)
        ends = {row["trial"]: row for row in sweep_rows(folder) if row["state"] == "finished"}
        tried[name] = [(ends[i]["run_id"], ends[i]["parameters"]) for i in range(4)]
    assert tried["whole"] == tried["killed"] and len(sweep_rows(tmp_path / "killed")) == 9
    assert tried["other"][0] != tried["whole"][0]
    drawn = LocalSweep(SweepSpec.read(folder / "toy.yaml"), "runs", 4, 1).trials
    assert [one.parameters == two for one, (_, two) in zip(drawn, tried["other"], strict=True)] == [
        True,
        True,
        False,
        False,
    ]


# Logs k times the number of the row until it is told to stop, or ten rows.
SLOW = """
import json, os, sys, time
from pathlib import Path
given = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:])
run = Path("runs") / os.environ["WANDB_RUN_ID"]
run.mkdir(parents=True)
for step in range(10):
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": step, "val/loss": float(given["k"]) + step}) + "\\n")
    while step == 4 and float(given["k"]) > 0:
        time.sleep(0.02)
"""


def test_hyperband_stops_the_worse_trials(tmp_path, monkeypatch):
    monkeypatch.setattr(early_module, "EARLY_POLL", 0.1)
    early = {"type": "hyperband", "min_iter": 3, "eta": 3}
    write(tmp_path, parameters={"k": {"values": [0, 5]}}, early_terminate=early)
    (tmp_path / "trial.py").write_text(SLOW)
    done = physim("sweep", "toy.yaml", "--min_steps=4", cwd=tmp_path)
    assert "trial 1 of 2 is stopped early" in done.stdout and "trial 1 of 2 stopped after" in done.stdout
    ends = [(row["trial"], row["state"], row["metric"]) for row in sweep_rows(tmp_path) if row["state"] != "started"]
    assert ends == [(0, "finished", 9.0), (1, "stopped", 9.0)]
    assert "2 of 2 trials are finished" in physim("sweep", "toy.yaml", cwd=tmp_path).stdout


def test_without_the_engine_one_line_says_what_to_type(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    write(tmp_path, method="bayes")
    done = physim("sweep", "toy.yaml", "--count=2", cwd=tmp_path, code=2)
    assert "pip install 'lightning_physim[bayes]'" in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_reach_the_trials_and_end_the_sweep(tmp_path, number):
    write(tmp_path, parameters={"act": {"value": "wait"}, "k": {"values": [1, 2, 3]}})

    def send():
        until(lambda: len(list(tmp_path.glob("runs/*/environment.json"))) == 2)
        os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    sender.start()
    done = physim("sweep", "toy.yaml", "--jobs=2", cwd=tmp_path, code=128 + number)
    sender.join()
    assert "the same command runs what is left" in done.stdout
    ends = [row for row in sweep_rows(tmp_path) if row["state"] != "started"]
    assert [row["state"] for row in ends] == ["interrupted"] * 2 and {row["trial"] for row in ends} == {0, 1}


@pytest.mark.slow
def test_a_sweep_of_trainings_that_is_killed_goes_on_where_it_was(tmp_path):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(without("llc")))  # the slow part
    steps = 200
    write(
        tmp_path,
        command=["${env}", "${interpreter}", "-m", "lightning_physim", "fit", "--config", "tiny.yaml", "${args}"],
        parameters={"seed_everything": {"values": [0, 1, 2]}, "trainer.max_steps": {"value": float(steps)}},
    )
    argv = ("toy.yaml", "--jobs=2", "--runs=out")
    killed = start(*argv, cwd=tmp_path)
    until(lambda: list(tmp_path.glob("out/*-000-*/checkpoints/step-00000010.ckpt")), 120)
    pids = Path(f"/proc/{killed.pid}/task/{killed.pid}/children").read_text().split()
    for pid in (killed.pid, *map(int, pids)):
        os.kill(pid, signal.SIGKILL)
    killed.communicate()
    (state,) = tmp_path.glob("out/*/sweep.jsonl")
    before = [json.loads(line) for line in state.read_text().splitlines()]
    assert [(row["trial"], row["state"]) for row in before] == [(0, "started"), (1, "started")]

    done = physim("sweep", *argv, cwd=tmp_path)
    assert "trial 0 of 3 goes on: seed_everything 0\n" in done.stdout
    assert "trial 2 of 3 starts: seed_everything 2\n" in done.stdout
    after = [json.loads(line) for line in state.read_text().splitlines()][2:]
    assert sorted((row["trial"], row["state"]) for row in after) == [
        (trial, state) for trial in range(3) for state in ("finished", "started")
    ]
    for row in after:
        measured = values(tmp_path / "out" / row["run_id"])  # fails where something was logged twice
        assert {step for step, key in measured if key == "train/loss"} == set(range(5, steps + 1, 5))
        if row["state"] == "finished":
            assert row["metric"] == pytest.approx(measured[steps, "val/loss"])
    page = (state.parent / "report.html").read_text()
    for row in after:
        assert f'<a href="../{row["run_id"]}/report.html">trial {row["trial"]}</a>' in page
        assert (tmp_path / "out" / row["run_id"] / "report.html").is_file()
    assert 'id="val-loss"' in page and 'id="probe-best_enrichment"' in page and 'id="metric"' in page


def test_the_comparison_says_which_trial_is_best_and_stands_gaps(tmp_path):
    rows = [
        {"trial": i, "run_id": f"toy-{i}", "state": "done", "metric": m, "parameters": {"a": {"b": i < 1}, "c": i}}
        for i, m in enumerate([0.5, 0.2, "NaN", None])
    ]
    sweep = {"metric": {"name": "m", "goal": "maximize"}, "description": "<b>d</b>"}
    page = write_comparison(tmp_path, sweep, rows).read_text()
    assert "Trial 0 has the best m, 0.5 of 0.2 to 0.5 in 2 trials, with a.b True, c 0." in page
    assert "&lt;b&gt;d&lt;/b&gt;" in page and "<b>d</b>" not in page
    assert "best m, 0.2" in write_comparison(tmp_path, {"metric": {"name": "m"}}, rows).read_text()
    assert "Nothing has been measured yet." in write_comparison(tmp_path, sweep, []).read_text()


def test_a_line_that_a_dying_machine_left_torn_is_dropped(tmp_path):
    write(tmp_path)
    physim("sweep", "toy.yaml", "--count=2", cwd=tmp_path)
    before = sweep_rows(tmp_path)
    (state,) = tmp_path.glob("runs/*/sweep.jsonl")
    with state.open("a") as file:
        file.write('{"trial": 1, "state": "fin')
    assert "2 of 3 trials are finished" in physim("sweep", "toy.yaml", "--count=3", cwd=tmp_path).stdout
    assert sweep_rows(tmp_path)[: len(before)] == before and len(sweep_rows(tmp_path)) == len(before) + 2


def test_a_local_sweep_is_known_by_its_file(tmp_path):
    spec = SweepSpec.read(write(tmp_path))
    before = LocalSweep(spec, "runs", None, 0).folder
    assert before == LocalSweep(SweepSpec.read(tmp_path / "toy.yaml"), "runs", 1, 7).folder
    assert before != LocalSweep(SweepSpec.read(write(tmp_path, name="other")), "runs", None, 0).folder
