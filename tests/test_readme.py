"""The README runs."""

import re
import warnings
from pathlib import Path

import pytest

from lightning_physim.cli.configs import shipped_configs

README = (Path(__file__).parents[1] / "README.md").read_text()


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)\n```$", text, re.M | re.S)


def test_the_quickstart_is_two_lines_that_install_with_the_constraints():
    section = README.split("\n## Quickstart\n", 1)[1].split("\n## ", 1)[0]
    run, test = blocks("bash", section)
    assert "\n" not in run and run.endswith("physim fit --config demo") and "-c constraints.txt" in run
    assert "\n" not in test and test.endswith("pytest -q") and "-c constraints.txt" in test


def test_every_configuration_named_is_shipped():
    assert set(re.findall(r"--config (\w+)", README)) <= set(shipped_configs())


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.split("\n")[0][:40])
def test_python_blocks_run(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(code, "README.md", "exec"), {})
