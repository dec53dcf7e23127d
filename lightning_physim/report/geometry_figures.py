"""Directions that count against training step, and the learning coefficients that they account for."""

import math
from typing import TYPE_CHECKING

import numpy as np

from lightning_physim import keys
from lightning_physim.curves import NOTHING, Curve, Metrics, head_curves
from lightning_physim.report.estimates import region_style
from lightning_physim.report.plot import add_line, left_edge, log_step_axis, shift_steps, stacked_panels

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SAME = 0.01
"""Relative difference up to which a sampler's localization / n_beta is the curvature of a panel."""


def geometry_figure(metrics: Metrics) -> "Figure | None":
    """Half of the directions that count, a panel for each curvature; None where no spectrum was logged.

    Lines are spectra. Dots are the learning coefficients, in the panel of the curvature that they were sampled with.
    """
    panels = {
        c: curves for name, c in keys.CURVATURES.items() if (curves := _curves(metrics, keys.GEOMETRY[f"d_eff/{name}"]))
    }
    if not panels:
        return None
    figure = stacked_panels([f"half of the directions that count at c = {c:g}" for c in panels], [200] * len(panels))
    every = [curve for curves in panels.values() for curve in curves.values()]
    edge = left_edge(every)
    shown: set[str] = set()
    for row, (c, curves) in enumerate(panels.items(), 1):
        for region, (steps, values) in curves.items():
            color, dash = region_style(region, curves)
            add_line(
                figure, shift_steps(steps, edge), values / 2, region, color, dash, legend=region not in shown, row=row
            )
            estimates = _estimates_at(metrics, region, c)
            add_line(
                figure,
                shift_steps(estimates[0], edge),
                estimates[1],
                region,
                color,
                mode="markers",
                legend=False,
                row=row,
            )
            shown.add(region)
    figure.update_yaxes(type="log", dtick="D2")
    log_step_axis(figure, every, edge)
    return figure


def _curves(metrics: Metrics, key: keys.Key) -> dict[str, Curve]:
    """By region: heads in the order of their scores, then the others."""
    found = {region: curve for name, curve in metrics.items() if (region := key.match(name)) is not None}
    scored = [head for head in head_curves(metrics, keys.ENRICHMENT) if head in found]
    return {region: found[region] for region in (*scored, *(region for region in found if region not in scored))}


def _estimates_at(metrics: Metrics, region: str, c: float) -> Curve:
    """Learning coefficients that passed their diagnostics, where they were sampled with this ratio."""
    mean, converged, gamma, n_beta = (
        metrics.get(key.of(region=region), NOTHING)
        for key in (keys.LLC_MEAN, keys.LLC_CONVERGED, keys.LLC_LOCALIZATION, keys.LLC_N_BETA)
    )
    at = [dict(zip(*curve, strict=True)) for curve in (converged, gamma, n_beta)]
    kept = [
        step in at[1]
        and step in at[2]
        and at[0].get(step, 1.0) > 0
        and math.isclose(at[1][step] / at[2][step], c, rel_tol=SAME)
        for step in mean[0]
    ]
    return mean[0][np.array(kept, dtype=bool)], mean[1][np.array(kept, dtype=bool)]
