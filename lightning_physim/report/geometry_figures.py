"""Directions that count against training step, and the learning coefficients that they account for."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from lightning_physim import keys
from lightning_physim.curves import NOTHING, Curve, Metrics, head_curves, values_at
from lightning_physim.report.estimates import Estimates, Scale, region_name, region_style
from lightning_physim.report.marks import add_estimates
from lightning_physim.report.plot import (
    add_key,
    add_level,
    add_line,
    left_edge,
    log_step_axis,
    name_once,
    read_across,
    shift_steps,
    stacked_panels,
)
from lightning_physim.report.style import FAINT

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SAME = 0.01
"""Relative difference up to which a sampler's localization / n_beta is the curvature of a panel."""
MEANINGS = {1.0: "counts directions", 0.0: "measures sharpness"}
"""Occupancies in words."""


def geometry_figure(metrics: Metrics) -> "Figure | None":
    """Half of the directions that count, a panel for each curvature; None where no spectrum was logged.

    Lines are spectra. Dots are the learning coefficients, in the panel of the curvature that they were sampled with,
    with bars of two standard errors either way. The last panel is the occupancy at that curvature.
    """
    panels = {name: regions for name in keys.CURVATURES if (regions := _regions(metrics, _key("d_eff", name)))}
    if not panels:
        return None
    dots = {name: _dots(metrics, regions, keys.CURVATURES[name]) for name, regions in panels.items()}
    main = next((name for name in panels if dots[name]), next(iter(panels)))
    occupancy = _key("occupancy", main)
    occupied = {region: metrics[occupancy.of(region=region)] for region in _regions(metrics, occupancy)}
    titles = [f"half of the directions that count at c = {keys.CURVATURES[name]:g}" for name in panels]
    heights = [240 if name == main else 170 for name in panels]
    if occupied:
        titles.append(f"occupancy at c = {keys.CURVATURES[main]:g}: is it a count?")
        heights.append(150)
    figure = stacked_panels(titles, heights)
    every = [metrics[_key("d_eff", name).of(region=region)] for name, regions in panels.items() for region in regions]
    edge = left_edge(every)
    for row, (name, regions) in enumerate(panels.items(), 1):
        lines = {region: _spectrum(metrics, region, name) for region in regions}
        _add_directions(figure, lines, dots[name], edge, row, heights[row - 1])
    if occupied:
        _add_occupancy(figure, occupied, edge, row=len(titles))
    name_once(figure)
    add_key(figure, "line: from the spectrum", "lines", line={"color": FAINT, "width": 2.2})
    if any(dots.values()):
        add_key(figure, "dot: sampled, ± 2 standard errors", "markers", marker={"color": FAINT, "size": 7})
    log_step_axis(figure, every, edge)
    return read_across(figure)


def _key(quantity: str, curvature: str) -> keys.Key:
    return keys.GEOMETRY[f"{quantity}/{curvature}"]


def _regions(metrics: Metrics, key: keys.Key) -> list[str]:
    """Those with a curve under a key: heads in the order of their scores, then the others."""
    found = [region for name in metrics if (region := key.match(name)) is not None]
    scored = [head for head in head_curves(metrics, keys.ENRICHMENT) if head in found]
    return [*scored, *(region for region in found if region not in scored)]


def _add_directions(
    figure: "Figure", lines: Mapping[str, Estimates], dots: Mapping[str, Estimates], edge: float, row: int, height: int
) -> None:
    scale = Scale.of([*lines.values(), *dots.values()])
    for region, points in lines.items():
        (color, dash), name = region_style(region, lines), region_name(region)
        add_line(figure, shift_steps(points.x, edge), points.mean, name, color, dash, row=row, hover=points.hover)
    for region, points in dots.items():
        (color, _), name = region_style(region, lines), region_name(region)
        add_estimates(figure, shift_steps(points.x, edge), points, name, color, scale, row, bars=True)
    figure.update_yaxes(scale.axis(height), row=row)


def _add_occupancy(figure: "Figure", curves: Mapping[str, Curve], edge: float, row: int) -> None:
    for region, (steps, values) in curves.items():
        add_line(figure, shift_steps(steps, edge), values, region_name(region), *region_style(region, curves), row=row)
    for value, words in MEANINGS.items():
        add_level(figure, value, words, log=False, row=row, x=0, xanchor="left", yanchor="top" if value else "bottom")
    figure.update_yaxes(range=[-0.03, 1.03], dtick=0.5, row=row)


def _spectrum(metrics: Metrics, region: str, curvature: str) -> Estimates:
    """Halves of the directions that count: what a learning coefficient would be. Only sampled spectra have errors."""
    steps, directions = metrics[_key("d_eff", curvature).of(region=region)]
    occupancy, doubling, error = (
        values_at(metrics.get(_key(quantity, curvature).of(region=region), NOTHING), steps)
        for quantity in ("occupancy", "doubling", "d_eff_error")
    )
    rows = zip(steps, directions, occupancy, doubling, error, strict=True)
    hover = [_hover(region_name(region), *row) for row in rows]
    known, half, around = np.isfinite(directions), directions / 2, np.nan_to_num(error) / 2
    return Estimates(steps, half, half - around, half + around, known, known, hover)


def _dots(metrics: Metrics, regions: Iterable[str], c: float) -> dict[str, Estimates]:
    """Learning coefficients that passed their diagnostics and were sampled with this ratio, of regions with some."""
    found = {}
    for region in regions:
        points = Estimates.of_region(metrics, region)
        localization, n_beta = (
            values_at(metrics.get(key.of(region=region), NOTHING), points.x)
            for key in (keys.LLC_LOCALIZATION, keys.LLC_N_BETA)
        )
        found[region] = points.kept(points.believed & np.isclose(localization, c * n_beta, rtol=SAME, atol=0))
    return {region: points for region, points in found.items() if len(points.x)}


def _hover(name: str, step: int, directions: float, occupancy: float, doubling: float, error: float) -> str:
    around = f" ± {error:.2g}" if error > 0 else ""
    lines = [
        f"<b>{name}</b>, step {step:,}",
        f"{directions:.3g}{around} directions count, half is {directions / 2:.3g}",
    ]
    lines += [f"occupancy {occupancy:.2f}: 1 counts directions, 0 measures sharpness"] if np.isfinite(occupancy) else []
    lines += [f"{doubling:+.0%} from half of the states to all"] if np.isfinite(doubling) else []
    return "<br>".join(lines)
