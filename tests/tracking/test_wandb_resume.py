"""What a resumed run sends to W&B, and what is uploaded whole: the genuine client, offline."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import wandb

from lightning_physim.tracking import JsonlLogger, PhysimWandbLogger, RunDirectory
from lightning_physim.tracking.wandb_artifacts import artifact_name, data_hash
from lightning_physim.tracking.wandb_logger import _plain, _same, wandb_id
from lightning_physim.tracking.wandb_service import end_service
from tests.helpers.offline import read_back, rows


@pytest.fixture
def run(tmp_path, no_key) -> RunDirectory:
    (tmp_path / "r").mkdir()
    return RunDirectory(tmp_path / "r")


def log(run: RunDirectory, *logged: tuple[int, dict], resume_step: int | None = None, jsonl: bool = False) -> None:
    logger = PhysimWandbLogger(run, resume_step)
    for step, row in logged:
        logger.log_metrics(row, step)
        if jsonl:
            JsonlLogger(run.metrics).log_metrics(row, step)
    logger.finalize("success")
    logger.finish()
    end_service()  # as a process does that ends


def test_what_wandb_lacks_is_sent_and_what_it_has_is_not_sent_again(run):
    log(run, (1, {"a": 1.0}), (2, {"a": 2.0}))
    disk = JsonlLogger(run.metrics)
    for step, row in ((1, {"a": 1.0}), (2, {"a": 2.0}), (2, {"b": 5.0}), (3, {"a": 3.0}), (4, {"a": 4.0})):
        disk.log_metrics(row, step)
    # Killed, and resumed from step 3: row 4 comes again by training. The time of a row plays no part.
    log(run, (4, {"a": 4.0, "time/train": 8.0}), resume_step=3)
    sent = [(row["trainer/global_step"], row.get("a"), row.get("b")) for row in rows(read_back(run))]
    assert sent == [(1, 1, None), (2, 2, None), (2, None, 5), (3, 3, None), (4, 4, None)]
    assert not any("time" in row for row in rows(read_back(run)))
    # A third process trains steps 3 and 4 once more, with the same numbers and other times.
    log(run, (3, {"a": 3.0}), (4, {"a": 4.0, "time/train": 9.0}), (4, {"a": 5.0}), (5, {"a": 5.0}), resume_step=2)
    again = [(row["trainer/global_step"], row["a"]) for row in rows(read_back(run))[5:]]
    assert again == [(4, 5), (5, 5)]


def test_a_row_whose_numbers_have_not_changed_since_an_earlier_step_is_sent(run):
    log(run, (1, {"n": 0.0}), (1, {"a": 1.0}), (2, {"a": 2.0}))
    disk = JsonlLogger(run.metrics)
    for step, row in ((1, {"n": 0.0}), (1, {"a": 1.0}), (2, {"a": 2.0}), (2, {"n": 0.0}), (2, {"time/train": 1.0})):
        disk.log_metrics(row, step)
    log(run, (3, {"n": 0.0}), resume_step=2)
    sent = [(row["trainer/global_step"], row.get("n"), row.get("time/train")) for row in rows(read_back(run))[3:]]
    assert sent == [(2, 0, None), (2, None, 1), (3, 0, None)]


def test_files_tell_rows_apart_where_they_have_what_the_server_has(run):
    log(run, (1, {"n": 0.0}), (2, {"a": 2.0}), (2, {"n": 0.0}), (3, {"b": 3.0}))
    there = PhysimWandbLogger(run)._rows_there
    summary = {"trainer/global_step": 2, "n": 0.0, "a": 2.0}
    for step, n_rows in ((1, 1), (2, 2)):
        found = there(summary | {"_step": step})
        assert ["n" in row for row in found] == [False, True][:n_rows]
        assert all(row["trainer/global_step"] == 2 for row in found)
    ahead = summary | {"_step": 4}  # of the files of this machine
    assert there(ahead) == [ahead] and there({}) == []


def test_a_new_run_asks_for_nothing_that_is_there(run):
    JsonlLogger(run.metrics).log_metrics({"a": 1.0}, 1)
    log(run, (1, {"a": 1.0}))
    assert [row["a"] for row in rows(read_back(run))] == [1]


@pytest.mark.parametrize("of", ["abc123", "$HOME", "x[/y]", "a b", "\N{SNOWMAN}", "n" * 200, ".", "-"])
@pytest.mark.parametrize("kind", ["report", "checkpoint", "models"])
def test_any_run_has_a_name_that_an_artifact_may_have(kind, of):
    name = artifact_name(kind, of)
    assert wandb.Artifact(name, "report").name == name and name.startswith(f"{kind}-")
    assert name.endswith("abc123") or of != "abc123"


@pytest.mark.parametrize(
    "shown, value, same",
    [(1, 1.0, True), ("NaN", float("nan"), True), ("Infinity", float("inf"), True), (1.5, 1.25, False),
     (None, 1.0, False), ({"a": 1}, 1.0, False), (1.0, lambda: 1.0, False)],
)  # fmt: skip
def test_a_number_is_the_same_however_the_server_spells_it(shown, value, same):
    assert _same(shown, value) == same


def test_what_is_no_number_of_pythons_becomes_one_and_media_stay():
    for value in (True, 1, torch.tensor(1.0), np.float32(1.0), np.int64(1), np.bool_(True)):
        assert _plain(value) == 1.0 and type(_plain(value)) is float
    media = object()
    assert _plain(media) is media and _plain("text") == "text" and _plain(0.5) == 0.5


def test_an_id_is_what_wandb_takes(tmp_path):
    assert wandb_id(RunDirectory(tmp_path / "a:b;c,d#e?f'g")) == "a-b-c-d-e-f-g"
    assert wandb_id(RunDirectory(tmp_path / ("x" + "y" * 128))) == "y" * 128


class FakeRun:
    """Keeps what would be uploaded."""

    id, disabled = "r", False

    def __init__(self) -> None:
        self.made: list[SimpleNamespace] = []

    def log_artifact(self, artifact, aliases) -> None:
        self._log_artifact(artifact, aliases)

    def _log_artifact(self, artifact, aliases, **how) -> None:
        names = sorted(artifact.manifest.entries)
        made = {"name": artifact.name, "kind": artifact.type, "metadata": dict(artifact.metadata), "files": names}
        self.made.append(SimpleNamespace(**made, aliases=aliases, how=how))


@pytest.mark.parametrize("whole", [(), ("checkpoints", "data")])
def test_artifacts_are_uploaded_whole_where_that_is_asked_for(run, tmp_path, whole):
    logger = PhysimWandbLogger(run, artifacts=whole)
    logger._experiment = there = FakeRun()
    split = tmp_path / "train-abc"
    split.mkdir()
    for name in ("metadata.json", "states.npy"):
        (split / name).write_text(name)
    checkpoint, report = tmp_path / "step-00000003.ckpt", tmp_path / "report.html"
    checkpoint.write_text("weights")
    report.write_text("<html>")
    logger.log_data({"train": split})
    logger.log_checkpoint(checkpoint, 3)
    logger.log_report(report, 4)
    data, *others = there.made
    digest = data_hash({"train": split})
    assert (data.name.split(":")[0], data.kind, data.metadata) == (f"data-{digest}", "dataset", {"train": "train-abc"})
    assert data.files == ["train/metadata.json", *(["train/states.npy"] if whole else [])]
    assert data.how == {"is_user_created": True, "use_after_commit": True}
    lineage = {"run": "r", "data": digest}
    expected = [("checkpoint-r", "model", {"step": 3} | lineage, ["step-3"])] if whole else []
    expected.append(("report-r", "report", {"step": 4} | lineage, []))
    found = [(made.name.split(":")[0], made.kind, made.metadata, made.aliases) for made in others]
    assert found == expected


def test_the_hash_of_the_data_is_that_of_the_names_of_all_splits():
    splits = {"val": Path("data/val-1"), "train": Path("data/train-2")}
    assert data_hash(splits) == data_hash(dict(reversed(splits.items()))) and len(data_hash(splits)) == 12
    assert data_hash(splits | {"val": Path("data/val-2")}) != data_hash(splits)


@pytest.mark.parametrize("disabled", [False, True])
def test_an_upload_that_fails_costs_a_line_where_something_was_wanted(run, tmp_path, caplog, disabled):
    logger = PhysimWandbLogger(run)
    logger._experiment = FakeRun()
    logger._experiment.disabled = disabled
    logger.log_report(tmp_path / "missing.html", 3)
    assert ("W&B goes without missing.html: ValueError" in caplog.text) == (not disabled)


def test_rows_that_are_lost_again_and_again_cost_one_line(run, tmp_path, caplog):
    logger = PhysimWandbLogger(run)
    logger._experiment = FakeRun()
    report = tmp_path / "report.html"
    report.write_text("<html>")
    for step in (1, 2):
        logger.log_metrics({"a": lambda: 1 / 0}, step)
        logger.log_report(report, step)  # rows that are older come first
    assert [message for message in caplog.messages if "goes without" in message] == [
        "W&B goes without some rows, training goes on: ZeroDivisionError: division by zero"
    ]
    assert len(logger._experiment.made) == 2
