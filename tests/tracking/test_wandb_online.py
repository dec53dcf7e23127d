"""The genuine W&B client against the loopback server: online, offline and synced, resumed, killed, and swept."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lightning_physim import keys
from lightning_physim.tracking import RunDirectory, checkpoint_step, last_checkpoint
from lightning_physim.tracking.reading import read_rows
from tests.helpers.fits import TINY, only_run, physim, physim_process, rows, values, without
from tests.helpers.processes import until
from tests.helpers.wandb_server import Artifact, Faults, Run, WandbServer

pytest.importorskip("wandb")

# Without estimates of learning coefficients and pictures a fit takes a second beside its imports.
QUICK = without("llc", "snapshots")
# An end that a test never waits for, and so few rows that none is written because wandb's 32 KiB are full.
LONG = ("--trainer.max_steps=100000", "--trainer.log_every_n_steps=10", "--trainer.enable_progress_bar=False")
SWEEPS = Path(__file__).parents[2] / "sweeps"
# The figures and tables of a TINY fit, with the steps at which they are logged.
NOT_SHOWN = ("calibration", "emergence", "portrait")  # no head emerges
SHOWN = {part.key: [10, 30] for part in keys.SECTIONS if part.name not in NOT_SHOWN and not part.viewed}
SHOWN |= {keys.VIEWER: [10, 30], "report/estimates": [10, 30]}
SHOWN |= {"probe/attention_distance": [1, 10, 30], "llc/trace": [10, 30], "report/heads": [10, 30]}
SHOWN |= {"emergence/heads": [1, 10, 30], "rollout/floors": [0]}
SHOWN |= {"report/inside": [30]}  # nobody looks inside before the end
# No head has emerged: the three tables of them have one content, and are one file.
N_FILES = sum(map(len, SHOWN.values())) - 2


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """The data set of all fits here."""
    folder = tmp_path_factory.mktemp("online")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    physim("simulate", "--config", "tiny.yaml", "--data.cache_dir", str(folder / "data"), cwd=folder)
    return folder / "data"


@pytest.fixture
def folder(tmp_path, data, wandb_server) -> Iterator[Path]:
    """A folder to run commands in, with the configurations ``tiny.yaml`` and ``quick.yaml``."""
    for name, config in (("tiny", TINY), ("quick", QUICK)):
        config = config | {"data": config["data"] | {"cache_dir": str(data)}}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(config))
    yield tmp_path
    while STARTED:
        kill(STARTED.pop())  # what a failed test has left


STARTED: list[subprocess.Popen] = []


def start(*argv: str, cwd: Path, module: str = "lightning_physim", **environment: str) -> subprocess.Popen:
    """A command in a process and a process group of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *argv],
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)} | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    STARTED.append(process)
    return process


def finish(process: subprocess.Popen, timeout: float = 120.0) -> str:
    """What it said, once it has ended with exit code 0."""
    said, _ = process.communicate(timeout=timeout)
    assert process.returncode == 0, said
    return said


