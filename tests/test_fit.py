"""The main job, run as a user runs it, with the genuine loggers, at toy size."""

import errno
import functools
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from lightning_physim import keys
from lightning_physim.callbacks import checkpoint
from lightning_physim.errors import InputError
from lightning_physim.module import PhysicsSimulator
from lightning_physim.report import RunContent
from lightning_physim.tracking import RunDirectory, only_writer, read_arrays, read_metrics
from lightning_physim.tracking.wandb_dashboard import OBJECTIVE, OUTCOMES, PARAMETERS
from tests.helpers.fits import TINY, only_run, physim, physim_process, rows, values, without

LATER = {f"emergence/L0H0/{end}" for end in ("exponent", "exponent_lo", "exponent_hi", "onset_step", "forecast")}
"""Keys that a longer run logs, once heads emerge."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fit")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    return folder


@pytest.fixture(scope="module")
def run(folder) -> Path:
    physim("fit", "--config", "tiny.yaml", cwd=folder)
    return only_run(folder)


def test_a_fit_leaves_a_complete_run_directory(run):
    assert {"config.yaml", "metrics.jsonl", "checkpoints", "report.html", "wandb"} <= {p.name for p in run.iterdir()}
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["d_model"] == 16 and config["data"]["system"]["radius"] == 0.08
    assert len(list((run / "wandb").glob("offline-run-*"))) == 1


def test_what_is_logged_is_what_is_listed(run):
    logged = set(read_metrics(run / "metrics.jsonl")) - {"time"}
    fields = {"head": ["L0H0", "L0H1", "L1H0", "L1H1"], "k": [1, 4]}
    fields["region"] = ["model", *fields["head"]]
    # No head emerges in so short a run: test_emergence_monitor.py sees to these.
    # So small spectra are not sampled, and have no error: test_sampled_spectrum.py.
    listed = [key for key in keys.KEYS if key not in keys.EMERGENCE.values() and "/d_eff_error/" not in key]
    expected = set()
    for key in listed:
        name = next((name for name in fields if f"{{{name}}}" in key), None)
        expected |= {key.of(**{name: value}) for value in fields[name]} if name else {str(key)}
    assert logged == expected


def test_probes_and_validations_come_at_log_spaced_steps_the_first_and_the_last_included(run):
    probed = sorted({step for step, key in values(run) if key == "probe/best_enrichment"})
    assert probed == [0, 1, 2, 3, 5, 7, 10, 15, 22, 30]
    assert sorted({step for step, key in values(run) if key == "probe/ablation/L1H1"}) == [0, 1, 2, 5, 10, 22, 30]
    validated = sorted({step for step, key in values(run) if key == "val/loss"})
    assert validated == [1, 2, 3, 6, 10, 18, 30]
    assert sorted({step for step, key in values(run) if key == "llc/model/mean"}) == [10, 30]
    traces = json.loads((run / "figures" / "llc_trace.json").read_text())
    assert traces["step"] == 30 and len(traces["data"]) == 12 and "L1H1/1" in traces["columns"]


def test_the_geometry_of_the_model_and_of_each_head_is_measured(run):
    found = values(run)
    for region in ("model", "L0H0", "L0H1", "L1H0", "L1H1"):
        assert found[30, f"geometry/{region}/n_states"] == TINY["geometry"]["n_states"]
        counted = [found[30, f"geometry/{region}/d_eff/{c}"] for c in ("c10", "c1", "c0p1")]
        assert 0 < counted[0] < counted[1] < counted[2]
        assert found[30, f"geometry/{region}/trace"] >= 10 * counted[0]  # h / (h + c) is at most h / c
    assert "In how many directions the loss is curved" in (run / "report.html").read_text()


def test_snapshots_are_log_spaced_and_the_last_shows_the_final_network(run):
    snapshots = read_arrays(run / "figures" / "probe_snapshots")
    assert list(snapshots) == [0, 1, 2, 5, 10, 22, 30]
    assert all(arrays["attention"].shape == (2, 4, 2, 6, 6) for arrays in snapshots.values())
    assert all(arrays["rollout"].shape == (2, 7, 6, 2) for arrays in snapshots.values())
    network = PhysicsSimulator.load_from_checkpoint(run / "checkpoints" / "step-00000030.ckpt")
    last = snapshots[30]
    with torch.no_grad():
        attention = network.attention(torch.from_numpy(last["states"]))
    # To half a unit of what is stored, and what rounding in float32 can move over an edge.
    assert np.abs(last["attention"] / 255 - attention.numpy()).max() <= 0.5001 / 255
    assert not np.array_equal(snapshots[0]["attention"], last["attention"])


def test_checkpoints_are_log_spaced_with_one_rolling(run):
    names = sorted(p.name for p in (run / "checkpoints").iterdir())
    assert names == [f"step-{step:08d}.ckpt" for step in (1, 3, 10, 30)]  # rolling 28 went when 30 came


def test_floors_do_not_depend_on_the_network(run):
    found = values(run)
    floors = {found[step, key] for step, key in found if key == "val/floor_ballistic"}
    assert len(floors) == 1


def test_the_same_seed_gives_the_same_numbers_and_another_one_others(run, folder, tmp_path):
    again = ("fit", "--config", str(folder / "tiny.yaml"), "--data.cache_dir", str(folder / "data"))
    physim(*again, "--trainer.max_steps=10", cwd=tmp_path)
    expected = {(step, key): value for (step, key), value in values(run).items() if step <= 10}
    assert values(only_run(tmp_path)) == expected and (10, "llc/L1H0/mean") in expected
    physim(*again, "--trainer.max_steps=3", "--seed_everything=1", "--runs", "other", cwd=tmp_path)
    (other,) = (tmp_path / "other").iterdir()
    assert values(other)[3, "val/loss"] != values(run)[3, "val/loss"]


def test_measuring_leaves_training_bit_identical(run, folder, tmp_path):
    bare = without("clock", "validation", "probe", "emergence", "snapshots", "llc")
    (tmp_path / "bare.yaml").write_text(yaml.safe_dump(bare))
    physim(
        "fit", "--config", "bare.yaml", "--data.cache_dir", str(folder / "data"), "--trainer.limit_val_batches=0",
        cwd=tmp_path,
    )  # fmt: skip
    ours, theirs = (
        torch.load(only / "checkpoints" / "step-00000030.ckpt", weights_only=True) for only in (run, only_run(tmp_path))
    )
    assert ours["state_dict"].keys() == theirs["state_dict"].keys()
    for name, tensor in ours["state_dict"].items():
        assert torch.equal(tensor, theirs["state_dict"][name]), name
    for index, state in ours["optimizer_states"][0]["state"].items():
        for key, value in state.items():
            assert torch.equal(
                torch.as_tensor(value), torch.as_tensor(theirs["optimizer_states"][0]["state"][index][key])
            )


# A rolling checkpoint; one that a validation precedes.
@pytest.mark.parametrize("killed_at", [14, pytest.param(18, marks=pytest.mark.slow)])
def test_a_resumed_run_equals_an_uninterrupted_one(run, folder, tmp_path, killed_at):
    data = ("--data.cache_dir", str(folder / "data"))
    physim("fit", "--config", str(folder / "tiny.yaml"), *data, f"--trainer.max_steps={killed_at}", cwd=tmp_path)
    resumed = only_run(tmp_path)
    # Rows past the checkpoint, as a run that was killed later leaves them, and a torn last line.
    with (resumed / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": killed_at + 1, "time": 1.0, "train/loss": 9.9}) + '\n{"step": 99, "ti')
    (resumed / "figures" / "probe_snapshots" / "step-00000019.npz").write_bytes(b"torn")
    physim("fit", "--ckpt_path", "last", "--trainer.max_steps=30", cwd=tmp_path)
    assert only_run(tmp_path) == resumed
    once, twice = (read_arrays(path / "figures" / "probe_snapshots") for path in (run, resumed))
    assert set(once) == set(twice) - {killed_at}
    for step, arrays in once.items():
        assert all(np.array_equal(array, twice[step][name]) for name, array in arrays.items())
    # What the probe remembers of earlier steps is in its last table: it comes from the checkpoint.
    tables = [(path / "figures" / "probe_attention_distance.json").read_text() for path in (run, resumed)]
    assert tables[0] == tables[1]
    expected, got = values(run), values(resumed)
    # The first part ended at its own last step, so it measured there as well.
    extra = {(step, key) for step, key in got if step == killed_at} - expected.keys()
    assert {k: v for k, v in got.items() if k not in extra} == expected


@pytest.mark.slow
@pytest.mark.ddp
def test_two_processes_train_probe_and_end_cleanly(run, folder, tmp_path):
    physim_process(
        "fit", "--config", str(folder / "tiny.yaml"), "--data.cache_dir", "data", "--trainer.devices=2",
        "--trainer.strategy=ddp", "--data.batch_size=8", "--trainer.max_steps=10", cwd=tmp_path,
    )  # fmt: skip
    one = {(step, key): value for (step, key), value in values(run).items() if step <= 10}
    two = values(only_run(tmp_path))
    # 2 x 8 is the same global batch as 1 x 16: the same numbers, but for the order of float32 sums.
    assert two.keys() == one.keys()
    for (step, key), value in one.items():
        if not key.startswith("llc/"):
            assert two[step, key] == pytest.approx(value, rel=2e-3, abs=1e-5, nan_ok=True), key
        elif key.endswith("/mean"):
            # Chains of the same noise around weights that differ in their last digits.
            error = one[step, key.replace("/mean", "/mcse")]
            assert two[step, key] == pytest.approx(value, abs=0.5 * error), key


@pytest.mark.parametrize("architecture", ["no_attention", "interaction"])
def test_a_peer_trains_without_what_looks_at_heads(folder, tmp_path, architecture, caplog):
    data = ("--data.cache_dir", str(folder / "data"), "--model.architecture", architecture)
    tiny = str(folder / "tiny.yaml")
    done = physim("fit", "--config", tiny, *data, "--trainer.max_steps=10", cwd=tmp_path)
    assert "probe is left out: it needs a network with attention" in caplog.text
    assert "emergence is left out: it needs the section probe" in caplog.text
    assert "free flight" in done.stdout
    peers = only_run(tmp_path)
    logged = {key for row in rows(peers) for key in row}
    assert {"val/loss_colliding", "rollout/mse@4", "time/train_cpu", "llc/model/mean"} <= logged
    assert not any(re.search(r"^probe/|/L\d+H\d+", key) for key in logged)
    assert (peers / "report.html").stat().st_size > 1000
    # Its checkpoint brings along what it needs to be a simulator.
    done = physim("validate", "--ckpt_path", "last", cwd=tmp_path)
    assert f"{values(peers)[10, 'val/loss_colliding']:.3g}" in done.stdout
    physim("report", "last", cwd=tmp_path)
    # Asked for on the command line they are refused before anything is measured.
    done = physim("fit", "--config", tiny, *data, "--probe.radius=2", "--runs=r", cwd=tmp_path, code=2)
    (line,) = [text for text in done.stderr.splitlines() if text.startswith("physim: ")]
    assert line == "physim: probe needs a network with attention; there is none: leave out --probe"
    assert not list(tmp_path.glob("r/*"))


def test_permuted_targets_change_the_training_and_not_the_validation(run, folder, tmp_path):
    data = ("--data.cache_dir", str(folder / "data"), "--data.permute_targets=true", "--trainer.max_steps=3")
    physim("fit", "--config", str(folder / "tiny.yaml"), *data, cwd=tmp_path)
    found, true = values(only_run(tmp_path)), values(run)
    assert found[0, "probe/enrichment/L0H0"] == true[0, "probe/enrichment/L0H0"]
    assert found[1, "val/floor_no_pair"] == true[1, "val/floor_no_pair"]
    assert found[3, "val/loss"] != true[3, "val/loss"]


def test_the_report_is_written_while_training_runs_and_its_figures_go_to_wandb(run):
    (media,) = (run / "wandb").glob("offline-run-*/files/media")
    drawn = list(RunContent(RunDirectory(run)).figures())
    for name in drawn:
        logged = [json.loads(path.read_text()) for path in (media / "plotly" / "report").glob(f"{name}_[0-9]*.json")]
        # After 10 steps and after the last; nobody looks inside the heads before the end.
        assert len(logged) == (1 if name == "inside" else 2), name
        assert {bool(figure["data"]) for figure in logged} == {True}
    order = [section.name for section in keys.SECTIONS if not section.viewed]
    assert drawn == [name for name in order if name not in ("calibration", "emergence", "portrait")]
    # The viewer is there as a page, as it stands in the report, and not drawn a second time.
    assert not [
        *(media / "plotly" / "report").glob("attention_map*"),
        *(media / "plotly" / "report").glob("rollout_a*"),
    ]
    pages = sorted((media / "html" / "report").glob("viewer_*.html"), key=lambda path: int(path.stem.split("_")[1]))
    assert len(pages) == 2
    viewer = RunContent(RunDirectory(run)).viewer
    assert viewer in pages[-1].read_text() and viewer in (run / "report.html").read_text()
    tables = [json.loads(path.read_text()) for path in (media / "table" / "report").glob("heads_*.json")]
    assert len(tables) == 2
    assert all({row[0] for row in table["data"]} == {"L0H0", "L0H1", "L1H0", "L1H1"} for table in tables)


def test_every_chart_of_the_dashboard_finds_its_metrics_and_parameters_in_a_run(run):
    logged = set(read_metrics(run / "metrics.jsonl")) | LATER
    for chart, pattern in [pair for section in keys.SECTIONS for pair in section.charts()]:
        assert any(re.search(pattern, key) for key in logged), chart
    assert {OBJECTIVE, *dict(OUTCOMES).values()} <= logged
    config = yaml.safe_load((run / "config.yaml").read_text())
    for name in PARAMETERS:
        assert functools.reduce(dict.__getitem__, name.split("."), config) is not None, name


@pytest.fixture
def copied(run, tmp_path) -> Path:
    """The finished run, to be written to."""
    return Path(shutil.copytree(run, tmp_path / "runs" / run.name, symlinks=True))


def test_llc_estimates_at_checkpoints_of_a_run_with_the_settings_that_it_trained_with(copied, tmp_path):
    before = values(copied)
    done = physim("llc", copied.name, "--steps=[3,30]", "--regions=[model,L1H0]", cwd=tmp_path)
    assert "step 3: 2 regions in" in done.stdout and "step 30: 2 regions in" in done.stdout
    metrics = read_metrics(copied / "metrics.jsonl")
    steps, means = metrics["llc/L1H0/mean"]
    assert steps.tolist() == [3, 10, 30]
    # The same weights, samples, settings and noise as while the run trained.
    assert means[2] == pytest.approx(before[30, "llc/L1H0/mean"], rel=1e-5)
    assert metrics["llc/L1H0/n_beta"][1][0] == 50


def test_llc_refuses_what_it_cannot_use_in_a_line(copied, tmp_path):
    for option, rule in {"devices=0": "devices must be at least 1", "accelerator=foo": "refuses its options"}.items():
        assert rule in physim("llc", "last", f"--{option}", cwd=tmp_path, code=2).stderr
    with only_writer(RunDirectory(copied)):
        said = physim("llc", "last", "--steps=[3]", "--regions=[L1H0]", cwd=tmp_path, code=2).stderr
    assert "one process trains a run" in said
    (copied / "config.yaml").write_text("[1, 2]")
    for command in ("llc", "attention"):
        assert "must have sections" in physim(command, "last", cwd=tmp_path, code=2).stderr


def test_llc_calibrates_on_a_grid_and_recommends_a_setting_of_it(copied, tmp_path):
    done = physim("llc", "last", "--calibrate", "--regions=[L0H0]", "--sgld.n_draws=30", cwd=tmp_path)
    table = json.loads((copied / "figures" / "llc_calibration.json").read_text())
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert len(rows) == 27 and {row["region"] for row in rows} == {"L0H0"}
    assert len({row["n_beta"] for row in rows}) == 3 == len({row["localization"] for row in rows})
    recommended = [row for row in rows if row["recommended"]]
    assert ("widest plateau at" in done.stdout) == (len(recommended) == 1)
    assert all(row["converged"] for row in recommended)


@pytest.mark.slow
@pytest.mark.ddp
def test_llc_shares_the_chains_among_processes(copied, tmp_path):
    estimates = []
    for devices in (1, 2):
        physim_process("llc", str(copied), "--steps=[10]", f"--devices={devices}", "--accelerator=cpu", cwd=tmp_path)
        last = rows(copied)[-1]
        assert last["step"] == 10
        estimates.append({key: value for key, value in last.items() if key.endswith(("/mean", "/mcse"))})
    one, two = estimates
    assert len(one) == 10 and two == pytest.approx(one, rel=1e-3)


def test_a_run_is_not_mistaken_for_another_one(copied, tmp_path):
    before = rows(copied)
    for command in ("fit", "test"):
        line = physim(command, "--ckpt_path=last", "--model.lr=1e-5", cwd=tmp_path, code=2).stderr
        assert "the network is that of the checkpoint; got model.lr=1e-05, which is 0.002 in" in line
    for option, told in {
        "data.system.gravity=2": "data.system.gravity=2.0, which was 1.0",
        "trainer.limit_test_batches=1": "trainer.limit_test_batches=1",
        "trainer.fast_dev_run=true": "trainer.fast_dev_run=True",
    }.items():
        done = physim("test", "--ckpt_path=last", f"--{option}", cwd=tmp_path)
        assert "metrics.jsonl, as the numbers are with " + told in " ".join(done.stdout.split())
    assert rows(copied) == before
    same = ("--model.lr=2e-3", "--data.cache_dir=elsewhere")  # as a sweep resumes a trial
    done = physim("fit", "--ckpt_path=last", *same, "--data.batch_size=8", "--trainer.max_steps=31", cwd=tmp_path)
    assert (
        "the run goes on with data.batch_size=8, which was 16" in done.stderr and done.stderr.count("goes on with") == 1
    )


def test_a_resume_that_is_refused_leaves_the_state_as_it_was(copied, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise InputError("a file of the run cannot be read")

    before = (copied / "state.json").read_bytes()
    monkeypatch.setattr("lightning_physim.cli.train.Trainer.fit", refuse)
    physim("fit", "--ckpt_path=last", "--trainer.max_steps=31", cwd=tmp_path, code=2)
    assert (copied / "state.json").read_bytes() == before


def test_numbers_that_cannot_be_written_are_no_success(copied, tmp_path, monkeypatch):
    def full(path, row):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("lightning_physim.tracking.jsonl.append_json_line", full)
    for words in (["llc", "last", "--steps=[3]", "--regions=[L1H0]"], ["test", "--ckpt_path=last"]):
        assert "metrics.jsonl: No space left on device" in physim(*words, cwd=tmp_path, code=2).stderr


def test_evaluation_commands_read_the_run_back(run, folder):
    before = rows(run)
    done = physim("test", "--ckpt_path", str(run), "--data.cache_dir", "data", cwd=folder)
    printed = done.stdout.splitlines()
    header, *lines = printed[next(i for i, line in enumerate(printed) if "ood" in line) :]
    assert re.split(r"\s{2,}", header.strip()) == ["test", "ood particles", "ood restitution", "ood gravity"]
    shown = {name: cells for name, *cells in (re.split(r"\s{2,}", line.strip()) for line in lines)}
    (row,) = rows(run)[len(before) :]
    assert row["step"] == 30 and rows(run)[: len(before)] == before
    splits = ["test", "ood_particles", "ood_restitution", "ood_gravity"]
    for name, key in (
        ("loss, colliding", "loss_colliding"),
        ("no-pair oracle", "floor_no_pair"),
        ("energy @4", "rollout_energy_error@4"),
    ):
        assert shown[name] == [f"{row[f'{split}/{key}']:.3g}" for split in splits]
    assert "no logger" not in done.stderr
    page = (run / "report.html").read_text()
    assert "held out, at step 30" in page and f"<td>{shown['loss, colliding'][3]}</td>" in page
    done = physim("validate", "--ckpt_path", "last", cwd=folder)
    assert rows(run)[-1] == row  # nothing is left: it was measured while training ran
    validated = read_metrics(run / "metrics.jsonl")["val/loss"][1][-1]
    assert f"{validated:.3g}" in done.stdout
    physim("report", "last", cwd=folder)


@pytest.mark.parametrize(
    "argv, line",
    [
        (["fit", "--config", "nosuch"], "--config takes a file or one of demo, large, smoke; got nosuch"),
        (["fit", "--ckpt_path", "last"], "checkpoint"),
        (["fly"], "the command must be fit"),
        (["llc"], "begins with a run; got nothing: type physim llc last"),
        (["llc", "nosuch"], "a run is a directory"),
        (["fit", "--llc.sgld.n_beta=-1"], "n_beta"),
        (["fit", "--data.system.restitution=0.9", "--data.system.damping=1.0"], "restitution"),
        (["fit", "--data.system.restitution=null"], "restitution"),
        (["fit", "--data.system.stiffness=-1"], "stiffness must be positive"),
        (["fit", "--model.n_heads=5"], "n_heads must divide d_model=32; got n_heads=5"),
        (["fit", "--model.n_headz=5"], "n_headz"),
        (["fit", "--data.system.radius=0.3"], "packing"),
        (["fit", "--model.lr=-1"], "lr must be positive"),
        (["simulate", "--data.nosuch=1"], "nosuch"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_2(tmp_path, argv, line):
    done = physim(*argv, cwd=tmp_path, code=2)
    message = [text for text in done.stderr.splitlines() if text.startswith("physim: ")]
    assert len(message) == 1 and line in message[0], done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("runs/*"))


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path, folder):
    (tmp_path / "file").write_text("")
    done = physim("fit", "--config", str(folder / "tiny.yaml"), "--data.cache_dir=file/data", cwd=tmp_path, code=2)
    assert "cache_dir" in done.stderr and "Traceback" not in done.stderr


def test_a_disk_that_fills_up_is_one_line_and_costs_nothing_that_is_there(tmp_path, folder, monkeypatch):
    written = checkpoint.replace_file

    def fails_late(path: Path, content: memoryview) -> None:
        if path.name > "step-00000005.ckpt":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        written(path, content)

    monkeypatch.setattr(checkpoint, "replace_file", fails_late)
    data = ("--data.cache_dir", str(folder / "data"))
    done = physim("fit", "--config", str(folder / "tiny.yaml"), *data, cwd=tmp_path, code=2)
    (line,) = [text for text in done.stderr.splitlines() if text.startswith("physim: ")]
    assert "step-00000007.ckpt: No space left on device; free some space" in line
    run = only_run(tmp_path)
    assert max(row["step"] for row in rows(run)) == 7
    assert (run / "checkpoints" / "step-00000003.ckpt").is_file()
