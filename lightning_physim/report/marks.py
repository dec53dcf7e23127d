"""Marks that stand for estimates in figures.

An estimate that failed its diagnostics is a hollow marker. One beyond the axis stands at the edge of its panel as a
triangle: it would flatten all others, or has no place on a logarithmic axis. One without a finite value is a cross.
Hovering tells the numbers.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from lightning_physim.report.estimates import Estimates, Scale
from lightning_physim.report.plot import TEXT_ALONE, add_key, error_bars
from lightning_physim.report.style import INK, PAPER, translucent

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def add_estimates(
    figure: "Figure",
    x: np.ndarray,
    points: Estimates,
    name: str,
    color: str,
    scale: Scale,
    row: int,
    col: int = 1,
    bars: bool = False,
) -> None:
    """A marker per estimate, hollow unless it is to be believed.

    Args:
        x: where they stand, ``[n]``.
        scale: of the axis.
        row, col: of the panel, counted from 1.
        bars: whether all have bars of their interval, not only those without a neighbour.
    """
    y = np.clip(np.where(np.isnan(points.mean), scale.low, points.mean), scale.low, scale.high)
    beyond = np.where(points.mean > scale.high, "triangle-up", "triangle-down")
    symbols = np.where(np.isnan(points.mean), "x", np.where(y == points.mean, "circle", beyond))
    # A band needs two neighbours: an estimate that stands alone has bars in its place.
    drawn = y == points.mean
    alone = ~np.append(drawn[1:], False) & ~np.insert(drawn[:-1], 0, False)
    barred = drawn & (alone | bars)
    # One that is to be believed, but not above the floor of a logarithmic axis, has a bar up to what it may be.
    reaches = barred | points.believed & (points.mean < scale.low)
    low = np.where(barred, np.maximum(points.low, scale.ends[0]), y)
    high = np.where(reaches, np.minimum(points.high, scale.ends[1]), y)
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
        error_y=error_bars(low, y, high, color=color, thickness=1.2) if (high > y).any() else None,
        cliponaxis=False,
        legendgroup=name,
        showlegend=False,
        hovertext=points.hover,
        hovertemplate=TEXT_ALONE,
        row=row,
        col=col,
    )


def add_band(figure: "Figure", x: np.ndarray, points: Estimates, name: str, color: str, scale: Scale, row: int) -> None:
    """Polygons of the intervals, cut at the ends of the axis, one for each run of neighbouring estimates on it.

    Args:
        x: where they stand, ``[n]``.
    """
    around, heights = [], []
    low, high = np.clip(points.low, *scale.ends), np.clip(points.high, *scale.ends)
    drawn = np.flatnonzero(np.isfinite(points.within(scale)))
    for run in np.split(drawn, np.flatnonzero(np.diff(drawn) > 1) + 1):
        if len(run) > 1:
            around += [*x[run], *x[run][::-1], np.nan]
            heights += [*low[run], *high[run][::-1], np.nan]
    if around:
        figure.add_scatter(
            x=np.array(around[:-1]),
            y=np.array(heights[:-1]),
            name=name,
            mode="lines",
            fill="toself",
            fillcolor=translucent(color, 0.1),
            line={"width": 0},
            hoverinfo="skip",
            legendgroup=name,
            showlegend=False,
            row=row,
            col=1,
        )


def explain_hollow(figure: "Figure", lines: Iterable[Estimates]) -> None:
    """The hollow marker in the legend, if there is one."""
    if not all(points.believed.all() for points in lines):
        hollow = {"size": 8, "color": PAPER, "line": {"color": INK, "width": 1.6}}
        add_key(figure, "failed a diagnostic", "markers", marker=hollow)
