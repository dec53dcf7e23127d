"""The run directory and metrics.jsonl."""

import json
import os
import re
import resource

import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.demos.boring_classes import BoringModel
from pytorch_lightning.utilities import rank_zero_only

from lightning_physim.errors import InputError
from lightning_physim.tracking import (
    JsonlLogger,
    RunDirectory,
    arrays_folder,
    checkpoint_step,
    find_run,
    last_checkpoint,
    new_run,
    read_arrays,
    read_metrics,
    table_path,
)
from lightning_physim.tracking.jsonl import _trim


@pytest.fixture(autouse=True)
def no_inherited_id(monkeypatch):
    for name in ("WANDB_RUN_ID", "PHYSIM_RUN_ID"):
        monkeypatch.setenv(name, "")  # so that monkeypatch puts back what new_run exports
        monkeypatch.delenv(name)


def save_checkpoint(path, step):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"global_step": step, "weights": torch.arange(1000.0)}, path)
    return path


def strict_rows(path):
    def refuse(token):
        raise AssertionError(f"{token} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


def test_ids_are_unique_sortable_and_legal_for_wandb(tmp_path, monkeypatch):
    runs = [new_run(tmp_path, name="My demo/é") for _ in range(20)]
    assert len({run.id for run in runs}) == 20
    for run in runs:
        assert run.path.is_dir()
        assert re.fullmatch(r"\d{8}-\d{6}-my-demo-[a-z0-9]{4}", run.id)
    assert runs[0].metrics == tmp_path / runs[0].id / "metrics.jsonl"
    assert re.fullmatch(r"\d{8}-\d{6}-[a-z0-9]{4}", new_run(tmp_path).id)


def test_an_agents_id_is_taken_once(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", "x1y2")
    assert new_run(tmp_path).path == tmp_path / "x1y2"
    with pytest.raises(InputError, match=r"x1y2 exists; resume it with --ckpt_path .*x1y2, or unset WANDB_RUN_ID"):
        new_run(tmp_path)


def test_only_rank_zero_touches_the_disk(tmp_path, monkeypatch):
    run = new_run(tmp_path / "runs", "demo")
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    assert new_run(tmp_path / "runs", "demo") == run  # launched by rank zero
    monkeypatch.delenv("PHYSIM_RUN_ID")
    elsewhere = new_run(tmp_path / "elsewhere", "demo")
    logger = JsonlLogger(elsewhere.metrics)
    logger.log_metrics({"train/loss": 1.0}, step=1)
    logger.finalize("success")
    assert not (tmp_path / "elsewhere").exists()


def test_last_checkpoint_goes_by_step_and_passes_over_torn_files(tmp_path):
    run = RunDirectory(tmp_path)
    with pytest.raises(InputError, match="needs a checkpoint, found none"):
        last_checkpoint(run)
    early = save_checkpoint(run.checkpoints / "step-00000900.ckpt", 900)
    late = save_checkpoint(run.checkpoints / "epoch=3-step=1000.ckpt", 1000)
    save_checkpoint(run.checkpoints / "step-00000100.ckpt", 100)
    save_checkpoint(run.checkpoints / "last.ckpt", 100)
    assert last_checkpoint(run) == late
    whole = late.read_bytes()
    for n_bytes in (0, 10, len(whole) // 2, len(whole) - 1):
        late.write_bytes(whole[:n_bytes])
        assert last_checkpoint(run) == early
    holed = bytearray(whole)
    middle = whole.index(torch.arange(1000.0).numpy().tobytes()) + 400
    holed[middle : middle + 512] = bytes(512)  # a power failure leaves the right size and zeros
    late.write_bytes(holed)
    assert last_checkpoint(run) == early
    removed = run.checkpoints / "step-00002000.ckpt"
    removed.symlink_to("nowhere")  # listed, and no longer there: a training removes checkpoints
    assert last_checkpoint(run) == early
    removed.unlink()
    for path in run.checkpoints.glob("*.ckpt"):
        path.write_bytes(b"PK")
    with pytest.raises(InputError, match="only unreadable epoch=3-step=1000.ckpt, step-00000900.ckpt"):
        last_checkpoint(run)


def test_find_run(tmp_path):
    with pytest.raises(InputError, match="'last' needs a run with a checkpoint"):
        find_run(tmp_path, "last")
    older, newer, empty = (new_run(tmp_path, name) for name in ("older", "newer", "empty"))
    save_checkpoint(newer.checkpoints / "step-00000010.ckpt", 10)
    checkpoint = save_checkpoint(older.checkpoints / "step-00000020.ckpt", 20)  # resumed after `newer` was started
    (newer.checkpoints / "step-00000009.ckpt").symlink_to("nowhere")  # which its training has removed meanwhile
    assert find_run(tmp_path, "last") == older
    checkpoint.write_bytes(checkpoint.read_bytes()[:-30])
    assert find_run(tmp_path, "last") == newer
    assert find_run(tmp_path, newer.id) == newer
    assert find_run("elsewhere", newer.path) == newer
    with pytest.raises(InputError, match="a run is a directory with config.yaml"):
        find_run(tmp_path, empty.id)
    with pytest.raises(InputError, match="got 'nothing'"):
        find_run(tmp_path, "nothing")


def test_rows_are_strict_json_on_disk_at_once(tmp_path):
    logger = JsonlLogger(tmp_path / "run" / "metrics.jsonl")
    logger.log_metrics({"a": torch.tensor(1.5), "b": np.float32(0.25), "c": True, "epoch": 3}, step=7)
    logger.log_metrics({"a": float("nan"), "b": float("inf"), "c": -np.inf}, step=8)
    first, second = strict_rows(logger.path)  # the logger is still open
    assert 0.0 <= first["time"] < 60.0 and first["time"] == round(first.pop("time"), 3)
    assert first == {"step": 7, "a": 1.5, "b": 0.25, "c": 1.0, "epoch": 3.0}
    assert (second["a"], second["b"], second["c"]) == ("NaN", "Infinity", "-Infinity")
    curves = read_metrics(logger.path)
    assert curves["a"][0].tolist() == [7, 8] and np.isnan(curves["a"][1][1])
    assert curves["b"][1].tolist() == [0.25, np.inf] and curves["c"][1].tolist() == [1.0, -np.inf]
    assert logger.seconds > 0.0


def test_tables_are_strict_json_and_the_last_one_stays(tmp_path):
    logger = JsonlLogger(tmp_path / "metrics.jsonl")
    for step in (1, 2):
        logger.log_table("probe/distance", ["a", "b"], [[float("nan"), 0.5], [None, "x"]], step)
    (file,) = (tmp_path / "figures").iterdir()
    assert file.name == "probe_distance.json"
    assert strict_rows(file) == [{"step": 2, "columns": ["a", "b"], "data": [[None, 0.5], [None, "x"]]}]


def test_folders_are_made_by_whatever_is_logged_first(tmp_path):
    JsonlLogger(tmp_path / "a" / "b" / "metrics.jsonl").log_metrics({"x": 1.0}, 1)
    JsonlLogger(tmp_path / "c" / "d" / "metrics.jsonl").log_table("llc/trace", ["x"], [[1.0]], 1)
    arrays = JsonlLogger(tmp_path / "e" / "f" / "metrics.jsonl")
    for step in (1, 2):
        arrays.log_arrays("probe/snapshots", {"x": np.arange(3)}, step)
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    snapshots = [f"e/f/figures/probe_snapshots/step-0000000{step}.npz" for step in (1, 2)]
    assert found == ["a/b/metrics.jsonl", "c/d/figures/llc_trace.json", *snapshots]


def test_tables_and_arrays_whose_keys_end_alike_stay_apart(tmp_path):
    logger = JsonlLogger(tmp_path / "metrics.jsonl")
    for number, key in enumerate(("probe/heads", "emergence/heads")):
        logger.log_table(key, ["a"], [[number]], 1)
        logger.log_arrays(key, {"a": np.full(2, number)}, 1)
    figures = tmp_path / "figures"
    for number, key in enumerate(("probe/heads", "emergence/heads")):
        assert json.loads(table_path(figures, key).read_text())["data"] == [[number]]
        assert read_arrays(arrays_folder(figures, key))[1]["a"].tolist() == [number, number]


def test_a_later_row_of_a_step_counts(tmp_path):
    logger = JsonlLogger(tmp_path / "metrics.jsonl")
    for step, value in ((5, 1.0), (3, 2.0), (5, 3.0)):
        logger.log_metrics({"a": value}, step)
    steps, values = read_metrics(logger.path)["a"]
    assert steps.tolist() == [3, 5] and values.tolist() == [2.0, 3.0]


def test_resume_drops_what_comes_again_and_nothing_else(tmp_path):
    path = tmp_path / "metrics.jsonl"
    rows = [f'{{"step": {step}, "time": {step / 2}, "a": {step}.0}}\n' for step in (0, 5, 10, 10, 12, 15)]
    path.write_text("".join(rows) + '{"step": 20, "ti')  # killed while writing
    assert read_metrics(path)["a"][0].tolist() == [0, 5, 10, 12, 15]

    logger = JsonlLogger(path, resume_step=10)
    assert len(path.read_text()) > len("".join(rows))  # nothing is lost before the first new row
    logger.log_metrics({"a": 12.5}, step=12)
    logger.finalize("success")
    logger.log_metrics({"a": 99.0}, step=99)  # validate after fit, same logger
    text = path.read_text()
    assert text.startswith("".join(rows[:4]))
    resumed = [json.loads(line) for line in text.splitlines()[4:]]
    assert [row["step"] for row in resumed] == [12, 99]
    assert 5.0 <= resumed[0]["time"] <= resumed[1]["time"] < 10.0
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_an_existing_file_is_continued(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 50, "time": 1.0, "a": 1.0}\n{"step": 60, "tim')
    JsonlLogger(path).log_metrics({"a": 2.0}, step=5)
    assert [row["step"] for row in strict_rows(path)] == [50, 5]


def test_a_damaged_line_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "a": 1.0}\n{"step": 2, "a"\n{"step": 3, "a": 1.0}\n')
    with pytest.raises(InputError, match="in line 2; remove that line"):
        read_metrics(path)
    with pytest.raises(InputError, match="found no file"):
        read_metrics(tmp_path / "nothing")


def test_a_full_disk_costs_rows_not_the_training(tmp_path):
    logger = JsonlLogger(tmp_path / "metrics.jsonl")
    logger.log_metrics({"a": 0.0}, step=0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A limit in the middle of the next row: the system writes a part of it, and then refuses.
    resource.setrlimit(resource.RLIMIT_FSIZE, (logger.path.stat().st_size + 10, hard))
    try:
        with pytest.warns(UserWarning, match="is losing rows, training goes on") as warned:
            for step in range(1, 4):
                logger.log_metrics({"a": 1.0}, step)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(warned) == 1
    logger.log_metrics({"a": 2.0}, step=4)
    assert [row["step"] for row in strict_rows(logger.path)] == [0, 4]


def test_in_a_trainer(tmp_path):
    run = RunDirectory(tmp_path)

    class Model(BoringModel):
        def training_step(self, batch, batch_idx):
            self.log("train/loss", self.global_step)
            return super().training_step(batch, batch_idx)

    trainer = Trainer(
        max_steps=4,
        logger=JsonlLogger(run.metrics),
        log_every_n_steps=2,
        limit_val_batches=0,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Model(), torch.utils.data.DataLoader(torch.randn(8, 32)))
    assert read_metrics(run.metrics)["train/loss"][1].tolist() == [1.0, 3.0]
    assert trainer.log_dir == str(tmp_path)
    assert last_checkpoint(run).name == "epoch=0-step=4.ckpt"


def test_resume_drops_the_arrays_that_come_again_and_no_others(tmp_path):
    path = tmp_path / "metrics.jsonl"
    first = JsonlLogger(path)
    for step in (0, 10, 11):
        first.log_arrays("probe/snapshots", {"x": np.arange(step)}, step)
    folder = arrays_folder(tmp_path / "figures", "probe/snapshots")
    JsonlLogger(path).log_metrics({"a": 1.0}, 12)
    assert list(read_arrays(folder)) == [0, 10, 11]  # a file that is merely continued
    JsonlLogger(path, resume_step=10).log_arrays("probe/snapshots", {"x": np.arange(3)}, 14)
    assert list(read_arrays(folder)) == [0, 10, 14]


def test_time_goes_on_from_the_latest_row_that_stays(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "a": 1}\n')
    assert _trim(path, None) == 0.0 == _trim(tmp_path / "nothing", None)  # of rows that tell no time
    path.write_text('{"step": 1, "time": 7.5}\n{"step": 2, "time": 6.5}\n{"step": 3, "time": 9.5}\n')
    assert _trim(path, 2) == 7.5
    assert [row["step"] for row in strict_rows(path)] == [1, 2]


def test_a_row_without_a_step_repeats_the_one_before_and_columns_of_the_logger_stay_its_own(tmp_path):
    logger = JsonlLogger(tmp_path / "metrics.jsonl")
    logger.log_metrics({"a": 1.0})
    logger.log_metrics({"a": 2.0, "step": 99.0, "time": -1.0}, step=5)
    logger.log_metrics({"a": 3.0})
    rows = strict_rows(logger.path)
    assert [(row["step"], row["a"]) for row in rows] == [(0, 1.0), (5, 2.0), (5, 3.0)]
    assert all(row["time"] >= 0.0 for row in rows)


def test_a_long_name_is_cut_to_forty_characters(tmp_path):
    run = new_run(tmp_path / "not" / "there", name="x" * 39 + "yz")
    assert re.fullmatch(r"\d{8}-\d{6}-x{39}y-[a-z0-9]{4}", run.id)


@pytest.mark.parametrize("name", [".", "..", "a/b", "a b", "x" * 129])
def test_an_agents_id_that_is_no_name_of_a_directory_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.setenv("WANDB_RUN_ID", name)
    with pytest.raises(InputError, match="WANDB_RUN_ID names the directory of a run"):
        new_run(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_rank_that_nobody_told_the_id_takes_a_path_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 3)
    assert new_run(tmp_path).path == tmp_path / "rank-3"


def test_checkpoints_without_a_step_come_last_newest_first(tmp_path):
    names = ("step-00000000.ckpt", "epoch=1-step=1200.ckpt", "last.ckpt")
    assert [checkpoint_step(name) for name in names] == [0, 1200, None]
    run = RunDirectory(tmp_path)
    for name, age in (("a", 2), ("last", 1), ("z", 3)):
        path = save_checkpoint(run.checkpoints / f"{name}.ckpt", 0)
        os.utime(path, (1e9 - age, 1e9 - age))
    assert last_checkpoint(run).name == "last.ckpt"
    first = save_checkpoint(run.checkpoints / "step-00000000.ckpt", 0)
    os.utime(first, (1e9 - 9, 1e9 - 9))
    assert last_checkpoint(run) == first
