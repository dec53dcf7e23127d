"""A project's dashboard in Weights & Biases, as code: one workspace and one report, made or brought up to date.

Both follow :data:`lightning_physim.keys.SECTIONS`, which orders the HTML report too. Needs ``wandb-workspaces``.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_physim import keys
from lightning_physim.errors import InputError
from lightning_physim.keys import HEAD_TABLE, SECTIONS, STEP, Chart, Section
from lightning_physim.llc.diagnostics import LIMITS

if TYPE_CHECKING:
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
        """Every section of a page, and one that compares the runs of sweeps."""
        import wandb_workspaces.workspaces as ws

        sections = [ws.Section(name=part.title, panels=_panels(part), is_open=True) for part in SECTIONS]
        sections.append(ws.Section(name="Runs compared", panels=_comparison(), is_open=True))
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
        for title, panels in [(part.title, _panels(part)) for part in SECTIONS] + [("Runs compared", _comparison())]:
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

    def specification(self) -> dict[str, Any]:
        """What would be sent, as JSON: ``{"workspace": ..., "report": ...}``."""
        return {
            "workspace": self.workspace()._to_model().spec.model_dump(mode="json", by_alias=True, exclude_none=True),
            "report": self.report()._to_model().spec.model_dump(mode="json", by_alias=True, exclude_none=True),
        }

    def push(self) -> tuple[str, str]:
        """Make workspace and report, or replace the panels of those that an earlier push has made.

        Returns:
            Their addresses.

        Raises:
            InputError: no API key is configured, or W&B refuses or does not answer.
        """
        import wandb
        from wandb.sdk.lib.service.service_connection import WandbApiFailedError

        if not wandb.login(prompt=False, verify=False):
            raise InputError("a dashboard needs a W&B account; type `wandb login`, or --dry-run to see what it is")
        try:
            api = wandb.Api()
            report = self.report()
            if self.project in {project.name for project in api.projects(self.entity)}:
                found = [old for old in api.reports(f"{self.entity}/{self.project}") if old.display_name == TITLE]
                report.id = found[0].id if found else report.id
            report.save()  # makes the project too, where there is none
            workspace = self.workspace()
            workspace._internal_name, workspace._internal_id = f"nw-{VIEW}-v", self._workspace_id()
            workspace.save()
        except (wandb.Error, WandbApiFailedError, OSError) as error:
            raise InputError(f"W&B did not take the dashboard: {error}") from error
        return str(workspace.url), str(report.url)

    def _workspace_id(self) -> str:
        """Of the workspace that an earlier push has made; empty where there is none."""
        import wandb_workspaces.workspaces as ws

        try:
            found = ws.Workspace.from_url(f"https://wandb.ai/{self.entity}/{self.project}?nw={VIEW}")
        except ValueError:  # what it raises where it finds nothing
            return ""
        return found._internal_id


def outline() -> list[str]:
    """Sections and the titles of their panels, a line each, as :meth:`Dashboard.workspace` has them."""
    lines = []
    for section in SECTIONS:
        charts = [chart_title(chart) for chart, _ in section.charts()]
        table = [HEAD_TABLE] if section.name == "scores" else []
        lines += [section.title, *(f"  {title}" for title in (f"figure {section.key}", *charts, *table))]
    titles = ["Parameters and outcome", f"Importance of parameters for {OBJECTIVE}", *(t for t, _ in OUTCOMES), "Runs"]
    return [*lines, "Runs compared", *(f"  {title}" for title in titles)]


def _panels(section: Section) -> list[Any]:
    """Our own figure first, then the curves as W&B draws them, run beside run."""
    import wandb_workspaces.reports.v2 as wr

    figure = wr.MediaBrowser(title=section.title, media_keys=[section.key], mode="gallery", gallery_axis="step")
    charts = [
        wr.LinePlot(title=chart_title(chart), x=STEP, metric_regex=pattern, log_x=True, log_y=chart.log)
        for chart, pattern in section.charts()
    ]
    table = [wr.WeavePanelSummaryTable(table_name=HEAD_TABLE)] if section.name == "scores" else []
    return [figure, *charts, *table]


def chart_title(chart: Chart) -> str:
    """The title of a chart, with what an estimate is asked for where it shows a diagnostic: ``R-hat, at most 1.1``."""
    limits = {LIMITS[name] for name, key in keys.LLC.items() if chart in key.charts and name in LIMITS}
    return ", ".join([chart.title, *limits])


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
