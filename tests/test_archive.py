"""Archives hold what runs have logged, and others read them with nothing of ours."""

import csv
import io
import json
import math
import zipfile
from pathlib import Path

import numpy as np
import pandas
import pytest

from lightning_physim import Archive, InputError, Run
from lightning_physim.cli import main
from lightning_physim.tracking import RunDirectory, RunState, read_metrics, write_state

RNG = np.random.default_rng(0)


def make_run(folder: Path, seed: int, heads=("L0H0", "L0H1", "L1H10"), extra: dict | None = None) -> RunDirectory:
    """A run directory with numbers that no short decimal is equal to."""
    run = RunDirectory(folder / f"seed-{seed}")
    run.checkpoints.mkdir(parents=True)
    rows = []
    for step in (0, 1, 10, 100, 10):  # a step that was logged again after a resume: the last row counts
        rows.append({"step": step, "time": step / 7, "val/loss": RNG.normal(), "llc/model/mean": RNG.normal() * 1e-9})
        rows.append({"step": step} | {f"probe/enrichment/{head}": RNG.normal() * 1e6 for head in heads})
        rows.append({"step": step, "test/rollout_mse@5": RNG.normal()} | (extra or {}))
    rows.append({"step": 100} | {f"llc/{head}/mean": RNG.normal() for head in heads})
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run.config.write_text(f"seed_everything: {seed}\nmodel: {{lr: 0.1}}\n")
    origin = {"version": "0.1.0", "commit": "abc", "dirty": True, "data": {"train": "t-1"}}
    run.provenance.write_text(json.dumps(origin))
    for step in (10, 100):
        (run.checkpoints / f"step-{step:08d}.ckpt").write_bytes(b"weights")
    write_state(run, RunState("finished", 100))
    return run


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Two runs, and a sweep of one of them."""
    monkeypatch.chdir(tmp_path)
    runs = [make_run(tmp_path / "runs", seed) for seed in (3, 4)]
    sweep = tmp_path / "runs" / "sweep"
    sweep.mkdir()
    parameters = {"role": "seed", "model.lr": 0.1, "attend": False, "size": [1, 2], "seed": 3}
    line = {"trial": 0, "parameters": parameters, "run_id": runs[0].id, "state": "finished"}
    (sweep / "sweep.jsonl").write_text(json.dumps(line | {"exit_code": 0, "metric": 1}) + "\n")
    return tmp_path


def archived(*words: str) -> Path:
    assert main(["archive", *words, "--output", "a.zip"]) == 0
    return Path("a.zip")


def test_tables_of_several_runs_are_those_of_each_run(folder):
    archive = Archive(archived("seed-3", "seed-4"))
    assert archive.heads.index.names == ["run", "seed", "head", "step"] and archive.heads.index.is_unique
    assert list(archive.runs.index) == [("seed-3", 3), ("seed-4", 4)]
    told = archive.runs.loc[("seed-4", 4), ["state", "steps", "commit", "dirty", "data"]]
    assert told.tolist() == ["finished", 100, "abc", True, "t-1"]
    for seed in (3, 4):
        run = Run(f"seed-{seed}")
        pandas.testing.assert_frame_equal(archive.heads.loc[f"seed-{seed}", seed], run.heads, check_like=True)
        of_run = archive.metrics.loc[f"seed-{seed}", seed]
        pandas.testing.assert_frame_equal(of_run, run.metrics[[*of_run.columns]])
        logged, read = read_metrics(run.directory.metrics), archive.curves(f"seed-{seed}")
        assert read.keys() == logged.keys()
        for key, (steps, values) in logged.items():
            assert read[key][0].tolist() == steps.tolist() and read[key][1].tolist() == values.tolist(), key


def test_nothing_of_ours_is_needed_to_read_one(folder):
    with zipfile.ZipFile(archived("seed-3", "seed-4")) as file:
        descriptor = json.loads(file.read("datapackage.json"))
        tables = {each["name"]: each for each in descriptor["resources"]}
        assert {*tables} == {"runs", "heads", "metrics"}
        left = {*file.namelist()} - {"datapackage.json", *(each["path"] for each in tables.values())}
        assert left == {f"runs/seed-{seed}/{name}" for seed in (3, 4) for name in ("config.yaml", "provenance.json")}
        for table in tables.values():
            header, *rows = csv.reader(io.StringIO(file.read(table["path"]).decode()))
            fields = table["schema"]["fields"]
            assert header == [field["name"] for field in fields]
            assert all(field["description"] for field in fields)
            places = [header.index(name) for name in table["schema"]["primaryKey"]]
            assert len({tuple(row[i] for i in places) for row in rows}) == len(rows) > 0
        frame = pandas.read_csv(io.BytesIO(file.read("heads.csv")))
        config = file.read("runs/seed-4/config.yaml")
    units = {field["name"]: field.get("unit") for field in tables["heads"]["schema"]["fields"]}
    assert units["probe/enrichment"] == "times uniform attention" and units["step"] == "optimizer steps"
    (mse,) = (each for each in tables["metrics"]["schema"]["fields"] if each["name"] == "test/rollout_mse@5")
    assert mse["unit"] == "squared unit of length" and mse["better"] == "minimize"
    row = frame[(frame["seed"] == 4) & (frame["head"] == "L1H10") & (frame["step"] == 10)]
    last = json.loads(Path("runs/seed-4/metrics.jsonl").read_text().splitlines()[-3])
    assert row["probe/enrichment"].item() == pytest.approx(last["probe/enrichment/L1H10"], rel=1e-14)
    assert config == Path("runs/seed-4/config.yaml").read_bytes()


def test_trials_bring_their_parameters_and_checkpoints_open_as_runs(folder):
    assert main(["archive", "sweep", "--checkpoints=last"]) == 0
    archive = Archive("runs/sweep/archive.zip")
    row = archive.runs.loc[("seed-3", 3)]
    assert row[["role", "model.lr", "attend", "size"]].tolist() == ["seed", 0.1, False, "[1, 2]"]
    assert archive.columns.loc[("runs", "attend"), "type"] == "boolean"
    assert set(archive.heads.join(archive.runs["role"])["role"]) == {"seed"}
    with zipfile.ZipFile("runs/sweep/archive.zip") as file:
        file.extractall("out")
    unpacked = Run("seed-3", runs="out/runs")
    assert [*unpacked.checkpoints] == [100] and unpacked.config["model"]["lr"] == 0.1


def test_what_the_files_of_a_run_should_not_say_is_left_out(folder):
    run = RunDirectory(folder / "runs" / "seed-3")
    run.config.write_text("seed_everything: true\n")
    run.provenance.write_text('{"world_size": "two", "dirty": 1, "data": [], "version": "9"}')
    (row,) = Archive(archived("seed-3")).runs.reset_index().to_dict("records")
    assert row["version"] == "9"
    assert all(pandas.isna(row[name]) for name in ("seed", "world_size", "dirty", "data", "commit"))


def test_the_same_runs_give_the_same_bytes_and_keys_are_chosen(folder):
    whole = archived("seed-3").read_bytes()
    assert archived("seed-3").read_bytes() == whole
    with zipfile.ZipFile("a.zip") as file:
        assert {entry.date_time for entry in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}, "no time of the clock"
    chosen = Archive(archived("seed-3", "--only=[llc/*,val/*]"))
    assert list(chosen.heads) == ["llc/mean"] and list(chosen.metrics) == ["val/loss", "llc/model/mean"]


def test_what_is_not_finite_is_told_from_what_was_not_measured(folder):
    make_run(folder / "runs", 5, heads=(), extra={"a": "NaN", "b": "-Infinity", "train/loss": "Infinity"})
    with zipfile.ZipFile(archived("seed-5")) as file:
        row = next(csv.DictReader(io.StringIO(file.read("metrics.csv").decode())))
    assert (row["a"], row["b"], row["train/loss"]) == ("NaN", "-INF", "INF")
    archive = Archive("a.zip")
    assert archive.heads.empty and Run("seed-5").heads.empty and archive.columns.loc[("metrics", "a"), "unit"] == ""
    with pytest.raises(InputError, match="is one of seed-5; got seed-6"):
        archive.curves("seed-6")
    assert archive.metrics["b"].tolist() == [-math.inf] * 4 and archive.metrics["train/loss"].iloc[0] == math.inf


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["seed-3", "seed-3"], "got one twice"),
        (["none"], "found none at none"),
        (["seed-3", "--output=none/a.zip"], "make none first"),
        (["seed-3", "--only=[nothing/*]"], "of which none was logged"),
        (["seed-3", "other/seed-3"], "got one name twice"),
        (["seed-3", "--checkpoints=first"], "first"),
        (["seed-3", "--ouput=x"], "type --output"),
        (["sweep", "empty"], "has metrics.jsonl once"),
    ],
)
def test_what_cannot_be_archived_is_one_line_and_nothing_is_left(folder, capsys, words, line):
    make_run(folder / "other", 3)
    (folder / "runs" / "empty" / "checkpoints").mkdir(parents=True)
    before = sorted(folder.rglob("*"))
    assert main(["archive", *words]) == 2
    said = capsys.readouterr().err.strip()
    assert line in said and "\n" not in said and sorted(folder.rglob("*")) == before


def spoilt(change: str) -> None:
    """Spoil the archive in the current folder."""
    content = bytearray(Path("a.zip").read_bytes())
    if change == "torn":
        Path("a.zip").write_bytes(content[: len(content) // 2])
    elif change == "turned":
        content[content.index(b"heads.csv") + 200] ^= 255
        Path("a.zip").write_bytes(content)
    elif change == "missing":
        Path("a.zip").unlink()
    else:
        with zipfile.ZipFile("a.zip", "w") as file:
            file.writestr(*{"foreign": ("notes.txt", "x"), "other": ("datapackage.json", "[1]")}[change])


@pytest.mark.parametrize("change", ["torn", "turned", "missing", "foreign", "other"])
def test_an_archive_that_cannot_be_read_is_told_in_a_line(folder, change):
    archived("seed-3")
    spoilt(change)
    with pytest.raises(InputError, match="has written; got a.zip, ") as refused:
        _ = Archive("a.zip").heads
    assert "\n" not in str(refused.value)