def kill(process: subprocess.Popen) -> None:
    """``kill -9``, as the system does to a whole job."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


def fit(*argv: str, cwd: Path, **environment: str) -> str:
    return finish(start("fit", *argv, cwd=cwd, **environment))


def sync(run: Path, pattern: str = "offline-run-*", **environment: str) -> None:
    """``wandb sync`` of the files that match; those of an online run, or synced elsewhere, as well."""
    directories = sorted(str(path.relative_to(run)) for path in (run / "wandb").glob(pattern))
    finish(start("sync", "--no-skip-online", "--no-skip-synced", *directories, cwd=run, module="wandb", **environment))


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


@pytest.mark.slow
def test_online_and_synced_are_the_same(folder, wandb_server):
    said = fit("--config", "tiny.yaml", cwd=folder)
    run = only_run(folder)
    online = wandb_server.only_run()
    assert f"W&B: {wandb_server.url}/tester/lightning_physim/runs/{run.name}" in said
    assert_complete(wandb_server, run)
    assert [row["_step"] for row in online.history()] == list(range(len(online.history())))
    assert {"n_heads_5x", "best_enrichment", "loss_share"} <= online.summary.keys()  # none of the heads has emerged
    assert online.summary["best_enrichment"] == online.summary["probe/best_enrichment"]
    assert [alert["title"] for alert in wandb_server.alerts] == ["Learning coefficients fail their diagnostics"]
    assert online.config["model.d_model"] == 16 and online.config["data.system.radius"] == 0.08
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert not {"model", "data", "trainer"} & set(online.config)
    assert {key.split(".")[0] for key in online.config} == set(config) | {"provenance", "metrics"}
    assert online.config["provenance.sgld.n_beta"] == 50.0 and online.config["provenance.sgld.seed"] == 0
    split = online.config["provenance.data.train"]
    assert (Path(config["data"]["cache_dir"]) / split / "metadata.json").is_file()
    assert online.config["provenance.world_size"] == 1 and online.config["provenance.device"] == "cpu"
    assert online.config["provenance.torch"] == torch.__version__
    for key in {key for row in logged(run) for key in row} - {"step", "epoch", "probe/best_enrichment"}:
        units = [name for name in online.config if fnmatch(f"metrics.{key}.unit", name)]
        assert len(units) == 1 and online.config[units[0]], key
        assert units[0].removesuffix("unit") + "goal" in online.config
    shown: dict[str, list[int]] = {}
    for row in filter(is_figure, online.history()):
        ((key, value),) = [(key, value) for key, value in row.items() if isinstance(value, dict)]
        shown.setdefault(key, []).append(row["trainer/global_step"])
        if key == keys.VIEWER:
            assert value["_type"] == "html-file" and 'id="viewer-data"' in online.files[value["path"]].decode()
            continue
        content = json.loads(online.files[value["path"]])
        assert len(content["data"]) > 0 and value.get("nrows", len(content["data"])) == len(content["data"])
        if key == "llc/trace":
            table = content
    assert shown == SHOWN
    trace = json.loads((run / "figures" / "llc_trace.json").read_text())
    assert table["columns"] == trace["columns"] and table["data"] == trace["data"]
    assert {artifact.state for artifact in wandb_server.artifacts} == {"COMMITTED"} and wandb_server.artifacts

    fit("--config", "tiny.yaml", "--runs", "offline", cwd=folder, WANDB_MODE="offline")
    (second,) = (folder / "offline").iterdir()
    assert list(wandb_server.runs) == [run.name]
    sync(second)
    synced = wandb_server.runs[second.name]
    assert numbers(synced) == logged(second) and untimed(numbers(synced)) == untimed(numbers(online))
    assert synced.config == online.config | {"runs": "offline"}
    assert media(synced) == media(online) and len(media(online)) == N_FILES
    assert synced.state == "finished" and wandb_server.unknown == []


@pytest.mark.slow
def test_a_test_of_the_run_reaches_its_summary(folder, wandb_server):
    fit("--config", "quick.yaml", "--trainer.max_steps=3", cwd=folder)
    before = dict(wandb_server.only_run().summary)
    physim_process("test", "--ckpt_path=last", cwd=folder, env=os.environ)
    there = wandb_server.only_run()
    row = rows(only_run(folder))[-1]
    assert "test/loss" in row and "ood_gravity/rollout_mse@4" in row
    assert {key: there.summary[key] for key in row.keys() - {"step", "time"}} == untimed_row(row)
    assert all(there.summary[key] == before[key] for key in ("val/loss", "n_heads_5x"))
    assert there.state == "finished" and wandb_server.unknown == []


def untimed_row(row: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in row.items() if key not in ("step", "time")}


CONTROL = """
import os
from pathlib import Path
from lightning_physim.sweeps.processes import trial_environment
from lightning_physim.sweeps.spec import Trial
from lightning_physim.tracking import PhysimWandbLogger, RunDirectory

