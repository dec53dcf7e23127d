"""The dashboard as code, without a server; test_wandb_online pushes it to one."""

import copy
import json
import re
import sys

import pytest

from lightning_physim.cli.main import main
from lightning_physim.keys import HEAD_TABLE, SECTIONS
from lightning_physim.llc import diagnostics
from lightning_physim.tracking import wandb_chart
from lightning_physim.tracking.wandb_dashboard import Dashboard, chart_title
from lightning_physim.tracking.wandb_service import end_service
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
    parts = [part for part in SECTIONS if part.name != "rollout_animation"]  # which the viewer shows
    added = ["Seeds, as mean and band", "Runs compared"]
    assert [section["name"] for section in sections] == [*(part.title for part in parts), *added]
    for part, section in zip(parts, sections, strict=False):
        figure, *charts = section["panels"]
        assert section["isOpen"] is True
        shown = "viewer" if part.name == "attention_map" else part.name
        assert figure["config"]["mediaKeys"] == [f"report/{shown}"]
        lines = [chart["config"] for chart in charts if chart["viewType"] == "Run History Line Plot"]
        for line, (chart, pattern) in zip(lines, part.charts(), strict=True):
            assert line["metricRegex"] == pattern
            assert line["xAxis"] == "trainer/global_step" and line["xLogScale"] is True
            assert bool(line.get("yLogScale")) is chart.log
    tables = {section["name"]: json.dumps(section["panels"]).count(HEAD_TABLE) for section in sections}
    assert [name for name, n in tables.items() if n] == [next(part.title for part in SECTIONS if part.name == "scores")]
    means = [panel["config"] for panel in sections[-2]["panels"]]
    assert [mean["metrics"] for mean in means] == [["probe/best_enrichment"], ["val/loss_colliding"]]
    assert {(mean["groupBy"], mean["groupAgg"], mean["groupArea"]) for mean in means} == {("jobType", "mean", "stddev")}
    (bands,) = [panel for section in sections for panel in section["panels"] if panel["viewType"] == "Vega2"]
    assert bands["config"]["panelDefId"] == given["chart"]["name"] == f"me/{wandb_chart.CHART}"
    filled = bands["config"]["fieldSettings"] | bands["config"]["stringSettings"]
    wanted = re.findall(r"\$\{(?:field|string):(\w+)\}", json.dumps(given["chart"]["spec"]))
    assert set(wanted) == filled.keys() and '"report/estimates"' in json.dumps(bands)
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
    assert ": null" not in json.dumps([given["workspace"], given["report"]])


def test_a_dry_run_names_every_panel_and_needs_neither_entity_nor_package(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    assert main(["dashboard", "push", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    titles = [part.title for part in SECTIONS if part.name != "rollout_animation"]
    added = ["Seeds, as mean and band", "Runs compared"]
    assert [line for line in lines if not line.startswith(" ")] == [*titles, *added]
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


def test_a_second_push_changes_nothing(wandb_server):
    from wandb_workspaces.reports.v2 import Report

    wandb_server.runs["r"] = Run("p", "r")
    end_service()
    Report(entity="tester", project="p", title="Notes of somebody").save()
    first = Dashboard("tester", "p").push()
    assert first.changed == ["chart", "report", "workspace"]
    views, charts, writes = [copy.deepcopy(wandb_server.views), dict(wandb_server.charts), wandb_server.writes()]
    second = Dashboard("tester", "p").push()
    assert second == first._replace(changed=[])
    assert (wandb_server.views, wandb_server.charts, wandb_server.writes()) == (views, charts, writes)
    # What somebody has changed there is set right.
    (workspace,) = [view for view in wandb_server.views.values() if view["type"] == "project-view"]
    workspace["spec"] = workspace["spec"].replace("R-hat, at most", "R-hat, below")
    third = Dashboard("tester", "p").push()
    elsewhere = Dashboard("tester", "q").push()  # the chart is of the user or team: it is there
    assert elsewhere.changed == ["report", "workspace"] and "not found" in elsewhere.refusal
    wandb_server.views = {name: view for name, view in wandb_server.views.items() if view["projectName"] == "p"}
    end_service()
    assert third == first._replace(changed=["workspace"]) and len(wandb_server.views) == 3
    (chart,) = wandb_server.charts.values()
    assert chart["chartName"] == wandb_chart.CHART and json.loads(chart["spec"]) == wandb_chart.SPECIFICATION
    assert f'"tester/{wandb_chart.CHART}"' in workspace["spec"] and wandb_server.unknown == []
    titles = sorted(view["displayName"] for view in wandb_server.views.values())
    assert titles == ["Emergence of collision heads", "Emergence of collision heads", "Notes of somebody"]


@pytest.mark.slow  # the client tries again and again
def test_a_server_that_is_not_there_is_told_in_one_line(no_account, monkeypatch):
    from lightning_physim.errors import InputError

    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="W&B did not take the dashboard"):
        Dashboard("me", "p").push()
