"""The W&B logger with the genuine client: offline, without a server, without a key, and killed."""

import importlib.machinery
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from glob import glob
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pytorch_lightning.utilities import rank_zero_only

from lightning_physim.errors import Interrupted
from lightning_physim.tracking import PhysimWandbLogger, RunDirectory, new_loggers
from lightning_physim.tracking import wandb_logger as wandb_module
from tests.helpers.offline import read_back, rows


def test_offline_without_a_key(tmp_path, no_key, capfd, caplog):
    run = RunDirectory(tmp_path / "runs" / "20260101-000000-demo-abcd")
    run.path.mkdir(parents=True)
    for first in (0, 3):  # the second one resumes
        logger = PhysimWandbLogger(run)
        logger.log_hyperparams({"model": {"n_heads": 4, "block": {"norm": "pre"}}, "seed": 1})
        logger.log_hyperparams({"n_heads": 4})
        for step in range(first, first + 3):
            logger.log_metrics({"train/loss": torch.tensor(0.5), "a": np.float32(2.0), "b": True}, step)
        logger.finalize("success")
        logger.finish()
    records = read_back(run)
    logged = rows(records)
    assert [row["trainer/global_step"] for row in logged] == list(range(6))
    assert all(row["train/loss"] == 0.5 and row["a"] == 2 and row["b"] == 1 for row in logged)
    assert {record["run"]["run_id"] for record in records if "run" in record} == {run.id}
    axes = {
        record["metric"].get("glob_name"): record["metric"].get("step_metric")
        for record in records
        if "metric" in record
    }
    assert axes["*"] == "trainer/global_step"
    config = [key for record in records if "config" in record for key in record["config"].get("update", {})]
    assert {"model.n_heads", "model.block.norm", "seed"} <= set(config)
    assert not {"model", "n_heads"} & set(config)
    assert not (tmp_path / "wandb").exists()
    assert logger.seconds > 0.0
    assert "W&B: offline (no API key is configured); read with `wandb leet" in caplog.text
    assert caplog.text.count("W&B: ") == 2
    assert "wandb:" not in "".join(capfd.readouterr())


def test_pandas_is_imported_before_a_thread_could_while_training_draws(tmp_path, no_key, monkeypatch):
    class Stub:
        @staticmethod
        def find_spec(name, path=None, target=None):
            return importlib.machinery.ModuleSpec(name, Stub) if name == "pandas" else None

        create_module = exec_module = staticmethod(lambda of: None)

    monkeypatch.setattr(sys, "meta_path", [Stub, *sys.meta_path])
    monkeypatch.setitem(sys.modules, "pandas", None)
    del sys.modules["pandas"]
    logger = PhysimWandbLogger(RunDirectory(tmp_path / "runs" / "a"))
    assert logger.experiment.offline and "pandas" in sys.modules
    logger.finish()


def test_figures(tmp_path, no_key, caplog):
    from plotly.graph_objects import Figure

    run = RunDirectory(tmp_path / "r")
    run.path.mkdir()
    logger = PhysimWandbLogger(run)
    logger.log_figure("probe/attention_distance", Figure().add_scatter(x=[1, 2], y=[3, 4]), step=12)
    logger.finish()
    (row,) = rows(read_back(run))
    assert row["trainer/global_step"] == 12
    (media,) = (run.path / "wandb").glob("offline-run-*/files/media/plotly/**/*.json")
    assert json.loads(media.read_text())["data"][0]["y"] == [3, 4]
    # What the line about the run says to type.
    files, fragments = re.search(r"`wandb leet (.+)`, upload with `wandb sync (.+)`", caplog.text).groups()
    assert Path(fragments).parent == Path(files) and len(glob(fragments)) == 1
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json", files]
    shown = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert (shown["run_id"], shown["summary"]["trainer/global_step"]) == (run.id, 12)


def test_what_goes_wrong_in_wandb_costs_one_line_and_the_run_ends_whole(tmp_path, no_key, caplog):
    run = RunDirectory(tmp_path / "r")
    run.path.mkdir()
    logger = PhysimWandbLogger(run)
    logger.log_metrics({"a": 1.0}, step=1)
    logger.log_metrics({"a": lambda: 1 / 0}, step=2)
    logger.log_metrics({"a": lambda: [][0]}, step=2)
    logger.log_metrics({"a": 3.0}, step=3)
    logger.finish()
    lines = [message for message in caplog.messages if "goes without" in message]
    assert lines == ["W&B goes without some rows, training goes on: ZeroDivisionError: division by zero"]
    records = read_back(run)
    assert [row["a"] for row in rows(records)] == [1, 3]
    assert any("exit" in record for record in records)


@pytest.mark.parametrize("answer", ["refuses", "is silent"])
def test_a_server_that_does_not_answer_is_given_up(tmp_path, no_key, monkeypatch, caplog, answer):
    monkeypatch.setattr(wandb_module, "INIT_TIMEOUT", 1.0)
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        if answer == "is silent":
            server.listen()
        run = RunDirectory(tmp_path / "r")
        run.path.mkdir()
        logger = PhysimWandbLogger(run)
        begin = time.monotonic()
        logger.log_metrics({"a": 1.0}, step=1)
        assert time.monotonic() - begin < 10.0
        logger.finish()
    assert [row["a"] for row in rows(read_back(run))] == [1]
    assert "W&B: offline (" in caplog.text and "no API key" not in caplog.text