os.environ["WANDB_MODE"] = "online"
os.environ |= trial_environment(Trial(0, {}, "a", "permuted", ("control",)), "reproduce-x", None)
run = RunDirectory(Path("runs/a"))
run.checkpoints.mkdir(parents=True)
logger = PhysimWandbLogger(run, artifacts=["checkpoints"])
logger.log_metrics({"a": 1.0}, 1)
logger.alert("The first head has emerged", "L0H1")
logger.log_summary({"first_step_5x": 7.0})
for step in (1, 2):
    path = run.checkpoints / f"step-{step}.ckpt"
    path.write_text(str(step))
    logger.log_checkpoint(path, step)
logger.finish()
"""


@pytest.mark.slow
def test_what_a_control_of_a_reproduction_sends_reaches_the_server(folder, wandb_server, monkeypatch):
    monkeypatch.chdir(folder)
    said = subprocess.run([sys.executable, "-c", CONTROL], check=True, timeout=100, capture_output=True, text=True)
    assert "goes without" not in said.stderr + said.stdout
    (alert,) = wandb_server.alerts
    assert (alert["title"], alert["text"]) == ("The first head has emerged", "L0H1")
    run = wandb_server.only_run()
    assert run.summary["first_step_5x"] == 7 and run.exit_code == 0
    assert (run.group, run.job_type, run.tags) == ("reproduce-x", "permuted", ["control"])
    first, last = wandb_server.artifacts
    assert first.linked == {} and last.linked == {"models-reproduce-x": ["a"]}
    assert last.files == {"step-2.ckpt": b"2"} and wandb_server.unknown == []


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["online", "offline"])
def test_artifacts_tell_where_they_come_from(folder, wandb_server, mode):
    steps = "--trainer.max_steps=12"
    fit("--config", "quick.yaml", steps, "--artifacts=[checkpoints,data]", cwd=folder, WANDB_MODE=mode)
    run = only_run(folder)
    fit("--config", "quick.yaml", steps, "--runs", "plain", cwd=folder, WANDB_MODE=mode)
    (plain,) = (folder / "plain").iterdir()
    if mode == "offline":
        sync(run)
        sync(plain)
    made: dict[str, list[Artifact]] = {}
    for artifact in wandb_server.artifacts:
        made.setdefault(artifact.name, []).append(artifact)
    splits = {key.split(".")[-1]: value for key, value in wandb_server.runs[run.name].config.items() if ".data." in key}
    whole, described = [artifact for artifact in wandb_server.artifacts if artifact.type == "dataset"]
    assert whole.name == described.name and whole.metadata == described.metadata == splits
    assert whole.used_by == [run.name] and described.used_by == [plain.name]
    cache = Path(yaml.safe_load((folder / "quick.yaml").read_text())["data"]["cache_dir"])
    for name, content in whole.files.items():
        split, file = name.split("/")
        assert content == (cache / splits[split] / file).read_bytes()
    assert len(whole.files) == sum(1 for split in splits.values() for _ in (cache / split).iterdir())
    assert set(described.files) == {f"{split}/metadata.json" for split in splits}

    lineage = {"run": run.name, "data": whole.name.removeprefix("data-")}
    kept = {checkpoint_step(path): path for path in (run / "checkpoints").iterdir()}
    sent = {artifact.metadata["step"]: artifact for artifact in made[f"checkpoint-{run.name}"]}
    assert set(sent) <= set(kept) and {1, 3, 10, 12} == set(sent)
    for step, artifact in sent.items():
        assert artifact.metadata == {"step": step} | lineage and f"step-{step}" in artifact.aliases
        assert artifact.files == {kept[step].name: kept[step].read_bytes()} and artifact.made_by == run.name
    (report,) = made[f"report-{run.name}"]
    assert report.files == {"report.html": (run / "report.html").read_bytes()}
    assert report.metadata == {"step": 12} | lineage and report.made_by == run.name
    assert f"report-{plain.name}" in made and f"checkpoint-{plain.name}" not in made
    assert wandb_server.unknown == []


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


@pytest.mark.slow
@pytest.mark.parametrize("modes", MODES)
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


def without_forecasts(found: dict) -> dict:
    """Forecasts are of the last planned step, which is another one after a resume that ends earlier."""
    return {place: value for place, value in found.items() if "/forecast" not in place[1]}


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_killed_run_is_readable_and_resumes(folder, wandb_server, mode):
    endless = start("fit", "--config", "quick.yaml", *LONG, cwd=folder, WANDB_MODE=mode)
    until(lambda: any(row["time"] > 8.0 for path in folder.glob("runs/*/metrics.jsonl") for _, row in read_rows(path)))
    kill(endless)
    run = only_run(folder)
    times = {row["step"]: row["time"] for row in rows(run)}
    last_step, killed_at = max(times), max(times.values())
    checkpoint = checkpoint_step(last_checkpoint(RunDirectory(run)))
    assert abs(last_step - checkpoint) <= 10
    if mode == "online":
        assert killed_at - times[numbers(wandb_server.only_run())[-1]["step"]] < 6.0

    elsewhere = WandbServer()
    sync(run, "*run-*", WANDB_BASE_URL=elsewhere.url)
    torn = untimed(numbers(elsewhere.only_run()))
    elsewhere.close()
    assert torn == untimed(logged(run))[: len(torn)]
    assert killed_at - times[torn[-1]["step"]] < 3.0
    if mode == "offline":
        sync(run)

    more = (f"--trainer.max_steps={checkpoint + 20}", "--trainer.log_every_n_steps=10")
    fit("--ckpt_path", "last", *more, cwd=folder, WANDB_MODE=mode)
    if mode == "offline":
        first, second = sorted((run / "wandb").glob("offline-run-*"))
        sync(run, second.name)
    there = wandb_server.only_run()
    assert there.id == run.name == only_run(folder).name and there.state == "finished"
    assert_each_row_once(there, run, ended_at=checkpoint + 20)
    fit("--config", "quick.yaml", *more, "--runs", "uninterrupted", cwd=folder, WANDB_MODE="disabled")
    (uninterrupted,) = (folder / "uninterrupted").iterdir()
    assert without_forecasts(values(run)) == without_forecasts(values(uninterrupted))
    assert wandb_server.unknown == []


@pytest.mark.slow
def test_faults_in_the_middle_cost_nothing(folder, wandb_server):
    process = start("fit", "--config", "tiny.yaml", cwd=folder)
    until(lambda: wandb_server.runs)
    wandb_server.faults.drop = 4
    wandb_server.faults.fail = 4
    finish(process)
    assert wandb_server.faults == Faults()
    assert_complete(wandb_server, only_run(folder))
    assert len(media(wandb_server.only_run())) == N_FILES


@pytest.mark.slow
def test_a_server_that_takes_a_minute_to_answer_is_not_waited_for(folder, wandb_server):
    wandb_server.faults.delay = 60.0
    process = start("fit", "--config", "quick.yaml", cwd=folder)
    until(lambda: wandb_server.requests)
    begin = time.monotonic()
    until(lambda: list(folder.glob("runs/*/metrics.jsonl")))
    assert time.monotonic() - begin < 30.0
    assert "W&B: offline (" in finish(process, timeout=30.0)
    wandb_server.faults.delay = 0.0
    sync(only_run(folder))
    assert_complete(wandb_server, only_run(folder))


NOTES = """
import json
from pathlib import Path
from pytorch_lightning import Callback

