"""Options reach the measurement that they name: every section can be set, switched off and inherited."""

import json
import sys
from contextlib import ExitStack

import pytest
import yaml

from lightning_physim.callbacks import CollisionProbe, LearningCoefficient, Snapshots
from lightning_physim.cli import main
from lightning_physim.cli.arguments import expand
from lightning_physim.cli.measurements import MEASUREMENTS
from lightning_physim.cli.train import DryCLI
from tests.helpers.fits import TINY, only_run, physim, rows, said

OURS = "lightning_physim.callbacks."


def built(folder, monkeypatch, *options: str, config: dict = TINY) -> DryCLI:
    """Everything that a fit builds before it runs."""
    monkeypatch.chdir(folder)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(config))
    arguments = expand(["fit", "--config", "tiny.yaml", *options])
    monkeypatch.setattr(sys, "argv", ["physim", *arguments.words])
    return DryCLI(arguments, ExitStack())


def callbacks(cli: DryCLI) -> list[type]:
    ours = [measurement.callback for measurement in MEASUREMENTS.values()]
    return [type(callback) for callback in cli.trainer.callbacks if type(callback) in ours]


def the(cli: DryCLI, kind: type):
    (callback,) = [callback for callback in cli.trainer.callbacks if type(callback) is kind]
    return callback


def refusal(capsys, *argv: str) -> str:
    assert main(list(argv)) == 2
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("physim: ")][-1]


def test_one_option_of_the_sampler_leaves_the_others(tmp_path, monkeypatch):
    from dataclasses import replace

    from lightning_physim.callbacks import NETWORK_SGLD

    bare = {key: value for key, value in TINY.items() if key != "llc"}
    for spelled in ("--llc.sgld.n_draws=400", "--llc.sgld.n_draws=400.0", "--llc={'sgld': {'n_draws': 400.0}}"):
        cli = built(tmp_path, monkeypatch, spelled, config=bare)
        assert the(cli, LearningCoefficient).sgld == replace(NETWORK_SGLD, n_draws=400), spelled
    in_file = bare | {"llc": {"sgld": {"n_draws": 400}}}
    assert the(built(tmp_path, monkeypatch, config=in_file), LearningCoefficient).sgld.n_draws == 400


def test_numbers_in_a_file_read_as_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY) + "\n")
    (tmp_path / "more.yaml").write_text("model: {lr: 1e-3}\nllc: {sgld: {n_beta: 1e2}}\n")
    assert expand(["fit", "--config=tiny.yaml", "--config=more.yaml"]).config["model"]["lr"] == 0.001
    cli = built(tmp_path, monkeypatch, "--config=more.yaml")
    assert cli.model.hparams["lr"] == 0.001 and the(cli, LearningCoefficient).sgld.n_beta == 100.0


@pytest.mark.parametrize("spelled", ["--llc=false", "--llc=False", "--llc=None", "--llc=null", "--llc.enabled=false"])
def test_what_is_off_on_the_command_line_is_no_callback(tmp_path, monkeypatch, spelled):
    assert LearningCoefficient not in callbacks(built(tmp_path, monkeypatch, spelled))


@pytest.mark.parametrize("value", [False, None, {"enabled": False}])
def test_what_is_off_in_a_file_is_no_callback_and_an_option_switches_it_on_again(tmp_path, monkeypatch, value):
    off = TINY | {"llc": value}
    assert LearningCoefficient not in callbacks(built(tmp_path, monkeypatch, config=off))
    assert LearningCoefficient in callbacks(built(tmp_path, monkeypatch, "--llc=true", config=off))


def test_callbacks_come_in_the_order_of_the_sections(tmp_path, monkeypatch):
    found = callbacks(built(tmp_path, monkeypatch, config=TINY | {"progress": True}))
    # Lightning puts checkpoints last.
    assert [kind for kind in found if "Checkpoint" not in kind.__name__] == [
        measurement.callback for name, measurement in MEASUREMENTS.items() if name != "checkpoints"
    ]


def test_the_near_radius_is_given_once(tmp_path, monkeypatch, capsys):
    cli = built(tmp_path, monkeypatch, "--probe.radius=1.2")
    assert the(cli, CollisionProbe).radius == the(cli, Snapshots).radius == 1.2
    assert "probe.radius" in refusal(capsys, "fit", "--snapshots.radius=2")
    (tmp_path / "apart.yaml").write_text("snapshots: {radius: 2.0}\n")
    assert "snapshots.radius follows probe.radius" in refusal(capsys, "fit", "--config=demo", "--config=apart.yaml")


@pytest.mark.parametrize("option", ["--llc.sgld.n_bet=3", "--prob.radius=2", "--trainer.max_step=5"])
def test_an_abbreviation_is_no_option(tmp_path, monkeypatch, capsys, option):
    monkeypatch.chdir(tmp_path)
    assert option.split("=")[0] in refusal(capsys, "fit", option)


