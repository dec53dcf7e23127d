"""Configurations and help of the command, as they ship."""

import subprocess
import sys
from importlib import import_module

import pytest
import yaml

import lightning_physim
from lightning_physim.cli import main
from lightning_physim.cli.configs import resolve_config
from lightning_physim.cli.main import COMMANDS
from lightning_physim.cli.measurements import MEASUREMENTS
from lightning_physim.cli.shipped import shipped_configs
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
    lines = overview.splitlines()
    assert len(lines) < 24 and max(map(len, lines)) <= 80
    assert all(any(line.startswith(f"  {name} ") for line in lines) for name in COMMANDS)
    assert "demo, large, smoke" in overview
    short = said(["fit", "--help"], capsys)
    assert len(short.splitlines()) < 60 and max(map(len, short.splitlines())) <= 90
    for option in ("--model.n_heads=4", "--config", "--runs=runs", "--threads=1", "--trainer.max_steps=10000"):
        assert f"  {option}" in short, option
    for section in ("model", "data", "trainer", *MEASUREMENTS):
        assert f"\n  {section} " in short
    assert "attention heads in a block; must divide" in said(["fit", "--help", "model"], capsys)
    text = " ".join(said(["fit", "--help", "data"], capsys).split())
    assert "--data.velocity_std=0.7" in text and "spring constant" in text and "(force/length)" in text
    assert "--trainer.gradient_clip_val" in said(["fit", "--help", "trainer"], capsys)
    assert main(["fit", "--help", "modl"]) == 2 and "--help takes one of general, model" in capsys.readouterr().err
    assert "--animate" in said(["simulate", "--help"], capsys)


@pytest.mark.parametrize(
    "argv, rule",
    [
        (["fit", "--threads=0"], "threads must be at least 1; got 0"),
        (["dance"], "got dance"),
        (["fit", '--config={"model": 3}'], "section model of --config must hold options; got '3'"),
        (["fit", "--config={trainer: 3}"], "section trainer of --config must hold options; got '3'"),
        (["fit", "--config={bad"], "a configuration must be YAML; got --config"),
        (["fit", "--config=" + 999 * "{"], "it is nested too deeply"),
        (["fit", "--data.ood={[]:1}"], "data.ood"),
        (["fit", "--trainer.precision=bf16-true"], "precision must be 32-true, 64-true or mixed"),
        (["fit", "--data.ood={'a': {1}}"], "ood split 'a' may change"),
    ],
)
def test_a_refusal_is_one_line_and_exit_code_2(argv, rule, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    assert rule in capsys.readouterr().err.splitlines()[-1]


def test_a_configuration_on_the_command_line_is_json_or_yaml(capsys):
    for config in ('{"model": {"lr": 0.125}, "llc": false}', "{model: {lr: 0.125}, llc: false}"):
        parsed = yaml.safe_load(said(["fit", f"--config={config}", "--print_config"], capsys))
        assert parsed["model"]["lr"] == 0.125 and not parsed["llc"]["enabled"]


def test_reports_need_nothing_that_windows_lacks():
    lacks = "import os, sys; sys.modules['fcntl'] = None; del os.sysconf"
    script = (
        f"{lacks}; import lightning_physim.cli.report; from lightning_physim.data.ahead import outgrows_memory as f"
    )
    subprocess.run([sys.executable, "-c", f"{script}; assert not f(2**60)"], check=True)


def test_every_command_is_there_and_named_where_one_is_mistyped(capsys):
    for name, command in COMMANDS.items():
        module = import_module(f"lightning_physim.cli.{command.module}")
        assert callable(getattr(module, command.function)), name
    assert main(["dance"]) == 2
    line = capsys.readouterr().err
    assert all(name in line for name in COMMANDS) and "got dance" in line


@pytest.mark.parametrize(
    "code", ["import lightning_physim.physics", "from lightning_physim.cli import main; main(['-h'])"]
)
def test_the_simulator_and_the_help_load_no_torch(code):
    heavy = ("torch", "pytorch_lightning", "wandb", "plotly", "pandas")
    script = f"{code}\nimport sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_package_lists_its_api():
    import lightning_physim

    for name in lightning_physim.__all__:
        assert getattr(lightning_physim, name).__name__ == name and name in dir(lightning_physim)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = lightning_physim.nothing


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == lightning_physim.__version__


@pytest.mark.parametrize("typed, meant", [("ft", "fit"), ("simulat", "simulate"), ("reprot", "report")])
def test_a_mistyped_command_is_told_what_was_meant(typed, meant, capsys):
    assert main([typed]) == 2
    assert capsys.readouterr().err.strip().endswith(f"; got {typed}: type physim {meant}")


@pytest.mark.parametrize(
    "argv, meant",
    [
        (["fit", "--model.nheads=3"], "--model.n_heads"),
        (["sweep", "x.yaml", "--cuont", "3"], "--count"),
        (["simulate", "--spli", "val"], "--split"),
        (["reproduce", "--sead", "3"], "--seeds"),
        (["report", "last", "--ouput", "x"], "--output"),
        (["dashboard", "push", "--dryrun"], "--dry_run"),
    ],
)
def test_a_mistyped_option_is_told_what_was_meant(argv, meant, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    line = capsys.readouterr().err.strip()
    assert line.startswith("physim: no such option: --") and line.endswith(f": type {meant}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("option", "taken"),
    [
        ("--model.lr=abc", "a number; got abc"),
        ("--llc.sgld.target_mcse=foo", "a number or null; got foo"),
        ("--model.norm=foo", "layer or rms or none; got foo"),
    ],
)
def test_a_value_that_an_option_does_not_take_is_told_in_words(option, taken, capsys):
    assert main(["fit", option]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"physim: {option.partition('=')[0]} takes {taken}"
