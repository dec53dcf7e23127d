"""A project's dashboard in Weights & Biases, as code: a workspace, a report and a chart, made or brought up to date.

Both follow :data:`lightning_physim.keys.SECTIONS`, which orders the HTML report too. Needs ``wandb-workspaces``.
"""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning_physim import keys
from lightning_physim.errors import InputError
from lightning_physim.keys import HEAD_TABLE, SECTIONS, STEP, Chart, Section
from lightning_physim.llc.diagnostics import LIMITS
from lightning_physim.tracking.wandb_chart import CHART, SPECIFICATION, TITLE_STRING

if TYPE_CHECKING:
    from wandb import Api
    from wandb_workspaces.reports.v2 import Report
    from wandb_workspaces.workspaces import Workspace

TITLE = "Emergence of collision heads"
VIEW = "physimemergence"
"""Name of the workspace in its address, by which a second push finds it."""
OBJECTIVE = keys.VAL_LOSS_COLLIDING
OUTCOMES = (
    ("Strongest head and loss on colliding particles", keys.BEST_ENRICHMENT),
    ("Directions that count in the model and loss on colliding particles", keys.D_EFF_10.of(region=keys.MODEL)),
)
"""Scatter plots over the runs, against :data:`OBJECTIVE`."""
MEANS = (("Strongest head", keys.BEST_ENRICHMENT), ("Loss on colliding particles", keys.VAL_LOSS_COLLIDING))
"""What is averaged over the runs of a job type."""
MEANS_TITLE, COMPARISON_TITLE = "Seeds, as mean and band", "Runs compared"
BANDS = "Learning coefficients, with two standard errors either way"
MAX_RUNS = 100
"""That a mean is taken over."""
PARAMETERS = (
    "seed_everything",
    "model.n_layers",
    "model.n_heads",
    "model.d_model",
    "model.attend_self",
    "model.lr",
    "data.system.n_particles",
    "data.system.restitution",
    "data.system.stiffness",
    "data.system.interval",
)
"""What the shipped sweeps vary, as runs call it in their configuration."""


class Pushed(NamedTuple):
    """What a push has done.

    Args:
        workspace, report: their addresses.
        changed: what was sent: ``chart``, ``report``, ``workspace``.
        refusal: why W&B did not store the chart; empty where it did, or has it.
    """

    workspace: str
    report: str
    changed: list[str]
    refusal: str = ""


@dataclass(frozen=True)
class Dashboard:
    """The dashboard of one project.

    Args:
        entity: W&B user or team.
        project: name of the project.

    Raises:
        InputError: ``wandb-workspaces`` is not installed, or a name is empty or holds a slash.
    """

    entity: str
    project: str

    def __post_init__(self) -> None:
        for option, value in (("entity", self.entity), ("project", self.project)):
            if not value or "/" in value:
                raise InputError(f"--{option} is the name of a W&B {option}, without a slash; got {value!r}")
        try:
            import wandb_workspaces  # noqa: F401
        except ImportError:
            raise InputError(
                "dashboards need wandb-workspaces; type `pip install 'lightning_physim[dashboard]'`"
            ) from None

    def workspace(self) -> "Workspace":
        """Every section of a page, one of means over seeds, and one that compares the runs of sweeps."""
        import wandb_workspaces.workspaces as ws

        sections = [ws.Section(name=title, panels=panels, is_open=True) for title, panels in self._content()]
        return ws.Workspace(
            entity=self.entity,
            project=self.project,
            name=TITLE,
            sections=sections,
            settings=ws.WorkspaceSettings(x_axis=STEP, max_runs=20),
        )

    def report(self) -> "Report":
        """The same panels, with a heading each."""
        import wandb_workspaces.reports.v2 as wr

        blocks: list[Any] = [wr.TableOfContents()]
        for title, panels in self._content():
            # A run set without names is that of the report's own project, and needs no look at the server.
            blocks += [wr.H2(text=title), wr.PanelGrid(runsets=[wr.Runset()], panels=panels)]
        return wr.Report(
            entity=self.entity,
            project=self.project,
            title=TITLE,
            description="Which attention heads come to detect collisions, when, and what else happens to them then.",
            width="fluid",
            blocks=blocks,
        )

    def _content(self) -> list[tuple[str, list[Any]]]:
        """Titles and panels."""
        own = [(part.title, self._panels(part)) for part in _sections()]
        return [*own, (MEANS_TITLE, _means()), (COMPARISON_TITLE, _comparison())]

    def specification(self) -> dict[str, Any]:
        """What would be sent, as JSON: ``{"workspace": ..., "report": ..., "chart": ...}``."""
        return {
            "workspace": _specification(self.workspace()),
            "report": _specification(self.report()),
            "chart": {"name": self.chart, "spec": SPECIFICATION},
        }

    def push(self) -> Pushed:
        """Make chart, workspace and report, or replace those that an earlier push has made and that differ.

        Raises:
            InputError: no API key is configured, or W&B refuses or does not answer.
        """
        import wandb
        from wandb.sdk.lib.service.service_connection import WandbApiFailedError

        if not wandb.login(prompt=False, verify=False):
            raise InputError("a dashboard needs a W&B account; type `wandb login`, or --dry-run to see what it is")
        try:
            api = wandb.Api()
            workspace, report = self.workspace(), self.report()
            old_workspace, old_report = self._old_workspace(), self._old_report(api)
            changed, refusal = [], ""
            if old_workspace is None or self.chart not in json.dumps(_specification(old_workspace)):
                try:
                    api.create_custom_chart(self.entity, CHART, "Error bands", "vega2", "private", SPECIFICATION)
                    changed.append("chart")
                except (wandb.Error, WandbApiFailedError) as error:  # it may be there, from another project
                    refusal = " ".join(str(error).split())[:200]
            if old_report is not None:
                report.id = old_report.id
            if old_report is None or not _same(old_report, report):
                report.save()  # makes the project too, where there is none
                changed.append("report")
            workspace._internal_name = f"nw-{VIEW}-v"
            workspace._internal_id = "" if old_workspace is None else old_workspace._internal_id
            if old_workspace is None or not _same(old_workspace, workspace):
                workspace.save()
                changed.append("workspace")
        except (wandb.Error, WandbApiFailedError, OSError) as error:
            raise InputError(f"W&B did not take the dashboard: {error}") from error
        return Pushed(str(workspace.url), str(report.url), changed, refusal)

    @property
    def chart(self) -> str:
        """The name of the chart of error bands, as panels give it."""
        return f"{self.entity}/{CHART}"

    def _old_workspace(self) -> "Workspace | None":
        """What an earlier push has made."""
        import wandb_workspaces.workspaces as ws

        try:
            return ws.Workspace.from_url(f"https://wandb.ai/{self.entity}/{self.project}?nw={VIEW}")
        except ValueError:  # what it raises where it finds nothing
            return None

    def _old_report(self, api: "Api") -> "Report | None":
        """What an earlier push has made."""
        import wandb_workspaces.reports.v2 as wr

        if self.project not in {project.name for project in api.projects(self.entity)}:
            return None
        found = [old for old in api.reports(f"{self.entity}/{self.project}") if old.display_name == TITLE]
        return wr.Report.from_url(str(found[0].url)) if found else None

    def _panels(self, section: Section) -> list[Any]:
        """Our own figure first, then the curves as W&B draws them, run beside run."""
        import wandb_workspaces.reports.v2 as wr

        figure = wr.MediaBrowser(
            title=section.title, media_keys=[_figure(section)], mode="gallery", gallery_axis="step"
        )
        charts = [
            wr.LinePlot(title=chart_title(chart), x=STEP, metric_regex=pattern, log_x=True, log_y=chart.log)
            for chart, pattern in section.charts()
        ]
        more = []
        if section.name == "scores":
            more.append(wr.WeavePanelSummaryTable(table_name=HEAD_TABLE))
        if section.name == "llc":
            bands = wr.CustomChart.from_table(
                keys.ESTIMATE_TABLE,
                chart_fields={name: name for name in keys.ESTIMATE_COLUMNS},
                chart_strings={TITLE_STRING: BANDS},
            )
            bands.chart_name = self.chart
            more.append(bands)
        return [figure, *charts, *more]