def test_callbacks_that_only_python_can_fill_are_no_options(capsys):
    text = said(["fit", "--help", "llc"], capsys)
    assert "--llc.n_samples" in text and "--llc.loss_fn" not in text and "--llc.data" not in text


def test_help_shows_the_values_that_will_be_used(capsys):
    def shown(option: str, *argv: str) -> str:
        text = said(["fit", *argv, "--help", option.partition(".")[0]], capsys)
        return text.split(f"--{option}=")[1].split()[0]

    assert shown("llc.first_step") == "18"
    assert shown("llc.first_step", "--config", "smoke") == "100"
    assert shown("model.lr", "--config", "smoke") == "0.003"
    assert shown("probe.radius") == "1.5"


def old_run() -> dict:
    """A configuration as runs before the sections have it: their list of callbacks, with ``sgld: null``."""
    listed = [
        {"class_path": OURS + "TrainingClock"},
        {"class_path": OURS + "LogSpacedValidation", "init_args": {"steps_per_decade": 4}},
        {"class_path": OURS + "CollisionProbe", "init_args": {"radius": 1.5, "n_states": 21}},
        {"class_path": OURS + "Snapshots", "init_args": {"radius": 1.5, "steps_per_decade": 3}},
        {"class_path": OURS + "LogSpacedCheckpoint", "init_args": {"steps_per_decade": 2}},
        {
            "class_path": OURS + "LearningCoefficient",
            "init_args": {"first_step": 5, "sgld": None, "loss_fn": None, "data": None, "regions": None},
        },
        {"class_path": "pytorch_lightning.callbacks.LearningRateMonitor"},
    ]
    old = {key: value for key, value in TINY.items() if key not in MEASUREMENTS}
    return old | {"trainer": TINY["trainer"] | {"callbacks": listed}}


def test_the_list_of_an_older_run_becomes_sections(tmp_path, monkeypatch):
    cli = built(tmp_path, monkeypatch, "--trainer.logger=true", config=old_run())
    names = {kind.__name__ for kind in callbacks(cli)}
    assert names == {
        "TrainingClock", "LogSpacedValidation", "CollisionProbe", "Snapshots", "LogSpacedCheckpoint",
        "LearningCoefficient",
    }  # fmt: skip
    assert the(cli, LearningCoefficient).first_step == 5 and the(cli, CollisionProbe).n_states == 21
    assert "LearningRateMonitor" in [type(callback).__name__ for callback in cli.trainer.callbacks]


@pytest.mark.slow
def test_an_older_run_is_resumed_with_one_estimator(tmp_path):
    old = old_run()
    old["trainer"]["callbacks"].pop()  # Lightning's monitor wants a logger of its own
    old["trainer"]["callbacks"][-1]["init_args"]["sgld"] = TINY["llc"]["sgld"]
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(old))
    physim("fit", "--config=tiny.yaml", "--trainer.max_steps=3", cwd=tmp_path)
    run = only_run(tmp_path)
    (run / "config.yaml").write_text(yaml.safe_dump(old))
    physim("fit", "--ckpt_path=last", "--trainer.max_steps=6", cwd=tmp_path)
    estimates = [row["step"] for row in rows(run) if "llc/L0H0/mean" in row]
    assert estimates[0] == 3 and estimates[-1] == 6 and len(estimates) == len(set(estimates))


def test_a_second_callback_of_ours_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    twice = old_run()
    twice["trainer"]["callbacks"].append({"class_path": OURS + "CollisionProbe"})
    (tmp_path / "twice.yaml").write_text(yaml.safe_dump(twice))
    assert "has two callbacks lightning_physim.callbacks.CollisionProbe" in refusal(
        capsys, "fit", "--config=twice.yaml"
    )
    both = old_run() | {"llc": {"first_step": 3}}
    (tmp_path / "both.yaml").write_text(yaml.safe_dump(both))
    assert "has llc as a section and as a callback" in refusal(capsys, "fit", "--config=both.yaml")
    line = refusal(capsys, "fit", f"--trainer.callbacks+={OURS}LearningCoefficient")
    assert "LearningCoefficient has the section llc" in line


def test_a_section_that_is_no_section_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd.yaml").write_text("llc: 3\n")
    assert "section llc of odd.yaml holds options; got 3" in refusal(capsys, "fit", "--config=odd.yaml")
    (tmp_path / "text.yaml").write_text("just words\n")
    assert "must have sections such as model and data; got text.yaml" in refusal(capsys, "fit", "--config=text.yaml")


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_an_evaluation_without_a_checkpoint_is_refused(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert f"physim {command} needs the checkpoint" in (line := refusal(capsys, command))
    assert "--ckpt_path last" in line


def test_processes_of_a_distributed_training_read_the_same_configuration(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY | {"llc": False}))
    parent = expand(["fit", "--config=tiny.yaml", "--probe.radius=2"])
    (tmp_path / "tiny.yaml").unlink()
    child = expand(parent.words)
    assert child.words == parent.words and child.config == parent.config and child.asked_for == {"probe"}
    assert json.loads(parent.words[1].removeprefix("--config="))["llc"] == {"enabled": False}
