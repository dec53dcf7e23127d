"""The report of a sweep: its trials side by side, in one HTML file."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from lightning_physim.report.figures import (
    DASHES,
    HUES,
    Metrics,
    _add_line,
    _figure,
    _left_edge,
    _log_step_axis,
    _shift,
)
from lightning_physim.report.page import plot_html, write_page
from lightning_physim.report.sampler_figures import _cell, _grid
from lightning_physim.report.summary import last
from lightning_physim.tracking import RunDirectory, read_metrics
from lightning_physim.tracking.wandb import _dotted

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLUMNS = (
    ("val/loss", "loss"),
    ("val/loss_colliding", "loss, colliding"),
    ("probe/best_enrichment", "best head, × uniform"),
)
"""What the table tells of every trial beside the sweep's metric, where it was logged."""
OVERLAYS = {
    "val/loss": (
        "What they have learned",
        "mean squared error, standardised",
        "Error of one predicted interval on held-out data; 1 is free flight. <i>Do not believe</i> differences between "
        "trials with different data: each has its own floors, which its own report shows.",
    ),
    "probe/best_enrichment": (
        "Best head of each",
        "enrichment of the best head",
        "Attention to near particles over that of a head that attends to all alike, for whichever head is best at the "
        "step. <i>Do not believe</i> one trial per setting: seeds differ too (sweeps/seeds.yaml).",
    ),
}


@dataclass(frozen=True)
class Result:
    """A trial with what it logged; ``values`` are the parameters that the sweep varies."""

    row: Mapping[str, Any]
    values: Mapping[str, Any]
    metrics: Metrics

    @property
    def name(self) -> str:
        return f"trial {self.row['trial']}"

    @property
    def metric(self) -> float:
        """The last value of the sweep's metric, NaN where there is none."""
        return float("nan") if self.row["metric"] is None else float(self.row["metric"])

    @property
    def style(self) -> tuple[str, str]:
        """Colour and dash."""
        index = int(self.row["trial"])
        return HUES[index % len(HUES)], DASHES[index // len(HUES) % len(DASHES)]


def write_comparison(folder: str | Path, sweep: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write ``report.html`` of a sweep, finished or not.

    Args:
        folder: of the sweep, beside the run directories of its trials.
        sweep: content of its file.
        rows: ``trial``, ``parameters``, ``run_id``, ``state`` and ``metric`` of each trial.

    Returns:
        The file.
    """
    folder = Path(folder)
    metric, goal = sweep["metric"]["name"], sweep["metric"].get("goal", "minimize")
    points = [_dotted(row["parameters"]) for row in rows]
    varied = [name for name in points[0] if len({str(point[name]) for point in points}) > 1] if points else []
    results = [
        Result(row, {name: point[name] for name in varied}, _metrics(folder.parent / row["run_id"]))
        for row, point in zip(rows, points, strict=True)
    ]
    states = [row["state"] for row in rows]
    counts = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    return write_page(
        folder / "report.html",
        title=folder.resolve().name,
        facts=[str(sweep[key]) for key in ("description",) if key in sweep] + counts,
        headline=_headline(results, metric, goal),
        sections=_sections(results, varied, metric),
        config=yaml.safe_dump(dict(sweep), sort_keys=False),
    )


def metric_figure(results: Sequence[Result], varied: Sequence[str], metric: str) -> "Figure":
    """The metric against each varied parameter, a panel per parameter and a point per trial."""
    figure = _grid(list(varied), 190, "")
    for i, name in enumerate(varied):
        row, col = _cell(i)
        given = [result.values[name] for result in results]
        numeric = all(isinstance(x, int | float) and not isinstance(x, bool) for x in given)
        figure.add_scatter(
            x=given if numeric else [str(x) for x in given],
            y=[result.metric if math.isfinite(result.metric) else None for result in results],
            mode="markers",
            marker={"size": 9, "color": [result.style[0] for result in results]},
            text=[result.name for result in results],
            hovertemplate="%{x}: %{y:.4~g}<extra>%{text}</extra>",
            showlegend=False,
            row=row,
            col=col,
        )
        if not numeric:
            figure.update_xaxes(type="category", row=row, col=col)
        elif min(given) > 0 and max(given) >= 8 * min(given):
            figure.update_xaxes(type="log", dtick="D2", row=row, col=col)
    figure.update_yaxes(title={"text": metric, "standoff": 6, "font": {"size": 13}}, col=1)
    return figure


def overlay_figure(results: Sequence[Result], key: str, y_title: str) -> "Figure":
    """One line per trial against training step, both axes logarithmic."""
    figure = _figure("training step", y_title)
    shown = [result for result in results if key in result.metrics]
    curves = [result.metrics[key] for result in shown]
    edge = _left_edge(curves)
    for result, (steps, values) in zip(shown, curves, strict=True):
        _add_line(figure, _shift(steps, edge), values, result.name, *result.style)
    _log_step_axis(figure, curves, edge)
    figure.update_yaxes(type="log", tickformat="~g", dtick="D2")
    return figure


def _sections(results: Sequence[Result], varied: Sequence[str], metric: str) -> Iterator[str]:
    yield f"<section><h2>Trials</h2>{_table(results, varied, metric)}</section>"
    for key, (title, y_title, caption) in OVERLAYS.items():
        if any(key in result.metrics for result in results):
            plot = plot_html(key.replace("/", "-"), overlay_figure(results, key, y_title), caption)
            yield f"<section><h2>{title}</h2>{plot}</section>"
    if varied and any(math.isfinite(result.metric) for result in results):
        caption = "The last value of the metric, a point per trial in the colour of its line above."
        plot = plot_html("metric", metric_figure(results, varied, metric), caption)
        yield f"<section><h2>What it depends on</h2>{plot}</section>"


def _table(results: Sequence[Result], varied: Sequence[str], metric: str) -> str:
    keys = [(key, name) for key, name in COLUMNS if key != metric and any(key in r.metrics for r in results)]
    header = ["trial", *varied, metric, *(name for _, name in keys), "state"]
    lines = ["".join(f"<th>{escape(name)}</th>" for name in header)]
    for result in results:
        name = escape(result.name)
        if result.metrics:
            name = f'<a href="../{escape(result.row["run_id"])}/report.html">{name}</a>'
        numbers = [result.metric, *(last(result.metrics, key) for key, _ in keys)]
        shown = [f"{number:.4g}" if math.isfinite(number) else "–" for number in numbers]
        cells = [*(_text(result.values[name]) for name in varied), *shown, str(result.row["state"])]
        lines.append("".join(f"<td>{cell}</td>" for cell in (name, *map(escape, cells))))
    return f'<div class="scroll"><table>{"".join(f"<tr>{line}</tr>" for line in lines)}</table></div>'


def _headline(results: Sequence[Result], metric: str, goal: str) -> str:
    found = [result for result in results if math.isfinite(result.metric)]
    if not found:
        return "Nothing has been measured yet."
    values = np.array([result.metric for result in found])
    best = found[int(values.argmin() if goal == "minimize" else values.argmax())]
    which = ", ".join(f"{name} {_text(value)}" for name, value in best.values.items())
    sentence = f"{best.name.capitalize()} has the best {metric}, {best.metric:.3g}"
    if len(found) > 1:
        sentence += f" of {values.min():.3g} to {values.max():.3g} in {len(found)} trials"
    return f"{sentence}{f', with {which}' if which else ''}."


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _metrics(path: Path) -> Metrics:
    run = RunDirectory(path)
    return read_metrics(run.metrics) if run.metrics.is_file() else {}
