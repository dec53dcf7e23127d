"""``physim measure``: measurements at the checkpoints of a run."""

import shutil

import numpy as np
import pytest
import torch
import yaml

from lightning_physim import ParticleDataModule, Run
from lightning_physim.physics import ParticleSystem
from tests.helpers.fits import TINY, physim, physim_process, rows, said, values

SECTIONS = ("probe", "llc", "geometry")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a run of ten steps."""
    folder = tmp_path_factory.mktemp("measure")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    physim("fit", "--config=tiny.yaml", "--trainer.max_steps=10", "--wandb=false", cwd=folder)
    (run,) = (folder / "runs").iterdir()
    run.rename(folder / "runs/trained")
    return folder


def without_validation(folder) -> dict[tuple[int, str], float]:
    return {at: value for at, value in values(folder).items() if at[1].split("/")[0] in SECTIONS}


@pytest.mark.slow
def test_by_the_settings_of_the_run_it_measures_what_training_measured(folder):
    before = (folder / "runs/trained/metrics.jsonl").read_bytes()
    done = physim("measure", "trained", *(f"--{name}=true" for name in SECTIONS), cwd=folder)
    assert (folder / "runs/trained/metrics.jsonl").read_bytes() == before
    measured = without_validation(folder / "runs/trained/measured-1")
    trained = {(row["step"], key): value for row in rows(folder / "runs/trained") for key, value in row.items()}
    assert {step for step, _ in measured} == {*Run("trained", folder / "runs").checkpoints} >= {1, 10}
    assert {key.split("/")[0] for _, key in measured} == {*SECTIONS}
    both = measured.keys() & trained.keys()
    assert {key.split("/")[0] for step, key in both if step == 10} == {*SECTIONS}
    for at in both:
        assert float(measured[at]) == pytest.approx(float(trained[at]), rel=1e-5, abs=1e-9, nan_ok=True), at
    assert "step 10: " in done.stdout and "measured-1/report.html" in done.stdout


def test_what_was_measured_until_a_signal_stays(folder, monkeypatch):
    from lightning_physim.cli.measure import MeasureCLI
    from lightning_physim.errors import Interrupted
    from lightning_physim.tracking import RunDirectory, read_state

    measure = MeasureCLI._measure

    def until_the_second(self, step, path, measured):
        if measured:
            raise Interrupted(15)
        measure(self, step, path, measured)

    monkeypatch.setattr(MeasureCLI, "_measure", until_the_second)
    done = physim("measure", "trained", "--probe.radius=2", "--output=begun", cwd=folder, code=143)
    first = min(Run("trained", folder / "runs").checkpoints)
    assert f"interrupted at step {first}: begun has what was measured until then" in done.stdout
    assert {step for step, _ in without_validation(folder / "begun")} == {first}
    assert (
        read_state(RunDirectory(folder / "begun")).state == "interrupted" and (folder / "begun/report.html").is_file()
    )


def test_another_setting_is_measured_and_kept_beside_the_numbers(folder, monkeypatch):
    physim("measure", "trained", "--probe.radius=2.5", "--steps=[10]", "--output=wide", cwd=folder)
    monkeypatch.chdir(folder)
    run = Run("trained")
    states, _ = run.data.probe_states(TINY["probe"]["n_states"])
    others = run.attention(states, 10).double().numpy() * (1 - np.eye(6))
    positions = states[..., :2].double().numpy()
    distance = np.linalg.norm(positions[:, :, None] - positions[:, None], axis=-1)
    near = (distance < 2.5 * 0.16) & ~np.eye(6, dtype=bool)  # radius 0.08: a contact diameter is 0.16
    share = ((others * near[:, None]).sum(-1) / others.sum(-1))[1, :, 0][near.any(-1)].mean()
    found = values(folder / "wide")
    assert found[10, "probe/partner_score/L1H0"] == pytest.approx(share, rel=1e-4)
    config = yaml.safe_load((folder / "wide/config.yaml").read_text())
    assert config["probe"]["radius"] == 2.5 and config["ckpt_path"].endswith(".ckpt")
    assert [name for name in TINY if isinstance(config[name], dict) and config[name].get("enabled")] == ["probe"]


def test_other_data_are_judged_in_the_units_of_the_network(folder, monkeypatch):
    """The loss on slower particles, by the states that the network predicts."""
    options = ("--data.velocity_std=0.2", "--data.system.interval=0.1")
    physim("measure", "trained", "--probe=true", "--steps=[10]", "--output=slow", *options, cwd=folder)
    monkeypatch.chdir(folder)
    network = Run("trained").model(10)
    data = ParticleDataModule(
        **{**TINY["data"], "velocity_std": 0.2, "system": ParticleSystem(**TINY["data"]["system"])}
    )
    data.prepare_data()
    data.setup()
    states = data.split("val").states
    with torch.no_grad():
        missed = network(states[:, :-1].flatten(0, 1)).view_as(states[:, 1:]) - states[:, 1:]
    loss = (missed / network.network.target.residual_rms).square().mean().item()
    assert not np.allclose(data.target.residual_rms, network.network.target.residual_rms, rtol=0.1)
    assert values(folder / "slow")[10, "val/loss"] == pytest.approx(loss, rel=1e-4)


def test_a_torn_checkpoint_does_not_end_the_others(folder):
    shutil.copytree(folder / "runs/trained", folder / "runs/torn")
    torn, *_ = sorted((folder / "runs/torn/checkpoints").iterdir())
    torn.write_bytes(torn.read_bytes()[:100])
    done = physim("measure", "torn", "--probe=true", "--output=rest", cwd=folder)
    assert "step 1: left out" in done.stdout
    assert {step for step, _ in values(folder / "rest")} == {*Run("torn", folder / "runs").checkpoints} - {1}


@pytest.mark.parametrize(
    "words, line",
    [
        ([], "begins with a run; got nothing: type physim measure last --probe=true"),
        (["nosuch", "--probe=true"], "a run is a directory"),
        (["trained"], "needs the name of a measurement, probe, emergence, snapshots, llc, geometry; got none"),
        (["trained", "--clock=true"], "needs the name of a measurement"),
        (["trained", "--probe=true", "--steps=[10,11]"], "steps with a checkpoint, 1, 3, 10; got 11"),
        (["trained", "--probe=true", "--output=runs"], "--output is a folder that is to be made; got runs"),
        (["trained", "--emergence=true"], "emergence needs the section probe"),
        (["trained", "--probe=true", "--data.system.interval=0.05"], "must have its interval, 0.1; got 0.05"),
        (["trained", "--probe.radius=-1"], "radius must be positive"),
        (["trained", "--probe=true", "--ckpt_path=last"], "as the first word, trained; got --ckpt_path=last too"),
        (["trained", "--probe=true", "--ckpt_path", "last"], "got --ckpt_path too: leave it out"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(folder, words, line):
    before = sorted(folder.rglob("*"))
    done = physim("measure", *words, cwd=folder, code=2)
    (message,) = [text for text in done.stderr.splitlines() if text.startswith("physim: ")]
    assert line in message
    assert sorted(folder.rglob("*")) == before


def test_its_help_is_its_own(capsys):
    assert said(["measure", "--help"], capsys).startswith("usage: physim measure RUN --SECTION.OPTION=VALUE")


@pytest.mark.slow
@pytest.mark.ddp
def test_two_processes_measure_the_same(folder):
    options = ("--probe=true", "--geometry=true", "--steps=[10]")
    physim("measure", "trained", *options, "--output=one", cwd=folder)
    ranks = ("--trainer.devices=2", "--trainer.strategy=ddp")
    physim_process("measure", "runs/trained", *options, *ranks, "--output=two", cwd=folder)
    one, two = (without_validation(folder / name) for name in ("one", "two"))
    assert one.keys() == two.keys() and len(rows(folder / "two")) == len(rows(folder / "one"))
    for at, value in one.items():
        np.testing.assert_allclose(float(two[at]), float(value), rtol=2e-4, atol=1e-7, err_msg=str(at))
