"""The README and the docs run."""

import re
import tomllib
import warnings
from pathlib import Path

import pytest

from lightning_physim.cli.shipped import shipped_configs

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)\n```$", text, re.M | re.S)


def test_the_quickstart_is_two_lines_that_install_with_the_constraints():
    section = README.split("\n## Quickstart\n", 1)[1].split("\n## ", 1)[0]
    run, test = blocks("bash", section)
    assert "\n" not in run and run.endswith("physim fit --config demo") and "-c constraints.txt" in run
    assert "\n" not in test and test.endswith("pytest -q") and "-c constraints.txt" in test


def test_every_configuration_named_is_shipped():
    assert set(re.findall(r"--config (\w+)", README)) <= set(shipped_configs())


MADE_BY_THE_SITE = ("gallery/", "reference/commands.md", "commands.md")  # its strict build looks them up


def links(text: str) -> list[str]:
    """Where the links and pictures of a page lead that are no addresses."""
    return [to for to in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"https?:|#", to)]


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")], ids=lambda page: page.name)
def test_links_lead_to_files_that_are_there(page):
    for to in links(page.read_text()):
        if not to.startswith(MADE_BY_THE_SITE):
            assert (page.parent / to.partition("#")[0]).exists(), to


def test_the_page_of_a_package_index_leads_nowhere_that_it_does_not_have():
    hooks = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["metadata"]["hooks"]
    page = README
    for change in hooks["fancy-pypi-readme"]["substitutions"]:
        page = re.sub(change["pattern"], change["replacement"], page)
    assert len(links(README)) > 10 and links(page) == [] and "![" not in page
    assert "(https://arxiv.org/abs/2504.11830)" in page and "All pages are in `docs/`" in page


PYTHON = [
    pytest.param(code, id=f"{page.name}: {code.splitlines()[0][:40]}")
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if page.name != "extending.md"  # its blocks run against changed copies of the package: test_extending.py
    for code in blocks("python", page.read_text())
]


@pytest.mark.parametrize("code", PYTHON)
def test_python_blocks_run(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(code, "docs", "exec"), {"__name__": "__main__"})


def test_the_estimate_in_the_docs_is_the_exact_one(tmp_path, capsys):
    (code,) = (block for block in blocks("python", (ROOT / "docs" / "llc.md").read_text()) if "exactly 5.5" in block)
    exec(compile(code, "docs", "exec"), {})
    estimate, error = map(float, re.match(r"([\d.]+) ± ([\d.]+)", capsys.readouterr().out).groups())
    assert abs(estimate - 5.5) < 4 * error and error < 0.5
