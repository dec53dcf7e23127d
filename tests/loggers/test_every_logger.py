"""The table of docs/loggers.md: what each logger keeps of a training, with the genuine packages."""

import json
import re
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from lightning_physim.tracking.wandb_file import rows_in_files
from tests.helpers.fits import TINY, only_run, physim_process, rows

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader"),  # of MLflow, by SQLAlchemy
]
DOCS = Path(__file__).parents[2] / "docs" / "loggers.md"
NUMBER, TABLE, FIGURE, REPORT = "rollout/mse@4", "report/heads", "report/loss", "report"
VIEWER, MAP, ROLLOUT = "report/viewer", "report/attention_map", "report/rollout_animation"
COLUMNS = ("logger", "numbers", "tables", "figures", "viewer", "attention maps, rollouts", "report")
FORMS = {
    "ours (wandb)": ("yes", "tables", "interactive", "HTML", "in the viewer", "artifact"),
    "`WandbLogger` (wandb)": ("yes", "tables", "interactive", "–", "interactive", "artifact"),
    "`MLFlowLogger` (mlflow)": ("yes", "tables", "interactive", "HTML", "in the viewer", "artifact"),
    "`TrackioLogger` (trackio)": ("yes", "tables", "interactive", "HTML", "in the viewer", "HTML"),
    "`TensorBoardLogger` (tensorboard)": ("yes", "text", "pictures", "–", "pictures", "–"),
    "`CSVLogger`": ("yes", "–", "–", "–", "–", "–"),
}
"""What a logger is said to keep. Each word is checked below against what was found."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("loggers")
    config = TINY | {"llc": False, "geometry": False, "emergence": False}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(config))
    every = ["TensorBoardLogger", "CSVLogger", "MLFlowLogger", "TrackioLogger"]
    adds = [f"--trainer.logger+={name}" for name in every]
    home = {"TRACKIO_DIR": str(folder / "trackio")}
    done = physim_process("fit", "--config=tiny.yaml", *adds, cwd=folder, env=home)
    assert "goes without" not in done.stderr + done.stdout
    other = folder / "other"
    other.mkdir()
    wandb = ["--trainer.logger=WandbLogger", "--trainer.logger.offline=true"]
    done = physim_process("fit", "--config=../tiny.yaml", *wandb, cwd=other)
    assert "goes without" not in done.stderr + done.stdout
    return folder


def kept(numbers: Iterable[str], media: Iterable[str], report: bool) -> dict[str, bool]:
    media = {*media}
    found = {name: name in media for name in (TABLE, FIGURE, VIEWER)}
    assert (MAP in media) == (ROLLOUT in media) and not (MAP in media and VIEWER in media)
    found[MAP] = VIEWER in media or MAP in media
    return {NUMBER: bool({NUMBER, NUMBER.replace("@", "_")} & {*numbers}), **found, REPORT: report}


def of_wandb(run: Path) -> dict[str, bool]:
    logged = {key: value for row in rows_in_files(run / "wandb") for key, value in row.items()}
    types = {key.removesuffix("/_type"): value for key, value in logged.items() if key.endswith("/_type")}
    assert types[FIGURE] == "plotly-file" and types[TABLE] == "table-file"
    assert types.get(VIEWER, "html-file") == "html-file"
    (file,) = (run / "wandb").glob("offline-run-*/run-*.wandb")
    return kept(logged, types, b"report-" in file.read_bytes())


def of_tensorboard(run: Path) -> dict[str, bool]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (file,) = run.glob("lightning_logs/*/events.out.tfevents.*")
    events = EventAccumulator(str(file))
    events.Reload()
    tags = events.Tags()
    return kept(
        tags["scalars"], [*tags["images"], *(tag.removesuffix("/text_summary") for tag in tags["tensors"])], False
    )


def of_mlflow(folder: Path) -> dict[str, bool]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("lightning_logs").experiment_id])
    assert run.info.run_name == only_run(folder).name
    artifacts = [file.path for file in client.list_artifacts(run.info.run_id)]
    media = [file.path for file in client.list_artifacts(run.info.run_id, "report")]
    # One for each time that the report was written.
    assert len(client.list_artifacts(run.info.run_id, FIGURE)) == 2
    return kept(run.data.metrics, media, "report.html" in artifacts)


def of_trackio(folder: Path) -> dict[str, bool]:
    (file,) = (folder / "trackio").glob("*.db")
    with sqlite3.connect(file) as database:
        logged = [json.loads(row) for (row,) in database.execute("select metrics from metrics")]
    numbers = {key for row in logged for key, value in row.items() if isinstance(value, (int, float))}
    media = {key for row in logged for key, value in row.items() if isinstance(value, dict)}
    return kept(numbers, media, REPORT in media)


def of_csv(run: Path) -> dict[str, bool]:
    (file,) = run.glob("lightning_logs/*/metrics.csv")
    header = file.read_text().splitlines()[0].split(",")
    assert {*header} == {key for row in rows(run) for key in row} - {"time"}
    return kept(header, [], False)


def test_the_table_says_what_each_logger_has_kept(folder):
    run, other = only_run(folder), only_run(folder / "other")
    assert len([*(other / "wandb").glob("offline-run-*")]) == 1  # one run, not ours beside it
    found = dict(
        zip(
            FORMS,
            [of_wandb(run), of_wandb(other), of_mlflow(folder), of_trackio(folder), of_tensorboard(run), of_csv(run)],
            strict=True,
        )
    )
    table = [COLUMNS, ("---",) * len(COLUMNS)]
    for name, forms in FORMS.items():
        assert [form != "–" for form in forms] == [*found[name].values()], name
        table.append((name, *forms))
    text = "\n".join(f"| {' | '.join(row)} |" for row in table)
    shown = re.search(r"<!-- made by .*? -->\n(.*?)\n\n", DOCS.read_text(), re.S)
    assert shown and shown[1] == text, text
