"""Learning coefficients against training step, beside the scores of the heads that they belong to."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from lightning_physim import keys
from lightning_physim.curves import ONSET, Curve, Metrics, first_step, head_curves, is_collision_head
from lightning_physim.report.estimates import (
    Estimates,
    add_band,
    add_estimates,
    axis_limits,
    explain_hollow,
    linear_axis,
    region_style,
)
from lightning_physim.report.plot import NEAR_ATTENTION, add_line, left_edge, log_step_axis, shift_steps, stacked_panels
from lightning_physim.report.style import DOTTED, FAINT, head_style

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def regions(metrics: Metrics) -> list[str]:
    """Regions with estimates: the model, then heads in the order of the scores, then the rest by their last value."""
    last = {region: curve[1][-1] for key, curve in metrics.items() if (region := keys.LLC_MEAN.match(key)) is not None}
    scored = list(head_curves(metrics, keys.ENRICHMENT))

    def order(region: str) -> tuple[int, float]:
        if region in scored:
            return 1, scored.index(region)
        return (0, 0.0) if region == keys.MODEL else (2, -np.nan_to_num(last[region], nan=-np.inf))

    return sorted(last, key=order)


def llc_figure(metrics: Metrics) -> "Figure":
    """Learning coefficients beside scores, in panels over one axis of training steps.

    From above: enrichment of the heads that have estimates, their learning coefficients, and that of the whole model,
    which is several times larger; a panel without data is left out. Bands are two standard errors either way. A
    dotted vertical, in the colour of a collision head, is where its enrichment passed
    :data:`lightning_physim.curves.ONSET`.
    """
    estimates = {region: Estimates.of_region(metrics, region) for region in regions(metrics)}
    model = {region: points for region, points in estimates.items() if region == keys.MODEL}
    others = {region: points for region, points in estimates.items() if region != keys.MODEL}
    scores = {head: curve for head, curve in head_curves(metrics, keys.ENRICHMENT).items() if head in others}
    kind = "head" if all(map(keys.is_head, others)) else "region"
    panels = {
        NEAR_ATTENTION: (170, scores),
        f"learning coefficient of the {kind}": (270, others),
        "learning coefficient of the whole model": (120, model),
    }
    heights = {title: height for title, (height, content) in panels.items() if content}
    figure = stacked_panels(list(heights), list(heights.values()))
    curves = [*scores.values(), *((points.x, points.mean) for points in estimates.values())]
    edge = left_edge(curves)
    if scores:
        _add_scores(figure, scores, edge)
    if others:
        _add_regions(figure, others, edge, row=2 if scores else 1, in_legend=others.keys() - scores.keys())
    if model:
        _add_regions(figure, model, edge, row=len(heights), in_legend=set())
    log_step_axis(figure, curves, edge)
    _start_at_estimates(figure, estimates, curves, edge)
    _add_onsets(figure, scores, edge)
    explain_hollow(figure, estimates.values())
    return _one_axis(figure, len(heights))


def _add_scores(figure: "Figure", scores: Mapping[str, Curve], edge: float) -> None:
    for head, (steps, values) in scores.items():
        add_line(figure, shift_steps(steps, edge), values, head, *head_style(head), row=1)
    figure.update_yaxes(type="log", dtick="D2", row=1)
    figure.add_hline(keys.ENRICHMENT.chance, line=DOTTED, row=1, col=1)


def _add_regions(figure: "Figure", lines: Mapping[str, Estimates], edge: float, row: int, in_legend: set[str]) -> None:
    limits = axis_limits(lines.values())
    for region, points in lines.items():
        color, dash = region_style(region, lines)
        x, y = shift_steps(points.x, edge), points.within(limits)
        add_band(figure, x, y, 2 * points.mcse, region, color, row)
        add_line(figure, x, y, region, color, dash, width=1.8, legend=region in in_legend, row=row)
        add_estimates(figure, x, points, region, color, limits, row)
    figure.update_yaxes(linear_axis(limits), row=row)


def _start_at_estimates(figure: "Figure", estimates: Mapping[str, Estimates], curves: list[Curve], edge: float) -> None:
    """Show three decades at least, and more if there are earlier estimates: what came before is a pan away."""
    first = min(points.x[points.x > 0].min(initial=np.inf) for points in estimates.values())
    last = max(steps[-1] for steps, _ in curves)
    left = min(first / 2, last / 1000)
    if edge < left and not any(0 in points.x for points in estimates.values()):
        figure.update_xaxes(range=[np.log10(left), np.log10(last) + 0.03])


def _add_onsets(figure: "Figure", scores: Mapping[str, Curve], edge: float) -> None:
    for head, curve in scores.items():
        onset = first_step(curve, ONSET)
        if onset is not None and is_collision_head(curve):
            line = DOTTED | {"color": head_style(head)[0]}
            figure.add_vline(max(onset, edge), line=line, opacity=0.7, layer="below")


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
