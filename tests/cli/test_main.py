"""Configurations and help of the command, as they ship."""

import pytest
import yaml

from lightning_physim.cli import main
from lightning_physim.cli.configs import resolve_config, shipped_configs
from lightning_physim.cli.measurements import MEASUREMENTS
from lightning_physim.errors import InputError
from tests.helpers.fits import said


def test_the_shipped_configurations_are_these():
    assert shipped_configs() == ["demo", "large", "smoke"]


@pytest.mark.parametrize("name", shipped_configs())
def test_every_shipped_configuration_parses_and_options_win_over_it(name, capsys):
    written = yaml.safe_load(resolve_config(name).read_text())
    parsed = yaml.safe_load(said(["fit", "--model.lr=0.125", "--config", name, "--print_config"], capsys))
    assert parsed["model"]["lr"] == 0.125
    assert parsed["model"]["n_layers"] == written["model"]["n_layers"]
    assert parsed["data"]["system"]["radius"] == written["data"]["system"]["radius"]
    assert all(parsed[section]["enabled"] for section in MEASUREMENTS)


def test_a_file_wins_over_a_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").write_text("model: {}\n")
    assert resolve_config("demo").read_text() == "model: {}\n"
    with pytest.raises(InputError, match="--config takes a file or one of demo, large, smoke; got nosuch"):
        resolve_config("nosuch")


def test_without_a_configuration_fit_is_the_demo(capsys):
    parsed = yaml.safe_load(said(["fit", "--print_config"], capsys))
    assert parsed["trainer"]["max_steps"] == 10_000 and parsed["data"]["batch_size"] == 128


def test_help_tells_commands_options_units_and_defaults(capsys):
    assert main(["--help"]) == 0
    overview = capsys.readouterr().out
    assert (
        all(f"physim {command}" in overview for command in ("fit", "simulate", "sweep", "report"))
        and "demo" in overview
    )
    text = " ".join(said(["fit", "--help"], capsys).split())
    for option in ("--model.n_heads", "--data.system.stiffness", "--data.velocity_std", "--runs", "--threads"):
        assert option in text, option
    assert "attention heads in a block; must divide" in text
    assert "spring constant" in text and "(force/length)" in text
    assert "--animate" in said(["simulate", "--help"], capsys)


@pytest.mark.parametrize(
    "argv, rule", [(["fit", "--threads=0"], "threads must be at least 1; got 0"), (["dance"], "got dance")]
)
def test_a_refusal_is_one_line_and_exit_code_2(argv, rule, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    assert rule in capsys.readouterr().err.splitlines()[-1]
