"""``--trainer.logger`` adds to what a run leaves, and takes nothing away."""

import csv
from pathlib import Path

import pytest
import yaml
from jsonargparse import Namespace
from pytorch_lightning.loggers import CSVLogger

from lightning_physim.cli.loggers import completed, completed_words, make_loggers
from lightning_physim.errors import InputError
from lightning_physim.loggers import log_configuration, log_row
from lightning_physim.tracking import RunDirectory
from tests.helpers.fits import only_run, physim, rows, without

CSV = "pytorch_lightning.loggers.csv_logs.CSVLogger"
QUICK = without("emergence", "snapshots", "llc", "geometry") | {"trainer": without()["trainer"] | {"max_steps": 3}}


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(QUICK))
    return tmp_path


def test_a_logger_that_needs_a_folder_gets_that_of_the_run():
    whole = {"class_path": CSV, "init_args": {"save_dir": "<run>"}}
    assert completed("CSVLogger") == completed({"class_path": CSV}) == whole
    assert completed([CSV, True]) == [whole, True]
    named = {"class_path": "CSVLogger", "init_args": {"save_dir": "here", "name": "x"}}
    assert completed(named)["init_args"] == named["init_args"]
    mlflow = completed("MLFlowLogger")["init_args"]
    assert mlflow == {"run_name": "<id>", "tracking_uri": "sqlite:///mlflow.db"}
    assert completed("TrackioLogger")["class_path"] == "lightning_physim.tracking.trackio_logger.TrackioLogger"
    for other in (None, True, False, 3, __file__):  # the last for a file of options, which the parser reads
        assert completed(other) == other


@pytest.mark.parametrize(
    "wanted, advice",
    [
        ("MlFlowLogger", "type --trainer.logger=MLFlowLogger"),
        ("torch.nn.Linear", "leave it out"),
        ("LitLogger", "leave it out"),
    ],
)
def test_a_name_that_is_no_loggers_is_refused_with_those_that_are(wanted, advice):
    told = f"^--trainer.logger takes CSVLogger, .*, TrackioLogger, WandbLogger, or the path .*; got {wanted}: {advice}"
    for value in (wanted, {"class_path": wanted}, ["CSVLogger", wanted]):
        with pytest.raises(InputError, match=told):
            completed(value)


@pytest.mark.parametrize(
    "words",
    [
        ["--trainer.logger=CSVLogger", "--trainer.logger.name=x"],
        ["--trainer.logger+=CSVLogger"],
        ["--trainer.logger", "CSVLogger", "--model.lr=1"],
        ['--trainer.logger={"class_path": "CSVLogger"}'],
    ],
)
def test_words_are_completed_where_they_name_a_logger(words):
    done = [*completed_words(words)]
    assert yaml.safe_load(done[0].split("=", 2)[-1])["init_args"] == {"save_dir": "<run>"}
    assert done[1:] == [word for word in words[1:] if word != "CSVLogger"]


def test_other_words_stay_as_they_are():
    words = ["--trainer.logger=false", "--trainer.loggers=CSVLogger", "--model.lr=1e-3", "--trainer.logger"]
    assert [*completed_words(words)] == words


def test_the_run_and_its_name_are_put_in_where_a_logger_asks_for_them(tmp_path):
    run = RunDirectory(tmp_path / "abc")
    wanted = Namespace(class_path=CSV, init_args=Namespace(save_dir="<run>/csv", name="of <id>"))
    (logger,) = make_loggers(wanted, run)
    assert isinstance(logger, CSVLogger) and logger.root_dir == str(run.path / "csv" / "of abc")
    assert make_loggers([wanted, wanted], run)[1] is not logger
    assert make_loggers(None, run) == make_loggers(False, run) == make_loggers(True, run) == []
    bad = Namespace(class_path="pytorch_lightning.loggers.CometLogger", init_args=Namespace())
    told = (
        "^--trainer.logger=CometLogger needs the package comet-ml; it is not installed: type `pip install comet-ml`, or"
    )
    with pytest.raises(InputError, match=told):
        make_loggers(bad, run)
    bad = Namespace(class_path="pytorch_lightning.loggers.LitLogger", init_args=Namespace())
    with pytest.raises(InputError, match="needs the package litlogger; .* `pip install litlogger`"):
        make_loggers(bad, run)
    bad = Namespace(class_path=CSV, init_args=Namespace(save_dir="x", what=1))
    with pytest.raises(InputError, match="^--trainer.logger=CSVLogger cannot be used: .*'what'; or leave it out$"):
        make_loggers(bad, run)


