"""Learning coefficients against training step, beside the scores of the heads that they belong to.

An estimate that failed its diagnostics is a hollow marker. One so far off that an axis for it would flatten all others
stands at the edge of its panel as a hollow triangle, and one without a finite value as a cross; hovering tells both.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_physim import keys
from lightning_physim.curves import ONSET, Metrics, first_step, head_curves, is_collision_head
from lightning_physim.keys import is_head
from lightning_physim.llc import diagnose, is_far_off
from lightning_physim.report.curve_figures import (
    FAINT,
    HUES,
    INK,
    PAPER,
    add_line,
    head_style,
    left_edge,
    log_step_axis,
    shift_steps,
    style_figure,
)

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@dataclass(frozen=True)
class Estimates:
    """Estimates along one line of a figure.

    Attributes:
        x: training step, or step size of the sampler.
        mean, mcse: NaN and 0 where there is none.
        believed: passed the diagnostics.
        plausible: of the right size at least: failed none, or not by much.
        hover: what is to be read at each.
    """

    x: np.ndarray
    mean: np.ndarray
    mcse: np.ndarray
    believed: np.ndarray
    plausible: np.ndarray
    hover: list[str]

    @classmethod
    def of(cls, x: Iterable[float], rows: Iterable[Mapping[str, Any]], titles: Iterable[str]) -> "Estimates":
        """From rows of ``mean``, ``mcse``, diagnostics and ``converged``; what is missing or None counts as NaN."""
        numbers = [{key: _number(value) for key, value in row.items()} for row in rows]
        mean, mcse, converged = (
            np.array([row.get(key, np.nan) for row in numbers]) for key in ("mean", "mcse", "converged")
        )
        believed = np.isfinite(mean) & (converged != 0)
        return cls(
            x=np.array(list(x), dtype=float),
            mean=mean,
            mcse=np.where(np.isfinite(mcse), mcse, 0.0),
            believed=believed,
            plausible=believed | np.isfinite(mean) & ~np.array([is_far_off(row) for row in numbers], dtype=bool),
            hover=[_hover(title, row) for title, row in zip(titles, numbers, strict=True)],
        )

    def within(self, limits: tuple[float, float]) -> np.ndarray:
        """The means, NaN where one is beyond the axis."""
        return np.where((self.mean >= limits[0]) & (self.mean <= limits[1]), self.mean, np.nan)


def regions(metrics: Metrics) -> list[str]:
    """Regions with estimates: the model, then heads in the order of the scores, then the rest by their last value."""
    found = {region: curve for key, curve in metrics.items() if (region := keys.LLC_MEAN.match(key))}
    scored = list(head_curves(metrics, keys.ENRICHMENT))

    def order(region: str) -> tuple[int, float]:
        if region in scored:
            return 1, scored.index(region)
        return (0, 0.0) if region == "model" else (2, -np.nan_to_num(found[region][1][-1], nan=-np.inf))

    return sorted(found, key=order)


def region_style(region: str, among: Iterable[str]) -> tuple[str, str]:
    """Colour and dash of a region: a head has its own, the model that of ink, other parts the hues in turn."""
    if region == "model" or is_head(region):
        return (INK, "solid") if region == "model" else head_style(region)
    others = sorted(name for name in among if name != "model" and not is_head(name))
    return HUES[others.index(region) % len(HUES)], "solid"


def llc_figure(metrics: Metrics) -> "Figure":
    """Learning coefficients beside scores, in panels over one axis of training steps.

    From above: enrichment of the heads that have estimates, their learning coefficients, and that of the whole model,
    which is several times larger; a panel without data is left out. Bands are two standard errors either way. A
    dotted vertical, in the colour of a collision head, is where its enrichment passed :data:`summary.ONSET`.
    """
    found = {region: _estimates(metrics, region) for region in regions(metrics)}
    parts = {region: points for region, points in found.items() if region != "model"}
    scores = {head: curve for head, curve in head_curves(metrics, keys.ENRICHMENT).items() if head in parts}
    model = {region: points for region, points in found.items() if region == "model"}
    panels = [
        (title, height)
        for title, height, content in (
            ("attention to near particles, × uniform", 170, scores),
            (f"learning coefficient of the {'head' if all(map(is_head, parts)) else 'part'}", 270, parts),
            ("learning coefficient of the whole model", 120, model),
        )
        if content
    ]
    figure = stacked_panels([title for title, _ in panels], [height for _, height in panels])
    curves = [*scores.values(), *((points.x, points.mean) for points in found.values())]
    edge = left_edge(curves)
    for head, (steps, values) in scores.items():
        add_line(figure, shift_steps(steps, edge), values, head, *head_style(head), row=1)
    for row, lines in enumerate(filter(None, (parts, model)), start=2 if scores else 1):
        limits = axis_limits(lines.values())
        for region, points in lines.items():
            color, dash = region_style(region, found)
            legend = lines is parts and region not in scores
            x, y = shift_steps(points.x, edge), points.within(limits)
            _add_band(figure, x, y, 2 * points.mcse, region, color, row)
            add_line(figure, x, y, region, color, dash, width=1.8, legend=legend, row=row)
            add_markers(figure, x, points, region, color, limits, row)
        figure.update_yaxes(linear_axis(limits), row=row)
    if scores:
        figure.update_yaxes(type="log", dtick="D2", row=1)
        figure.add_hline(1.0, line={"color": INK, "width": 1.2, "dash": "dot"}, row=1, col=1)
    log_step_axis(figure, curves, edge)
    # Three decades at least, and more if there are earlier estimates: what came before is a pan away.
    first = min(points.x[points.x > 0].min(initial=np.inf) for points in found.values())
    last = max(steps[-1] for steps, _ in curves)
    if edge < (left := min(first / 2, last / 1000)) and not any(0 in points.x for points in found.values()):
        figure.update_xaxes(range=[np.log10(left), np.log10(last) + 0.03])
    for head, (steps, values) in scores.items():
        onset = first_step((steps, values), ONSET)
        if onset is not None and is_collision_head((steps, values)):
            line = {"color": head_style(head)[0], "width": 1.2, "dash": "dot"}
            figure.add_vline(max(onset, edge), line=line, opacity=0.7, layer="below")
    explain_hollow(figure, found.values())
    return _one_axis(figure, len(panels))


def axis_limits(lines: Iterable[Estimates], strict: bool = False) -> tuple[float, float]:
    """A range with zero, all plausible estimates, the bands of those believed, and others up to as much again beyond.

    Args:
        strict: start from the estimates to be believed, where there are any, not from all plausible ones.
    """
    lines = list(lines)
    mean, mcse, believed, plausible = (
        np.concatenate([getattr(line, name) for line in lines]) for name in ("mean", "mcse", "believed", "plausible")
    )
    finite = np.isfinite(mean)
    kept = next((some for some in (believed if strict else plausible, plausible) if some.any()), finite)
    reach = np.where(believed, 2 * mcse, 0.0)
    low = float(np.min((mean - reach)[kept], initial=0.0))
    high = float(np.max((mean + reach)[kept], initial=0.0))
    high = high if high > low else low + 1
    near = mean[finite & (np.abs(mean - (low + high) / 2) <= 1.5 * (high - low))]
    return float(np.min(near, initial=low)), float(np.max(near, initial=high))


def linear_axis(limits: tuple[float, float]) -> dict[str, Any]:
    """A linear axis of these limits with some air, and a line at zero."""
    low, high = limits
    air = 0.06 * (high - low)
    return {"range": [low - air, high + air], "zeroline": True, "zerolinecolor": FAINT, "zerolinewidth": 1}


def add_markers(
    figure: "Figure",
    x: np.ndarray,
    points: Estimates,
    name: str,
    color: str,
    limits: tuple[float, float],
    row: int,
    col: int = 1,
    bars: bool = False,
) -> None:
    """A marker per estimate, hollow unless it is to be believed; with ``bars``, its error of two mcse either way."""
    low, high = limits
    y = np.clip(np.where(np.isnan(points.mean), low, points.mean), low, high)
    beyond = np.where(points.mean > high, "triangle-up", "triangle-down")
    symbols = np.where(np.isnan(points.mean), "x", np.where(y == points.mean, "circle", beyond))
    # A band needs two neighbours: an estimate that stands alone has bars in its place.
    drawn = y == points.mean
    alone = ~np.append(drawn[1:], False) & ~np.insert(drawn[:-1], 0, False)
    errors = np.where(drawn & (alone | bars), 2 * points.mcse, 0.0)
    figure.add_scatter(
        x=x,
        y=y,
        name=name,
        mode="markers",
        marker={
            "symbol": list(symbols),
            "size": 6.5,
            "color": [color if believed else PAPER for believed in points.believed],
            "line": {"color": color, "width": 1.6},
            "opacity": 1,
        },
        error_y={"array": errors, "color": color, "thickness": 1.2, "width": 0} if errors.any() else None,
        cliponaxis=False,
        legendgroup=name,
        showlegend=False,
        hovertext=points.hover,
        hovertemplate="%{hovertext}<extra></extra>",
        row=row,
        col=col,
    )


def explain_hollow(figure: "Figure", lines: Iterable[Estimates]) -> None:
    """The hollow marker in the legend, if there is one."""
    if not all(points.believed.all() for points in lines):
        marker = {"size": 8, "color": PAPER, "line": {"color": INK, "width": 1.6}}
        figure.add_scatter(x=[None], y=[None], name="failed a diagnostic", mode="markers", marker=marker)


def _add_band(
    figure: "Figure", x: np.ndarray, y: np.ndarray, error: np.ndarray, name: str, color: str, row: int
) -> None:
    """Polygons of ``y`` with ``error`` either way, one for each run of neighbouring finite values."""
    around, heights = [], []
    finite = np.flatnonzero(np.isfinite(y))
    for run in np.split(finite, np.flatnonzero(np.diff(finite) > 1) + 1):
        if len(run) > 1:
            low, high = y[run] - error[run], y[run] + error[run]
            around += [*x[run], *x[run][::-1], np.nan]
            heights += [*low, *high[::-1], np.nan]
    if around:
        figure.add_scatter(
            x=np.array(around[:-1]),
            y=np.array(heights[:-1]),
            name=name,
            mode="lines",
            fill="toself",
            fillcolor=f"rgba{(*(int(color[i : i + 2], 16) for i in (1, 3, 5)), 0.14)}",
            line={"width": 0},
            hoverinfo="skip",
            legendgroup=name,
            showlegend=False,
            row=row,
            col=1,
        )


def stacked_panels(titles: list[str], heights: list[int]) -> "Figure":
    """Panels one above the other over one axis of training steps, with a title at the left of each."""
    from plotly.subplots import make_subplots

    figure = make_subplots(
        rows=len(titles),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=34 / (sum(heights) + 34 * (len(titles) - 1)),
        row_heights=heights,
        subplot_titles=titles,
    )
    style_figure(figure, "", "", height=sum(heights) + 34 * len(titles) + 110)
    figure.update_annotations(font={"size": 13, "color": INK}, x=0, xanchor="left")
    figure.update_xaxes(title={"text": "training step", "standoff": 8, "font": {"size": 14}}, row=len(titles))
    return figure


def _one_axis(figure: "Figure", n_panels: int) -> "Figure":
    """Hang all panels on the lowest axis, so that the line under the pointer crosses all of them."""
    lowest = "x" if n_panels == 1 else f"x{n_panels}"
    figure.update_traces(xaxis=lowest)
    figure.update_yaxes(anchor=lowest)
    for row in range(1, n_panels):
        figure.update_xaxes(visible=False, row=row)
    figure.update_xaxes(
        showspikes=True, spikemode="across", spikesnap="cursor", spikethickness=-2, spikecolor=FAINT, spikedash="solid"
    )
    return figure


def _estimates(metrics: Metrics, region: str) -> Estimates:
    logged = {quantity: key.of(region=region) for quantity, key in keys.LLC.items()}
    steps = metrics[logged["mean"]][0]
    at = {name: dict(zip(*metrics[key], strict=True)) for name, key in logged.items() if key in metrics}
    rows = [{key: curve[step] for key, curve in at.items() if step in curve} for step in steps]
    return Estimates.of(steps, rows, [f"<b>{region}</b>, step {step:,}" for step in steps])


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _hover(title: str, row: Mapping[str, float]) -> str:
    mean, mcse, rhat, ess, shift = (row.get(key, np.nan) for key in ("mean", "mcse", "rhat", "ess", "shift"))
    lines = [title, f"{mean:.3g} ± {mcse:.2g} (standard error)", f"R-hat {rhat:.3f}, effective sample size {ess:.0f}"]
    lines += [f"shift {shift:.3g}"] if np.isfinite(shift) else []
    if not np.isfinite(mean):
        lines[1:] = ["no finite value"]
    if row.get("converged") == 0 or not np.isfinite(mean):
        lines.append("failed: " + ("; ".join(diagnose(row).values()) or "the reason was not logged"))
    return "<br>".join(lines)
