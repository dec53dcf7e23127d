"""What ``EmergenceMonitor`` said while training ran: forecasts of the scores, and exponents of the approach."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_physim import keys
from lightning_physim.curves import NOTHING, Metrics, head_curves, values_at
from lightning_physim.emergence.laws import LAWS
from lightning_physim.keys import Key
from lightning_physim.report.plot import add_line, beside, error_bars, left_edge, log_step_axis, stacked_panels
from lightning_physim.report.style import head_style

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


class IntervalPanel(NamedTuple):
    """A panel of values with their 95 % intervals.

    Args:
        key, low, high: of the value, and of the ends of its interval.
        title: of the panel.
        height: in pixels.
    """

    key: Key
    low: Key
    high: Key
    title: str
    height: int


FORECASTS = IntervalPanel(
    keys.FORECAST,
    keys.FORECAST_LO,
    keys.FORECAST_HI,
    "partner score, forecasts of its last value",
    300,
)
EXPONENTS = IntervalPanel(keys.EXPONENT, keys.EXPONENT_LO, keys.EXPONENT_HI, "exponent α of the approach", 220)


def emerging_heads(metrics: Metrics) -> list[str]:
    """The heads with a forecast or an exponent, highest enrichment first."""
    logged = {head for panel in (FORECASTS, EXPONENTS) for head in head_curves(metrics, panel.key)}
    return [head for head in head_curves(metrics, keys.ENRICHMENT) if head in logged]


def emergence_figure(metrics: Metrics) -> "Figure":
    """Forecasts of each head's last score, beside the score itself, and exponents; bars are 95 % intervals.

    Needs at least one of :func:`emerging_heads`.
    """
    heads = emerging_heads(metrics)
    panels = [panel for panel in (FORECASTS, EXPONENTS) if any(panel.key.of(head=head) in metrics for head in heads)]
    figure = stacked_panels([panel.title for panel in panels], [panel.height for panel in panels])
    scores = {head: metrics[key] for head in heads if (key := keys.PARTNER_SCORE.of(head=head)) in metrics}
    for row, panel in enumerate(panels, start=1):
        for i, head in enumerate(heads):
            if panel is FORECASTS and head in scores:
                steps, values = scores[head]
                add_line(figure, steps[steps > 0], values[steps > 0], head, *head_style(head), width=1.2, row=row)
            if panel.key.of(head=head) in metrics:
                place = beside(i, len(heads))
                _add_intervals(figure, metrics, head, panel, place, row, legend=not scores and row == 1)
    log_step_axis(figure, list(scores.values()), left_edge(scores.values()))
    if EXPONENTS in panels:
        searched = LAWS["power_law"].shapes["exponent"]
        ends = np.log10([searched.lo, searched.hi]).tolist()
        figure.update_yaxes(type="log", tickformat="~g", dtick=1, range=ends, row=len(panels))
    return figure


def _add_intervals(
    figure: "Figure", metrics: Metrics, head: str, panel: IntervalPanel, place: float, row: int, legend: bool
) -> None:
    steps, values = metrics[panel.key.of(head=head)]
    lows, highs = (values_at(metrics.get(key.of(head=head), NOTHING), steps) for key in (panel.low, panel.high))
    color, _ = head_style(head)
    add_line(figure, steps * place, values, head, color, mode="markers", legend=legend, row=row)
    figure.data[-1].update(
        error_y=error_bars(lows, values, highs),
        customdata=np.stack([steps, lows, highs], axis=-1),
        hovertemplate="step %{customdata[0]:,}: %{y:.3~g} (%{customdata[1]:.3~g} to %{customdata[2]:.3~g})"
        "<extra>%{fullData.name}</extra>",
    )
