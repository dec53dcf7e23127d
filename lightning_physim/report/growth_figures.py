"""What ``EmergenceMonitor`` said while training ran: forecasts of the scores, and exponents of the approach."""

from typing import TYPE_CHECKING

import numpy as np

from lightning_physim import keys
from lightning_physim.curves import NOTHING, Metrics, head_curves, values_at
from lightning_physim.emergence.laws import LAWS
from lightning_physim.keys import Key
from lightning_physim.report.plot import (
    NAMED,
    add_line,
    add_uniform,
    axis_title,
    error_bars,
    left_edge,
    log_step_axis,
    stacked_panels,
)
from lightning_physim.report.style import head_style

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


SPREAD = 0.16
"""Decades that the forecasts of all heads at one step are spread over."""
MOST_FORECAST = 8
"""Heads whose forecasts are shown: the bars of more would stand in each other."""
BEFORE = 0.25
"""Decades of steps before the first forecast that are shown."""


def emerging_heads(metrics: Metrics) -> list[str]:
    """The :data:`MOST_FORECAST` strongest heads with a forecast or an exponent, highest enrichment first."""
    logged = {head for key in (keys.FORECAST, keys.EXPONENT) for head in head_curves(metrics, key)}
    return [head for head in head_curves(metrics, keys.ENRICHMENT) if head in logged][:MOST_FORECAST]


def emergence_figure(metrics: Metrics) -> "Figure":
    """Forecasts of each head's last score, beside the score itself, and its last exponent; bars are 95 % intervals.

    Needs at least one of :func:`emerging_heads`.
    """
    heads = emerging_heads(metrics)
    forecast = [head for head in heads if keys.FORECAST.of(head=head) in metrics]
    fitted = [head for head in heads if keys.EXPONENT.of(head=head) in metrics]
    panels = {}
    if forecast:
        panels["partner score, forecasts of its last value"] = 300
    if fitted:
        panels["exponent α of the approach, at the last fit"] = 50 + 24 * len(fitted)
    figure = stacked_panels(
        list(panels), list(panels.values()), "exponent" if fitted else "training step", shared=False
    )
    if forecast:
        _add_forecasts(figure, metrics, forecast)
    if fitted:
        _add_exponents(figure, metrics, fitted, row=len(panels), legend=not forecast)
    return figure


def _add_forecasts(figure: "Figure", metrics: Metrics, heads: list[str]) -> None:
    scores = {head: metrics[key] for head in heads if (key := keys.PARTNER_SCORE.of(head=head)) in metrics}
    made = [_intervals(metrics, head, keys.FORECAST, keys.FORECAST_LO, keys.FORECAST_HI) for head in heads]
    for i, (head, points) in enumerate(zip(heads, made, strict=True)):
        if head in scores:
            steps, values = scores[head]
            add_line(figure, steps[steps > 0], values[steps > 0], head, *head_style(head), width=1.2, row=1)
            figure.data[-1].hovertemplate = f"step %{{x:,}}: partner score %{{y:.3~g}}{NAMED}"
        beside = 10 ** (SPREAD * ((i + 0.5) / len(heads) - 0.5))
        color, _ = head_style(head)
        add_line(figure, points[0] * beside, points[1], head, color, mode="markers", legend=head not in scores, row=1)
        figure.data[-1].update(
            error_y=error_bars(points[2], points[1], points[3]),
            customdata=np.stack([points[0], *points[2:]], axis=-1),
            hovertemplate="forecast at step %{customdata[0]:,}: %{y:.3~g} "
            f"(%{{customdata[1]:.3~g}} to %{{customdata[2]:.3~g}}){NAMED}",
        )
    if scores:
        strongest = next(iter(scores))
        uniform = metrics[keys.PARTNER_SCORE.of(head=strongest)][1] / metrics[keys.ENRICHMENT.of(head=strongest)][1]
        add_uniform(figure, float(uniform[-1]), log=False, x=0.0)
    curves = list(scores.values()) or [(points[0], points[1]) for points in made]
    edge = left_edge(curves)
    # What came before is a pan away.
    first = max(edge, min(points[0][0] for points in made)) / 10**BEFORE
    log_step_axis(figure, curves, edge, start=first, row=1)
    last = max(steps[-1] for steps, _ in curves)
    ends = [np.log10(first), np.log10(last) + SPREAD / 2 + 0.03]
    figure.update_xaxes(range=ends, title=axis_title("training step"), row=1)


def _add_exponents(figure: "Figure", metrics: Metrics, heads: list[str], row: int, legend: bool) -> None:
    for head in heads:
        steps, values, lows, highs = _intervals(metrics, head, keys.EXPONENT, keys.EXPONENT_LO, keys.EXPONENT_HI)
        color, _ = head_style(head)
        add_line(figure, values[-1:], [0.0], head, color, mode="markers", legend=legend, row=row)
        figure.data[-1].update(
            y=[head],
            marker_size=9,
            cliponaxis=False,
            error_x=error_bars(lows[-1:], values[-1:], highs[-1:], thickness=2),
            hovertemplate=f"α %{{x:.3~g}} ({lows[-1]:.3g} to {highs[-1]:.3g}), step {steps[-1]:,}{NAMED}",
        )
    exponent_axis(figure, row=row)
    figure.update_yaxes(type="category", autorange="reversed", row=row)


def exponent_axis(figure: "Figure", **place: int) -> None:
    """A logarithmic axis of exponents, over all that are searched."""
    searched = LAWS["power_law"].shapes["exponent"]
    ends = np.log10([searched.lo, searched.hi]).tolist()
    figure.update_xaxes(type="log", tickformat="~g", dtick="D2", range=ends, **place)


def _intervals(metrics: Metrics, head: str, value: Key, low: Key, high: Key) -> tuple[np.ndarray, ...]:
    """Steps, values, and the ends of their intervals."""
    steps, values = metrics[value.of(head=head)]
    return steps, values, *(values_at(metrics.get(key.of(head=head), NOTHING), steps) for key in (low, high))
