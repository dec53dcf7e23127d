"""What ``EmergenceMonitor`` said while training ran: forecasts of the scores, and exponents of the approach."""

from typing import TYPE_CHECKING

import numpy as np

from lightning_physim import keys
from lightning_physim.curves import Metrics, head_curves
from lightning_physim.emergence.laws import LAWS
from lightning_physim.report.curve_figures import add_line, head_style, left_edge, log_step_axis
from lightning_physim.report.llc_figures import stacked_panels

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def emergence_figure(metrics: Metrics) -> "Figure":
    """Forecasts of each head's last score, beside the score itself, and exponents; bars are 95 % intervals.

    Every head's markers stand a little beside the others', so that bars do not cover each other.
    """
    logged = {head for row in (keys.EXPONENT, keys.FORECAST) for key in metrics if (head := row.match(key))}
    heads = [head for head in head_curves(metrics, keys.ENRICHMENT) if head in logged]
    rows = {
        "forecast": "partner score, and forecast of its last value at the step where it was made",
        "exponent": "exponent α of the approach to the plateau",
    }
    shown = {
        key: title for key, title in rows.items() if any(keys.EMERGENCE[key].of(head=head) in metrics for head in heads)
    }
    figure = stacked_panels(list(shown.values()), [300 if key == "forecast" else 220 for key in shown])
    scores = [
        metrics[keys.PARTNER_SCORE.of(head=head)] for head in heads if keys.PARTNER_SCORE.of(head=head) in metrics
    ]
    for row, key in enumerate(shown, start=1):
        for i, head in enumerate(heads):
            color, dash = head_style(head)
            if key == "forecast" and keys.PARTNER_SCORE.of(head=head) in metrics:
                steps, values = metrics[keys.PARTNER_SCORE.of(head=head)]
                steps, values = steps[steps > 0], values[steps > 0]
                add_line(figure, steps, values, head, color, dash, width=1.2, row=row)
            if keys.EMERGENCE[key].of(head=head) in metrics:
                _add_bars(
                    figure, metrics, head, key, 1.02 ** (i - len(heads) // 2), row, legend=not scores and row == 1
                )
    log_step_axis(figure, scores, left_edge(scores))
    if "exponent" in shown:
        searched = LAWS["power_law"].shapes["exponent"]
        ends = np.log10([searched.lo, searched.hi]).tolist()
        figure.update_yaxes(type="log", tickformat="~g", dtick=1, range=ends, row=len(shown))
    return figure


def _add_bars(figure: "Figure", metrics: Metrics, head: str, key: str, beside: float, row: int, legend: bool) -> None:
    steps, values = metrics[keys.EMERGENCE[key].of(head=head)]
    ends = [metrics.get(keys.EMERGENCE[f"{key}_{end}"].of(head=head), (steps, values * np.nan)) for end in ("lo", "hi")]
    low, high = (np.array([dict(zip(*end, strict=True)).get(step, np.nan) for step in steps]) for end in ends)
    add_line(figure, steps * beside, values, head, head_style(head)[0], mode="markers", legend=legend, row=row)
    figure.data[-1].update(
        error_y={
            # The most likely exponent may lie outside of its interval, where it is at the edge of its range.
            "array": np.maximum(np.nan_to_num(high - values), 0.0),
            "arrayminus": np.maximum(np.nan_to_num(values - low), 0.0),
            "symmetric": False,
            "width": 0,
            "thickness": 1.5,
        },
        customdata=np.stack([steps, low, high], axis=-1),
        hovertemplate="step %{customdata[0]:,}: %{y:.3~g} (%{customdata[1]:.3~g} to %{customdata[2]:.3~g})"
        "<extra>%{fullData.name}</extra>",
    )
