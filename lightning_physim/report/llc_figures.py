"""Learning coefficients and orders against training step, beside the scores of the heads that they belong to."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_physim import keys
from lightning_physim.curves import ONSET, Curve, Metrics, first_step, head_curves, is_collision_head
from lightning_physim.report.estimates import Estimates, Scale, region_name, region_style
from lightning_physim.report.marks import add_band, add_estimates, explain_hollow
from lightning_physim.report.plot import (
    add_level,
    add_line,
    beside,
    left_edge,
    log_step_axis,
    name_once,
    read_across,
    shift_steps,
    stacked_panels,
)
from lightning_physim.report.style import DOTTED, FAINT, head_style

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST_NAMED = 4
"""Heads, from the strongest on, whose onsets have a name."""
ORDERS = {4.0: "quartic: flat at the bottom", 2.0: "regular: a parabola"}
"""Orders of the loss in words."""


def regions(metrics: Metrics) -> list[str]:
    """Regions with estimates: the model, then heads in the order of the scores, then the rest by their last value."""
    last = {region: curve[1][-1] for key, curve in metrics.items() if (region := keys.LLC_MEAN.match(key)) is not None}
    scored = list(head_curves(metrics, keys.ENRICHMENT))

    def order(region: str) -> tuple[int, float]:
        if region in scored:
            return 1, scored.index(region)
        return (0, 0.0) if region == keys.MODEL else (2, -np.nan_to_num(last[region], nan=-np.inf))

    return sorted(last, key=order)


def estimate_table(metrics: Metrics) -> list[list[Any]]:
    """Rows of the learning coefficients that a run has logged, by :data:`lightning_physim.keys.ESTIMATE_COLUMNS`."""
    return [
        [region, int(step), float(mean), float(low), float(high), int(believed)]
        for region in regions(metrics)
        for points in [Estimates.of_region(metrics, region)]
        for step, mean, low, high, believed in zip(
            points.x, points.mean, points.low, points.high, points.believed, strict=True
        )
        if np.isfinite(mean)
    ]


def orders(metrics: Metrics) -> dict[str, Estimates]:
    """The orders of the loss of each region that has some."""
    found = {region: Estimates.orders(metrics, region) for region in regions(metrics)}
    return {region: points for region, points in found.items() if len(points.x)}


def llc_figure(metrics: Metrics) -> "Figure":
    """Learning coefficients in panels over one axis of training steps.

    From above: learning coefficients of heads, that of the whole model, which is several times larger, and the order of
    the loss; a panel without data is left out. A dotted vertical, with the name and in the colour of a collision head,
    is where its enrichment passed :data:`lightning_physim.curves.ONSET`.
    """
    estimates = {region: Estimates.of_region(metrics, region) for region in regions(metrics)}
    model = {region: points for region, points in estimates.items() if region == keys.MODEL}
    others = {region: points for region, points in estimates.items() if region != keys.MODEL}
    scores = {head: curve for head, curve in head_curves(metrics, keys.ENRICHMENT).items() if head in others}
    kind = "head" if all(map(keys.is_head, others)) else "region"
    panels: dict[str, tuple[int, Any, Callable[..., None]]] = {
        f"learning coefficient of the {kind}": (270, others, _add_regions),
        "learning coefficient of the whole model": (150 if others else 270, model, _add_regions),
        "order of the loss": (200, orders(metrics), _add_orders),
    }
    shown = {title: panel for title, panel in panels.items() if panel[1]}
    figure = stacked_panels(list(shown), [height for height, _, _ in shown.values()])
    curves = [*scores.values(), *((points.x, points.mean) for points in estimates.values())]
    edge = left_edge(curves)
    for row, (height, content, add) in enumerate(shown.values(), 1):
        add(figure, content, edge, row, height)
    name_once(figure)
    n_lines = len(estimates)
    log_step_axis(figure, curves, edge, _first_shown(estimates, curves, edge), beyond=beside(n_lines - 1, n_lines))
    _add_onsets(figure, scores, edge)
    explain_hollow(figure, estimates.values())
    return read_across(_one_axis(figure, len(shown)), brief=True)


def _add_regions(figure: "Figure", lines: Mapping[str, Estimates], edge: float, row: int, height: int) -> None:
    scale = Scale.of(lines.values())
    for i, (region, points) in enumerate(lines.items()):
        (color, dash), name = region_style(region, lines), region_name(region)
        x = shift_steps(points.x, edge)
        add_band(figure, x, points, name, color, scale, row)
        y = points.within(scale)
        add_line(figure, x, y, name, color, dash, width=1.8, row=row)
        figure.data[-1].update(hovertemplate=None, hoverinfo="skip")  # markers tell
        # At the edges of the panel several would stand in one place.
        add_estimates(figure, np.where(np.isnan(y), x * beside(i, len(lines)), x), points, name, color, scale, row)
    figure.update_yaxes(scale.axis(height), row=row)


def _add_orders(figure: "Figure", lines: Mapping[str, Estimates], edge: float, row: int, height: int) -> None:
    scale = Scale.linear(lines.values(), hold=(1.5, *ORDERS))  # with room for the words under a level
    for i, (region, points) in enumerate(lines.items()):
        (color, dash), name = region_style(region, lines), region_name(region)
        x = shift_steps(points.x, edge) * beside(i, len(lines))
        add_line(figure, x, points.within(scale), name, color, dash, width=1.2, row=row)
        figure.data[-1].update(hovertemplate=None, hoverinfo="skip")
        add_estimates(figure, x, points, name, color, scale, row, bars=True)
    for order, words in ORDERS.items():
        add_level(figure, order, words, log=False, row=row, x=0, xanchor="left", yanchor="top", yshift=-5)
    figure.update_yaxes(scale.axis(height), nticks=5, row=row)


def _first_shown(estimates: Mapping[str, Estimates], curves: list[Curve], edge: float) -> float | None:
    """The step from which all estimates are shown, and a decade and a half at least; None for all steps.

    What came before is a pan away.
    """
    if any(0 in points.x for points in estimates.values()):
        return None
    first = min(points.x[points.x > 0].min(initial=np.inf) for points in estimates.values())
    left = min(first / 2, max(steps[-1] for steps, _ in curves) / 30)
    return float(left) if left > edge else None


def _add_onsets(figure: "Figure", scores: Mapping[str, Curve], edge: float) -> None:
    found = [(head, first_step(curve, ONSET)) for head, curve in scores.items() if is_collision_head(curve)]
    for i, (head, onset) in enumerate((head, max(onset, edge)) for head, onset in found if onset is not None):
        color, _ = head_style(head)
        figure.add_vline(onset, line=DOTTED | {"color": color}, opacity=0.7, layer="below")
        if i < MOST_NAMED:  # more of them would cover the estimates
            figure.add_annotation(
                x=np.log10(onset), y=1, yref="paper", yanchor="top", yshift=-14 * i, xanchor="left",
                text=f"{head} × {ONSET:g}", font={"size": 11, "color": color}, showarrow=False,
            )  # fmt: skip


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
