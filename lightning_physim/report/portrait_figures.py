"""Phase portraits: how fast scores grow against where they stand."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lightning_physim import keys
from lightning_physim.curves import Curve, Metrics, head_curves
from lightning_physim.emergence import (
    DEPARTURE,
    Velocity,
    baseline,
    emergence_threshold,
    ends_of_rise,
    growth_of_head,
    rise_times,
    velocity,
)
from lightning_physim.emergence.dynamics import MIN_VELOCITY
from lightning_physim.report.plot import add_line, new_figure
from lightning_physim.report.style import head_style

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

PER = 1000
"""Steps that velocities are given for."""
SHOWN_DECADES = 3.0
"""Decades of velocity below the highest one that are shown."""


def risen_heads(metrics: Metrics) -> dict[str, Curve]:
    """The partner scores that have passed :func:`lightning_physim.emergence.emergence_threshold`, by head."""
    curves = {head: growth_of_head(metrics, head).curve for head in head_curves(metrics, keys.PARTNER_SCORE)}
    return {
        head: curve
        for head, curve in curves.items()
        if (curve[0] > 0).sum() >= MIN_VELOCITY and curve[1].max() > emergence_threshold(curve[1])
    }


def portrait_figure(metrics: Metrics) -> "Figure | None":
    """Velocity of each risen head against its score, a line each; None where no head has risen.

    Lines begin after a tenth of the rise, where the growth stands out of the noise, and have gaps where a score falls.
    """
    found = {head: _after_departure(curve) for head, curve in risen_heads(metrics).items()}
    heads = {head: each for head, each in found.items() if (each.rate > 0).any()}
    if not heads:
        return None
    figure = new_figure("partner score", f"score gained in {PER:,} steps")
    for head, each in heads.items():
        rate = np.where(each.rate > 0, PER * each.rate, np.nan)
        words = [
            f"step {step:,.0f}: score {value:.3f}, {gain:+.3g} in {PER:,} steps"
            for step, value, gain in zip(each.time, each.value, PER * each.rate, strict=True)
        ]
        add_line(figure, each.value, rate, head, *head_style(head), hover=words)
    rates = PER * np.concatenate([each.rate[each.rate > 0] for each in heads.values()])
    _velocity_axis(figure, float(rates.max()), float(rates.min()))
    return figure


def collapse_figure(heads: Mapping[str, Sequence[Curve]], colors: Mapping[str, str]) -> "Figure":
    """Velocities in units of each curve's own rise, and of its own time from a tenth to half of it.

    Curves of one potential are one line here, up to their scales of score and time.

    Args:
        heads: partner scores by run; those that do not pass half of their rise are left out.
        colors: of the runs.
    """
    figure = new_figure("share of the rise", "velocity, in rises per time from a tenth to half")
    for run, curves in heads.items():
        first = True
        for curve in curves:
            start, end = ends_of_rise(curve)
            tenth, half, _ = rise_times(curve, start, end)
            if not half > tenth:
                continue
            found = _after_departure(curve)
            rate = found.rate * (half - tenth) / (end - start)
            share = (found.value - start) / (end - start)
            add_line(figure, share, np.where(rate > 0, rate, np.nan), run, colors[run], width=1.5, legend=first)
            first = False
    figure.update_xaxes(range=[0, 1.05])
    _velocity_axis(figure, 2.0, 0.0)
    return figure


def _velocity_axis(figure: "Figure", top: float, bottom: float) -> None:
    """For velocities from ``bottom`` to ``top``, over :data:`SHOWN_DECADES` at most and one decade at least."""
    upper = float(np.log10(top)) + 0.1
    shown = float(np.clip(np.log10(top / bottom) + 0.2, 1.0, SHOWN_DECADES)) if bottom else SHOWN_DECADES
    figure.update_yaxes(type="log", tickformat="~g", dtick=1 if shown > 2 else "D2", range=[upper - shown, upper])


def _after_departure(curve: Curve) -> Velocity:
    """From where the smoothed curve has passed a tenth of the way to its highest value for good."""
    found = velocity(*curve)
    start = baseline(curve[1])
    below = np.flatnonzero(found.value < start + DEPARTURE * (found.value.max() - start))
    # A head that falls back may end below it.
    before = below[below < int(found.value.argmax())]
    kept = slice(int(before[-1]) + 1 if len(before) else 0, None)
    return Velocity(found.time[kept], found.value[kept], found.rate[kept])