def test_a_logger_adds_and_false_leaves_the_log_and_the_report(folder, caplog):
    done = physim("fit", "--config=tiny.yaml", "--wandb=false", "--trainer.logger=CSVLogger", cwd=folder)
    run = only_run(folder)
    assert {"metrics.jsonl", "report.html", "figures", "lightning_logs"} <= {path.name for path in run.iterdir()}
    assert not (run / "wandb").exists() and "W&B" not in done.stderr + done.stdout
    table = (run / "lightning_logs" / "version_0" / "metrics.csv").read_text().splitlines()
    logged = {key for row in rows(run) for key in row} - {"time"}
    assert set(table[0].split(",")) == logged
    assert f"CSVLogger takes numbers alone; figures and tables are in runs/{run.name}/report.html" in caplog.messages
    assert "<run>" in (run / "config.yaml").read_text()  # another run with this configuration keeps to its own folder

    again = folder / "again"
    again.mkdir()
    (again / "tiny.yaml").write_text((folder / "tiny.yaml").read_text())
    physim("fit", "--config=tiny.yaml", "--trainer.logger=false", cwd=again)
    quiet = only_run(again)
    left = {path.name for path in quiet.iterdir()} - {".lock"}
    assert left == {
        "checkpoints",
        "config.yaml",
        "figures",
        "metrics.jsonl",
        "provenance.json",
        "report.html",
        "state.json",
    }
    numbers = [
        [{k: v for k, v in row.items() if not k.startswith("time")} for row in rows(each)] for each in (run, quiet)
    ]
    assert numbers[0] == numbers[1]


def test_a_logger_whose_package_is_missing_is_refused_in_one_line_and_leaves_nothing(folder):
    done = physim("fit", "--config=tiny.yaml", "--trainer.logger=CometLogger", cwd=folder, code=2)
    assert (
        done.stderr.strip().splitlines()[-1].startswith("physim: --trainer.logger=CometLogger needs the package comet")
    )
    assert not list(folder.glob("runs/*"))


def test_a_test_goes_to_the_loggers_that_are_asked_for_and_a_prediction_to_none(folder):
    physim("fit", "--config=tiny.yaml", "--trainer.logger=false", cwd=folder)
    run = only_run(folder)
    for command in ("test", "predict"):
        physim(command, "--config=tiny.yaml", "--ckpt_path=last", "--trainer.logger=CSVLogger", cwd=folder)
    (table,) = (run / "lightning_logs").glob("version_*/metrics.csv")
    with table.open() as file:
        (row,) = csv.DictReader(file)
    assert float(row.pop("step")) == 3  # that of the checkpoint
    expected = {key: value for key, value in rows(run)[-1].items() if key not in ("step", "time")}
    assert {key: float(value) for key, value in row.items()} == pytest.approx(expected)


def test_what_is_measured_later_stands_beside_what_training_has_left(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = RunDirectory(tmp_path / "abc")
    board = "pytorch_lightning.loggers.TensorBoardLogger"
    options = Namespace(save_dir="<run>", version=None)
    wanted = [Namespace(class_path=path, init_args=options) for path in (CSV, board)]
    log = [({"train/loss": 1.0}, 1), ({"train/loss": 0.5}, 2), ({"test/loss": 0.4}, 2), ({"test/loss": 0.4}, 2)]
    for i, (row, step) in enumerate(log):
        if i != 1:  # a training; then two evaluations, each by a command of its own
            loggers = make_loggers(wanted, run, trained=i > 1)
        if i == 0:
            log_configuration(loggers, {"lr": 0.1})
        log_row(loggers, row, step)
        for logger in loggers if i else ():
            logger.finalize("success")
    csvs, boards = run.path / "lightning_logs" / "version_0", run.path / "lightning_logs" / "version_1"
    assert {path.name for path in csvs.parent.iterdir()} == {"version_0", "version_1"}
    with (csvs / "metrics.csv").open() as file:
        kept = [(row["step"], row["train/loss"], row["test/loss"]) for row in csv.DictReader(file)]
    assert kept == [("1", "1.0", ""), ("2", "0.5", ""), ("2", "", "0.4"), ("2", "", "0.4")]
    assert {path.name for path in csvs.iterdir()} == {"metrics.csv", "hparams.yaml"}
    assert yaml.safe_load((csvs / "hparams.yaml").read_text()) == {"lr": 0.1}
    shown = EventAccumulator(str(boards)).Reload()
    assert [(event.step, event.value) for event in shown.Scalars("train/loss")] == [(1, 1.0), (2, 0.5)]
    assert [event.step for event in shown.Scalars("test/loss")] == [2, 2]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The ``noload`` loader")  # of MLflow, by SQLAlchemy
def test_a_test_goes_into_the_run_that_mlflow_has_of_the_training(folder):
    from mlflow import MlflowClient

    (folder / "tiny.yaml").write_text(
        yaml.safe_dump(QUICK | {"trainer": QUICK["trainer"] | {"logger": "MLFlowLogger"}})
    )
    physim("fit", "--config=tiny.yaml", "--wandb=false", cwd=folder)
    for command in ("test", "predict"):
        physim(command, "--ckpt_path=last", cwd=folder)
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    (kept,) = client.search_runs([client.get_experiment_by_name("lightning_logs").experiment_id])
    last = rows(only_run(folder))[-1]
    assert kept.info.run_name == only_run(folder).name and kept.info.status == "FINISHED"
    assert kept.data.metrics["test/rollout_mse_4"] == pytest.approx(last["test/rollout_mse@4"])
    assert {"val/loss", "test/loss"} <= kept.data.metrics.keys()