class Notes(Callback):
    def on_fit_start(self, trainer, module):
        given = {key: module.hparams[key] for key in ("n_heads", "lr")}
        Path(f"rank{trainer.global_rank}-{trainer.loggers[1].version}.json").write_text(json.dumps(given))
"""


@pytest.fixture
def agent(folder, wandb_server, monkeypatch) -> Callable[..., subprocess.Popen]:
    """``agent(parameters, *options)`` makes a sweep and starts an agent on it."""
    # ${interpreter} is whatever python comes first.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.syspath_prepend(folder)
    (folder / "notes.py").write_text(NOTES)

    def start_agent(parameters: dict, *options: str) -> subprocess.Popen:
        interpreter = ["${env}", "${interpreter}", "-m", "lightning_physim"]
        command = [*interpreter, "fit", "--config", "quick.yaml", "--trainer.callbacks+=notes.Notes", *options]
        sweep = {"method": "grid", "parameters": parameters, "command": [*command, "${args}"]}
        (folder / "sweep.yaml").write_text(yaml.safe_dump(sweep))
        said = finish(start("sweep", "--project", "sweeps", "sweep.yaml", cwd=folder, module="wandb"))
        assert "wandb agent tester/sweeps/sweep0" in said
        return start("agent", "tester/sweeps/sweep0", cwd=folder, module="wandb")

    return start_agent


DDP = ("--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp")


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), DDP], ids=["one process", "two processes"])
def test_a_sweep_makes_one_run_per_trial(folder, wandb_server, agent, options):
    finish(agent({"model.n_heads": {"values": [1, 2]}, "model.lr": {"value": 0.002}}, *options), timeout=240.0)
    trials = wandb_server.sweeps["sweep0"].trials
    assert sorted(given["model.n_heads"] for given in trials.values()) == [1, 2]
    assert set(wandb_server.runs) == set(trials) == {path.name for path in (folder / "runs").iterdir()}
    for name, given in trials.items():
        run = wandb_server.runs[name]
        assert (run.sweep, run.project, run.state) == ("sweep0", "sweeps", "finished")
        assert numbers(run) == logged(folder / "runs" / name)
        notes = [json.loads(path.read_text()) for path in folder.glob(f"rank*-{name}.json")]
        assert notes == [{"n_heads": given["model.n_heads"], "lr": 0.002}] * (2 if options else 1)
        assert run.config["model.n_heads"] == given["model.n_heads"] and run.config["model.lr"] == 0.002
    assert wandb_server.unknown == []


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.name for path in SWEEPS.glob("*.yaml")))
def test_every_shipped_sweep_runs_by_the_agent(folder, wandb_server, agent, name):
    """As it stands, but for a configuration that is over in seconds."""
    config = yaml.safe_load((folder / "tiny.yaml").read_text())
    config["trainer"] |= {"max_steps": 10}
    (folder / "small.yaml").write_text(yaml.safe_dump(config))
    shipped = (SWEEPS / name).read_text()
    text = re.sub("--config, (demo|smoke),", "--config, small.yaml,", shipped)
    text = re.sub(r"--(trainer.max_steps|data.batch_size)=\d+,", "", text)  # of so small data there is no such batch
    assert text != shipped
    (folder / name).write_text(text)
    finish(start("sweep", name, cwd=folder, module="wandb"))
    finish(start("agent", "--count", "1", "tester/lightning_physim/sweep0", cwd=folder, module="wandb"), timeout=240.0)
    run, (given,) = wandb_server.only_run(), wandb_server.sweeps["sweep0"].trials.values()
    assert run.state == "finished" and set(given) == set(yaml.safe_load(shipped)["parameters"])
    assert numbers(run) == logged(folder / "runs" / run.id)
    used = yaml.safe_load((folder / "runs" / run.id / "config.yaml").read_text())
    for key, value in given.items():
        section = used
        for part in key.split("."):
            section = section[part]
        assert section == value, key


@pytest.mark.slow
def test_a_stop_from_the_server_ends_a_trial_whole(folder, wandb_server, agent):
    unvalidated = "--trainer.limit_val_batches=0"  # in the midst of a validation there is nothing to go on from
    process = agent({"model.n_heads": {"values": [2]}}, *LONG, unvalidated)
    metrics = folder / "runs" / "sweep0-trial0" / "metrics.jsonl"
    until(lambda: metrics.is_file() and any(step > 50 for step, _ in read_rows(metrics)))
    wandb_server.stop("sweep0-trial0")
    begin = time.monotonic()
    finish(process, timeout=60.0)
    assert time.monotonic() - begin < 30.0
    assert wandb_server.only_run().state == "finished"
    assert numbers(wandb_server.only_run()) == logged(metrics.parent)
    # It goes on from the step where it stopped, to the numbers of a run that nobody has stopped.
    step = checkpoint_step(last_checkpoint(RunDirectory(metrics.parent)))
    assert 0 <= step - logged(metrics.parent)[-1]["step"] < 10
    assert wandb_server.unknown == []
    more = (f"--trainer.max_steps={step + 20}", "--trainer.log_every_n_steps=10", unvalidated)
    fit("--ckpt_path", str(metrics.parent), *more, cwd=folder, WANDB_MODE="disabled")
    fit("--config", "quick.yaml", *more, "--runs", "whole", cwd=folder, WANDB_MODE="disabled")
    (whole,) = (folder / "whole").iterdir()
    # Forecasts are of the planned end, which the trial had further away.
    assert not_ahead(values(metrics.parent)) == not_ahead(values(whole))


def not_ahead(found: dict) -> dict:
    return {(step, key): value for (step, key), value in found.items() if "/forecast" not in key}


def online(folder: Path, parameters: dict, *options: str) -> subprocess.Popen:
    """``physim sweep FILE --online``."""
    command = ["${interpreter}", "-m", "lightning_physim", "fit", "--config", "quick.yaml", *options, "${args}"]
    sweep = {"method": "grid", "metric": {"name": "val/loss"}, "parameters": parameters, "command": command}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(sweep | {"project": "sweeps"}))
    return start("sweep", "sweep.yaml", "--online", "--count=2", cwd=folder)


@pytest.mark.slow
def test_one_command_makes_a_sweep_and_runs_it(folder, wandb_server):
    # The traps: null, a float for an integer, a boolean, nested parameters.
    parameters = {
        "model": {"parameters": {"n_heads": {"values": [1, 2, 4]}, "attend_self": {"value": True}}},
        "threads": {"value": None},
        "trainer.max_steps": {"value": 12.0},
    }
    said = finish(online(folder, parameters), timeout=240.0)
    (line,) = [line for line in said.splitlines() if line.startswith("sweep: ")]
    assert f"{wandb_server.url}/tester/sweeps/sweeps/sweep0 " in line and "`wandb agent tester/sweeps/sweep0`" in line
    trials = wandb_server.sweeps["sweep0"].trials
    assert len(trials) == 2 and set(wandb_server.runs) == set(trials)
    for name, given in trials.items():
        run = wandb_server.runs[name]
        assert (run.sweep, run.project, run.state) == ("sweep0", "sweeps", "finished")
        assert numbers(run) == logged(folder / "runs" / name) and max(row["step"] for row in numbers(run)) == 12
        assert run.config["model.n_heads"] == given["model"]["n_heads"] and run.config["model.attend_self"] is True
        assert run.config["threads"] is None and run.config["trainer.max_steps"] == 12
    assert wandb_server.unknown == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_an_online_sweep_and_its_trial(folder, wandb_server, number):
    process = online(folder, {"model.n_heads": {"values": [1, 2]}}, *LONG)
    metrics = folder / "runs" / "sweep0-trial0" / "metrics.jsonl"
    until(lambda: metrics.is_file() and any(step > 50 for step, _ in read_rows(metrics)))
    process.send_signal(number)  # to this process alone, as from a batch system
    said, _ = process.communicate(timeout=60.0)
    assert process.returncode == -number, said
    there = wandb_server.only_run()
    assert there.state == "finished" and numbers(there) == logged(metrics.parent)
    assert wandb_server.unknown == []


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["away", "silent", "off"])
def test_an_online_sweep_without_a_server_is_refused_in_one_line(folder, wandb_server, monkeypatch, trouble):
    if trouble == "away":
        monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    if trouble == "off":
        monkeypatch.setenv("WANDB_MODE", "offline")
    wandb_server.faults.delay = 60.0 if trouble == "silent" else 0.0
    said, _ = online(folder, {"model.n_heads": {"value": 1}}).communicate(timeout=45.0)
    (line,) = said.splitlines()
    words = "--online needs W&B; got mode offline" if trouble == "off" else "W&B did not take the sweep: "
    assert line.startswith(f"physim: {words}")
    assert not wandb_server.sweeps


@pytest.mark.slow
def test_a_dashboard_pushed_twice_is_there_once_and_whole(folder, wandb_server):
    from wandb_workspaces.reports.v2 import Report
    from wandb_workspaces.workspaces import Workspace

    fit("--config", "quick.yaml", "--trainer.max_steps=2", cwd=folder)
    push = ("dashboard", "push", "--entity", "tester", "--project", "lightning_physim")
    first, second = (finish(start(*push, cwd=folder)) for _ in range(2))
    addresses = [re.findall(r"^(?:workspace|report): (http\S+)$", said, re.M) for said in (first, second)]
    assert addresses[0] == addresses[1] and len(addresses[0]) == 2
    kinds = sorted(view["type"] for view in wandb_server.views.values())
    assert kinds == ["project-view", "runs"] and wandb_server.unknown == []
    # What W&B's own library reads back is what --dry-run --json prints, less the ids that it draws anew.
    said = finish(start(*push, "--dry-run", "--json", cwd=folder))
    for kind, loaded in (
        ("workspace", Workspace.from_url(addresses[0][0])),
        ("report", Report.from_url(addresses[0][1])),
    ):
        spec = loaded._to_model().spec.model_dump(mode="json", by_alias=True, exclude_none=True)
        printed = json.loads(said)[kind]
        if kind == "report":  # its reader passes over the width
            assert spec.pop("width") and printed.pop("width") == "fluid"
        assert without_ids(spec) == without_ids(printed)


def without_ids(spec: Any) -> Any:
    if isinstance(spec, dict):
        return {key: without_ids(value) for key, value in spec.items() if key not in ("__id__", "id")}
    return [without_ids(value) for value in spec] if isinstance(spec, list) else spec


@pytest.mark.slow
def test_a_scheduler_of_the_file_runs_beside_the_agent(folder, wandb_server):
    sweep = {
        "method": "custom", "metric": {"name": "val/loss"}, "parameters": {"model.n_heads": {"values": [1, 2]}},
        "scheduler": {"engine": "optuna"}, "project": "sweeps",
        "command": ["${interpreter}", "-m", "lightning_physim", "fit", "--config", "quick.yaml", "${args}"],
    }  # fmt: skip
    (folder / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    process = start("sweep", "sweep.yaml", "--online", "--count=2", cwd=folder)
    # The server here offers no such service: the genuine scheduler says so, and the agent does not wait for ever.
    said, _ = process.communicate(timeout=120.0)
    assert "Starting wandb agent" in said and "this W&B server does not support the local sweep scheduler" in said
    assert process.returncode == 1 and not wandb_server.runs
    assert wandb_server.unknown == []


@pytest.mark.slow
def test_the_script_of_an_array_runs_an_agent_that_passes_signals_on(folder, wandb_server, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "clusters.md").read_text()
    (script,) = [block for block in re.findall(r"^```bash\n(.*?)\n```$", page, re.M | re.S) if "SBATCH" in block]
    (folder / "agents.sh").write_text(script)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    command = ["${interpreter}", "-m", "lightning_physim", "fit", "--config", "quick.yaml", *LONG, "${args}"]
    sweep = {"method": "grid", "parameters": {"model.n_heads": {"values": [1, 2]}}, "command": command}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    finish(start("sweep", "--project", "sweeps", "sweep.yaml", cwd=folder, module="wandb"))
    task = subprocess.Popen(
        ["bash", "agents.sh"], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "SWEEP": "tester/sweeps/sweep0"}, text=True,
        start_new_session=True,
    )  # fmt: skip
    STARTED.append(task)
    metrics = folder / "runs" / "sweep0-trial0" / "metrics.jsonl"
    until(lambda: metrics.is_file() and any(step > 50 for step, _ in read_rows(metrics)))
    task.send_signal(signal.SIGTERM)  # to the script alone, as SLURM does it with B:
    said, _ = task.communicate(timeout=60.0)
    state = json.loads((metrics.parent / "state.json").read_text())
    assert state["state"] == "interrupted" and state["step"] > 50, said
    assert (metrics.parent / "checkpoints" / f"step-{state['step']:08}.ckpt").is_file()
    assert wandb_server.only_run().state == "finished" and wandb_server.unknown == []
