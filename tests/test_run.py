"""A run on disk, opened from Python."""

import numpy as np
import pytest
import torch
import yaml

from lightning_physim import Run
from lightning_physim.errors import InputError
from lightning_physim.tracking import read_metrics
from tests.helpers.fits import TINY, only_run, physim, without


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(without("emergence", "snapshots", "llc", "geometry")))
    physim("fit", "--config=tiny.yaml", "--trainer.max_steps=12", "--wandb=false", cwd=folder)
    return folder


@pytest.fixture
def run(folder, monkeypatch) -> Run:
    monkeypatch.chdir(folder)  # the data lie beside runs/
    return Run("last")


def test_it_is_found_by_name_path_and_age(run, folder):
    path = only_run(folder)
    for which in ("last", path.name, path):
        assert Run(which).directory.path.resolve() == path.resolve()
    assert Run(path.name, runs=folder / "runs").directory.path == path
    assert repr(run) == f"Run('runs/{path.name}')"
    with pytest.raises(InputError, match="type 'last'"):
        Run("no-such-run")


def test_its_numbers_are_those_of_the_log(run):
    table = run.metrics
    assert table.index.name == "step" and table.index.is_monotonic_increasing and table.index.is_unique
    curves = read_metrics(run.directory.metrics)
    assert {*table.columns} == {*curves}
    for key in ("probe/enrichment/L1H0", "val/loss", "train/loss"):
        steps, values = curves[key]
        column = table[key].dropna()
        assert column.index.tolist() == steps.tolist() and column.tolist() == values.tolist()
    assert np.isnan(table.loc[0, "val/loss"])  # nothing is made up where nothing was logged


def test_what_was_measured_of_heads_is_one_tidy_table(run):
    heads, metrics = run.heads, run.metrics
    assert heads.index.names == ["head", "step"] and heads.index.is_unique
    assert set(heads.index.get_level_values("head")) == {f"L{layer}H{head}" for layer in (0, 1) for head in (0, 1)}
    for head in ("L0H1", "L1H0"):
        for quantity in ("enrichment", "ablation"):
            column, logged = heads.loc[head, f"probe/{quantity}"].dropna(), metrics[f"probe/{quantity}/{head}"].dropna()
            assert column.index.tolist() == logged.index.tolist() and column.tolist() == logged.tolist()
    assert not any("H" in quantity for quantity in heads.columns) and "val/loss" not in heads


def test_its_network_is_that_of_the_step(run):
    assert list(run.checkpoints) == [1, 3, 10, 12]
    last, first = run.model(), run.model(step=1)
    assert not last.training
    saved = torch.load(run.checkpoints[12], weights_only=True)["state_dict"]
    assert all(torch.equal(saved[name], value) for name, value in last.state_dict().items())
    assert not torch.equal(*(next(net.parameters()) for net in (last, first)))
    with pytest.raises(InputError, match="1, 3, 10, 12; got 5"):
        run.model(step=5)


def test_its_attention_is_that_of_the_network(run):
    states, _ = run.data.probe_states(5)
    patterns = run.attention(states, step=3)
    assert patterns.shape == (2, 5, 2, 6, 6) and not patterns.requires_grad
    assert torch.equal(patterns, run.model(step=3).attention(states))
    torch.testing.assert_close(patterns.sum(-1), torch.ones(2, 5, 2, 6))


def test_its_configuration_and_report(run):
    assert run.config["model"]["d_model"] == 16 and run.config["trainer"]["max_steps"] == 12
    run.directory.report.unlink()
    assert run.report() == run.directory.report and "<html" in run.directory.report.read_text()[:200]


def test_its_heads_are_looked_inside_and_their_patterns_exported(run, folder):
    page, log = run.report().read_text(), run.directory.metrics.read_bytes()
    assert "Inside the heads" not in page and 'id="inside"' not in page
    done = physim("attention", run.directory.id, "--checkpoint=10", "--states=30", "--output=p.npz", cwd=folder)
    assert f"{run.directory.id}, step 10: 4 heads on 30 held-out states" in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if line.startswith(("head", "L0", "L1")))
    with np.load(folder / "p.npz") as arrays:
        states = torch.from_numpy(arrays["states"])
        assert torch.equal(states, run.data.probe_states(30)[0]) and arrays["step"] == 10
        np.testing.assert_array_equal(arrays["patterns"], run.attention(states, step=10).numpy())
        np.testing.assert_array_equal(arrays["contacts"], run.data.probe_states(30)[1].numpy())
        described = {line.split(":")[0] for line in str(arrays["description"]).splitlines()}
        assert described == {*arrays} - {"description"}
    page = run.directory.report.read_text()
    assert "Inside the heads" in page and 'id="inside"' in page and "at step 10, and" in page
    assert run.directory.metrics.read_bytes() == log


def test_a_step_or_a_number_of_states_that_is_not_there_is_refused(run, folder):
    for words, line in (
        (["--checkpoint=5"], "1, 3, 10, 12; got 5"),
        (["--states=55"], "1 to 54 states"),
        (["--states=0"], "1 to 54 states, the intervals of its split; got 0"),
        (["--output=nowhere/p.npz"], "make nowhere first"),
    ):
        assert line in physim("attention", run.directory.id, *words, cwd=folder, code=2).stderr


def test_a_run_without_a_checkpoint_or_without_heads_is_refused_in_a_line(tmp_path):
    (tmp_path / "runs" / "empty").mkdir(parents=True)
    (tmp_path / "runs" / "empty" / "metrics.jsonl").write_text('{"step": 0, "a": 1}\n')
    empty = Run("empty", runs=tmp_path / "runs")
    with pytest.raises(InputError, match="none in .*checkpoints; got None"):
        empty.model()
    assert empty.metrics["a"].tolist() == [1.0]
    with pytest.raises(InputError, match="has none: pass data yourself"):
        _ = empty.data
    headless = TINY | {"model": {"architecture": "no_attention", "d_model": 8, "rollout_horizons": [1]}, "llc": False}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(headless))
    physim("fit", "--config=tiny.yaml", "--trainer.max_steps=1", "--wandb=false", "--geometry=false", cwd=tmp_path)
    run = Run("last", runs=tmp_path / "runs")
    assert run.model().hparams["architecture"] == "no_attention"
    with pytest.raises(InputError, match="PhysicsSimulator has neither"):
        run.attention(torch.zeros(1, 6, 4))
    assert "PhysicsSimulator has neither" in physim("attention", "last", cwd=tmp_path, code=2).stderr