def _sections() -> list[Section]:
    """Those of the page of a run. What the viewer shows has one."""
    viewed = [section for section in SECTIONS if section.viewed]
    return [section for section in SECTIONS if section not in viewed[1:]]


def outline() -> list[str]:
    """Sections and the titles of their panels, a line each, as :meth:`Dashboard.workspace` has them."""
    lines = []
    for section in _sections():
        more = {"scores": [HEAD_TABLE], "llc": [BANDS]}.get(section.name, [])
        charts = [chart_title(chart) for chart, _ in section.charts()]
        lines += [section.title, *(f"  {title}" for title in (f"figure {_figure(section)}", *charts, *more))]
    titles = ["Parameters and outcome", f"Importance of parameters for {OBJECTIVE}", *(t for t, _ in OUTCOMES), "Runs"]
    more_sections = {MEANS_TITLE: [title for title, _ in MEANS], COMPARISON_TITLE: titles}
    return [*lines, *(line for name, shown in more_sections.items() for line in (name, *(f"  {t}" for t in shown)))]


def _figure(section: Section) -> str:
    """The key of a section's own figure."""
    return keys.VIEWER if section.viewed else section.key


def _specification(made: "Workspace | Report") -> dict[str, Any]:
    return made._to_model().spec.model_dump(mode="json", by_alias=True, exclude_none=True)


def _same(old: "Workspace | Report", new: "Workspace | Report") -> bool:
    """Whether both show the same, less the ids that are drawn anew and the width, which is not read back."""

    def shown(spec: Any) -> Any:
        if isinstance(spec, dict):
            return {key: shown(value) for key, value in spec.items() if key not in ("__id__", "id", "width")}
        return [shown(value) for value in spec] if isinstance(spec, list) else spec

    return shown(_specification(old)) == shown(_specification(new))


def chart_title(chart: Chart) -> str:
    """The title of a chart, with what an estimate is asked for where it shows a diagnostic: ``R-hat, at most 1.1``."""
    limits = {LIMITS[name] for name, key in keys.LLC.items() if chart in key.charts and name in LIMITS}
    return ", ".join([chart.title, *limits])


def _means() -> list[Any]:
    """The mean over the runs of a job type, and a standard deviation either way."""
    import wandb_workspaces.reports.v2 as wr

    return [
        wr.LinePlot(
            title=title,
            x=STEP,
            y=[key],
            log_x=True,
            log_y=True,
            groupby="JobType",
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
            max_runs_to_show=MAX_RUNS,
        )
        for title, key in MEANS
    ]


def _comparison() -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    columns = [wr.ParallelCoordinatesPlotColumn(metric=wr.Config(name)) for name in PARAMETERS]
    outcome = wr.SummaryMetric(OBJECTIVE)
    return [
        wr.ParallelCoordinatesPlot(
            title="Parameters and outcome", columns=[*columns, wr.ParallelCoordinatesPlotColumn(metric=outcome)]
        ),
        wr.ParameterImportancePlot(with_respect_to=OBJECTIVE),
        *(
            wr.ScatterPlot(title=title, x=wr.SummaryMetric(key), y=outcome, log_y=True, regression=True)
            for title, key in OUTCOMES
        ),
        wr.RunComparer(diff_only="split"),
    ]