def test_a_key_in_netrc_is_found(no_key, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(wandb_module, "INIT_TIMEOUT", 1.0)
    (no_key / ".netrc").write_text(f"machine 127.0.0.1:9 login user password {'b' * 40}\n")
    (no_key / ".netrc").chmod(0o600)
    logger = PhysimWandbLogger(RunDirectory(tmp_path))
    logger.log_metrics({"a": 1.0}, step=1)
    logger.finish()
    assert "W&B: offline (" in caplog.text and "no API key" not in caplog.text


def test_disabled_leaves_nothing(tmp_path, no_key, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    run = RunDirectory(tmp_path / "r")
    run.path.mkdir()
    logger = PhysimWandbLogger(run)
    logger.log_metrics({"a": 1.0}, step=1)
    logger.finish()
    assert not list(run.path.iterdir())


def test_ranks_above_zero_start_no_run(tmp_path, no_key, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    logger = PhysimWandbLogger(RunDirectory(tmp_path / "r"))
    logger.log_metrics({"a": 1.0}, step=1)
    logger.log_hyperparams({"a": 1})
    assert logger._experiment is None and not (tmp_path / "r").exists()


def test_the_loggers_of_a_run(tmp_path):
    run = RunDirectory(tmp_path)
    rows, online = new_loggers(run, resume_from="checkpoints/step-00000120.ckpt")
    assert rows.path == run.metrics and rows.resume_step == 120 and isinstance(online, PhysimWandbLogger)
    assert online._resume_step == 120 and online._artifacts == frozenset()
    rows, online = new_loggers(run, artifacts=["data"])
    assert rows.resume_step is None is online._resume_step and online._artifacts == {"data"}


KILLED = """
import sys, time
from pathlib import Path
from lightning_physim.tracking import RunDirectory, new_loggers

loggers = new_loggers(RunDirectory(Path(sys.argv[1])))
step = 0
while True:
    for logger in loggers:
        logger.log_metrics({"logged_at": time.time()}, step)
    if step == 0:
        print("logging", flush=True)
    step += 1
    time.sleep(0.1)
"""


@pytest.mark.slow
def test_a_killed_process_loses_no_row_older_than_three_seconds(tmp_path, no_key):
    run = RunDirectory(tmp_path / "r")
    run.path.mkdir()
    # A terminal on stdin: this is where a prompt for a key would wait for an answer that never comes.
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(run.path)],
        stdin=theirs,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        assert process.stdout.readline() == b"logging\n"
        time.sleep(4.0)
    finally:
        killed_at = time.time()
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        os.close(ours)
        os.close(theirs)
    in_wandb = [row["logged_at"] for row in rows(read_back(run))]
    in_jsonl = [json.loads(line)["logged_at"] for line in run.metrics.read_text().splitlines()]
    assert killed_at - in_jsonl[-1] < 0.5
    assert killed_at - in_wandb[-1] < 3.0
    assert in_wandb == pytest.approx(in_jsonl[: len(in_wandb)])


@pytest.mark.parametrize("sweep, code", [(False, 255), (True, 0)])
def test_what_a_signal_ends_is_interrupted_for_wandb_and_fine_for_a_sweep(tmp_path, no_key, monkeypatch, sweep, code):
    ended = []
    logger = PhysimWandbLogger(RunDirectory(tmp_path))
    logger._experiment = SimpleNamespace(finish=lambda exit_code: ended.append(exit_code))
    if sweep:
        monkeypatch.setenv("WANDB_SWEEP_ID", "sweep0")
    try:
        raise Interrupted(15)
    except Interrupted:
        logger.finalize("failed")
    logger.finish()
    assert ended == [code]


def test_a_run_that_is_ended_by_hand_has_succeeded_and_ends_once(tmp_path, no_key, caplog):
    ended = []
    logger = PhysimWandbLogger(RunDirectory(tmp_path))
    logger.finish()  # nothing has begun
    assert caplog.text == "" and logger.shows_report
    logger._experiment = SimpleNamespace(finish=lambda exit_code: ended.append(exit_code))
    logger.finish()
    logger.finish()
    assert ended == [0]
    logger._experiment = SimpleNamespace(finish=lambda exit_code: ended.append(exit_code))
    logger.finalize("failed")
    logger.finish()
    assert ended == [0, 1]


def test_an_end_that_takes_too_long_says_how_to_send_the_rest(tmp_path, no_key, caplog):
    def hangs(exit_code):
        raise TimeoutError

    logger = PhysimWandbLogger(RunDirectory(tmp_path))
    logger._experiment = SimpleNamespace(finish=hangs)
    logger.finish()
    assert f"upload unfinished; `wandb sync --no-skip-online {tmp_path}/wandb/run-*`" in caplog.text


def test_seconds_are_those_that_training_has_waited_for_and_those_beside_it(tmp_path, no_key):
    logger = PhysimWandbLogger(RunDirectory(tmp_path))
    logger._stopwatch.seconds, logger._background.seconds = 1.5, 0.25
    assert logger.seconds == 1.75


def test_an_error_is_told_in_one_line_of_150_characters():
    assert wandb_module._one_line(ValueError("two\n  lines")) == "ValueError: two lines"
    assert wandb_module._one_line(OSError("x" * 151)) == "OSError: " + "x" * 150
