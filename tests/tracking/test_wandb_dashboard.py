"""The dashboard as code, without a server; test_wandb_online pushes it to one."""

import json
import sys

import pytest
import wandb

from lightning_physim.cli.main import main
from lightning_physim.keys import HEAD_TABLE, SECTIONS
from lightning_physim.llc import diagnostics
from lightning_physim.tracking.wandb_dashboard import Dashboard, chart_title
from tests.helpers.wandb_server import Run


@pytest.fixture
def no_account(tmp_path, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))


def test_a_dry_run_prints_the_specification_without_account_or_network(no_account, capsys):
    assert main(["dashboard", "push", "--entity", "me", "--project", "p", "--dry-run", "--json"]) == 0
    given = json.loads(capsys.readouterr().out)
    sections = given["workspace"]["section"]["panelBankConfig"]["sections"]
    assert [section["name"] for section in sections] == [*(part.title for part in SECTIONS), "Runs compared"]
    for part, section in zip(SECTIONS, sections, strict=False):
        figure, *charts = section["panels"]
        assert section["isOpen"] is True
        assert figure["config"]["mediaKeys"] == [f"report/{part.name}"]
        lines = [chart["config"] for chart in charts if chart["viewType"] == "Run History Line Plot"]
        for line, (chart, pattern) in zip(lines, part.charts(), strict=True):
            assert line["metricRegex"] == pattern
            assert line["xAxis"] == "trainer/global_step" and line["xLogScale"] is True
            assert bool(line.get("yLogScale")) is chart.log
    tables = {section["name"]: json.dumps(section["panels"]).count(HEAD_TABLE) for section in sections}
    assert [name for name, n in tables.items() if n] == [next(part.title for part in SECTIONS if part.name == "scores")]
    scatters = [panel["config"] for panel in sections[-1]["panels"] if panel["viewType"] == "Scatter Plot"]
    assert len(scatters) == 2 and all(each["showLinearRegression"] and each["yAxisLogScale"] for each in scatters)
    assert sections[-1]["isOpen"] is True
    settings = given["workspace"]["section"]["settings"]
    assert (settings["xAxis"], settings["maxRuns"]) == ("trainer/global_step", 20)
    headings = [block for block in given["report"]["blocks"] if block["type"] == "heading"]
    assert [heading["children"][0]["text"] for heading in headings] == [section["name"] for section in sections]
    # The report shows the same panels, in the spelling that W&B takes.
    grids = [block["metadata"] for block in given["report"]["blocks"] if "metadata" in block]
    grids = [grid["panelBankSectionConfig"]["panels"] for grid in grids]
    assert [unnumbered(panels) for panels in grids] == [unnumbered(section["panels"]) for section in sections]
    assert ": null" not in json.dumps(given)


def test_a_dry_run_names_every_panel_and_needs_neither_entity_nor_package(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    assert main(["dashboard", "push", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [*(part.title for part in SECTIONS), "Runs compared"]
    monkeypatch.undo()
    sections = Dashboard("me", "p").workspace().sections
    assert len(lines) == len(sections) + sum(len(section.panels) for section in sections)
    titles = [panel.title for section in sections for panel in section.panels if type(panel).__name__ == "LinePlot"]
    assert titles and not {f"  {title}" for title in titles} - {*lines}


def unnumbered(panels: list[dict]) -> list[tuple]:
    """Panels without the ids that are drawn anew and the places that W&B gives them."""
    return [(panel["viewType"], panel["config"]) for panel in panels]


def test_a_chart_of_a_diagnostic_says_what_an_estimate_is_asked_for():
    titles = [chart_title(chart) for section in SECTIONS for chart, _ in section.charts()]
    assert f"R-hat, at most {diagnostics.MAX_RHAT:g}" in titles
    assert f"Effective sample size, at least {diagnostics.MIN_ESS:g}" in titles
    assert "Training loss" in titles


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--entity is the name of a W&B entity"),
        (["--entity", "me/p"], "without a slash; got 'me/p'"),
        (["--entity", "me", "--project", ""], "--project is the name of a W&B project"),
        (["--entity", "me"], "a dashboard needs a W&B account; type `wandb login`"),
    ],
)
def test_what_is_refused(no_account, capsys, arguments, words):
    assert main(["dashboard", "push", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert words in error and error.startswith("physim: ") and "\n" not in error


def test_a_second_push_replaces_what_the_first_has_made(wandb_server):
    from wandb_workspaces.reports.v2 import Report

    wandb_server.runs["r"] = Run("p", "r")
    wandb.teardown()
    Report(entity="tester", project="p", title="Notes of somebody").save()
    pushed = [Dashboard("tester", "p").push() for _ in range(2)]
    wandb.teardown()
    assert pushed[0] == pushed[1]
    titles = sorted(view["displayName"] for view in wandb_server.views.values())
    assert titles == ["Emergence of collision heads", "Emergence of collision heads", "Notes of somebody"]


@pytest.mark.slow  # the client tries again and again
def test_a_server_that_is_not_there_is_told_in_one_line(no_account, monkeypatch):
    from lightning_physim.errors import InputError

    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="W&B did not take the dashboard"):
        Dashboard("me", "p").push()
