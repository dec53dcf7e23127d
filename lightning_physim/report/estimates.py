"""Estimates of learning coefficients as figures draw them.

An estimate that failed its diagnostics is a hollow marker. One so far off that an axis for it would flatten all others
stands at the edge of its panel as a hollow triangle, and one without a finite value as a cross; hovering tells both.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_physim import keys
from lightning_physim.curves import Metrics
from lightning_physim.llc import diagnose, is_far_off
from lightning_physim.report.style import FAINT, HUES, INK, PAPER, head_style, translucent

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Limits = tuple[float, float]
"""The lowest and the highest value that an axis shows."""


@dataclass(frozen=True)
class Estimates:
    """Estimates along one line of a figure; all arrays ``[n]``.

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
        numbers = [{name: _number(value) for name, value in row.items()} for row in rows]
        mean, mcse, converged = (
            np.array([row.get(name, np.nan) for row in numbers]) for name in ("mean", "mcse", "converged")
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

    @classmethod
    def of_region(cls, metrics: Metrics, region: str) -> "Estimates":
        """Those of a region that a run has logged, by training step."""
        steps, _ = metrics[keys.LLC_MEAN.of(region=region)]
        logged = {name: metrics[key] for name, row in keys.LLC.items() if (key := row.of(region=region)) in metrics}
        curves = {name: dict(zip(*curve, strict=True)) for name, curve in logged.items()}
        rows = [{name: curve[step] for name, curve in curves.items() if step in curve} for step in steps]
        return cls.of(steps, rows, [f"<b>{region}</b>, step {step:,}" for step in steps])

    def within(self, limits: Limits) -> np.ndarray:
        """The means, NaN where one is beyond the axis."""
        return np.where((self.mean >= limits[0]) & (self.mean <= limits[1]), self.mean, np.nan)


def region_name(region: str) -> str:
    """A region in words."""
    return "whole model" if region == keys.MODEL else region


def region_style(region: str, among: Iterable[str]) -> tuple[str, str]:
    """Colour and dash of a region: a head has its own, the model that of ink, other regions the hues in turn."""
    if region == keys.MODEL:
        return INK, "solid"
    if keys.is_head(region):
        return head_style(region)
    others = sorted(name for name in among if name != keys.MODEL and not keys.is_head(name))
    return HUES[others.index(region) % len(HUES)], "solid"


def axis_limits(lines: Iterable[Estimates], strict: bool = False) -> Limits:
    """A range with zero, all plausible estimates, the bands of those believed, and others up to as much again beyond.

    Args:
        strict: start from the estimates to be believed, where there are any, not from all plausible ones.
    """
    lines = list(lines)
    mean, mcse, believed, plausible = (
        np.concatenate([getattr(line, name) for line in lines]) for name in ("mean", "mcse", "believed", "plausible")
    )
    finite = np.isfinite(mean)
    shown = next((some for some in (believed if strict else plausible, plausible) if some.any()), finite)
    reach = np.where(believed, 2 * mcse, 0.0)
    low = float(np.min((mean - reach)[shown], initial=0.0))
    high = float(np.max((mean + reach)[shown], initial=0.0))
    high = high if high > low else low + 1
    near = mean[finite & (np.abs(mean - (low + high) / 2) <= 1.5 * (high - low))]
    return float(np.min(near, initial=low)), float(np.max(near, initial=high))


def linear_axis(limits: Limits) -> dict[str, Any]:
    """A linear axis of these limits with some air, and a line at zero."""
    low, high = limits
    air = 0.06 * (high - low)
    return {"range": [low - air, high + air], "zeroline": True, "zerolinecolor": FAINT, "zerolinewidth": 1}


def add_estimates(
    figure: "Figure",
    x: np.ndarray,
    points: Estimates,
    name: str,
    color: str,
    limits: Limits,
    row: int,
    col: int = 1,
    bars: bool = False,
) -> None:
    """A marker per estimate, hollow unless it is to be believed.

    Args:
        x: where they stand, ``[n]``.
        limits: of the axis; what lies beyond stands at its end.
        row, col: of the panel, counted from 1.
        bars: whether all have bars of two standard errors either way, not only those without a neighbour.
    """
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


def add_band(
    figure: "Figure", x: np.ndarray, y: np.ndarray, error: np.ndarray, name: str, color: str, row: int
) -> None:
    """Polygons of ``y`` with ``error`` either way, all ``[n]``, one for each run of neighbouring finite values."""
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
            fillcolor=translucent(color, 0.14),
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
        figure.add_scatter(x=[None], y=[None], name="failed a diagnostic", mode="markers", marker=hollow)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _hover(title: str, row: Mapping[str, float]) -> str:
    mean, mcse, rhat, ess, shift = (row.get(name, np.nan) for name in ("mean", "mcse", "rhat", "ess", "shift"))
    lines = [title, f"{mean:.3g} ± {mcse:.2g} (standard error)", f"R-hat {rhat:.3f}, effective sample size {ess:.0f}"]
    lines += [f"shift {shift:.3g}"] if np.isfinite(shift) else []
    if not np.isfinite(mean):
        lines[1:] = ["no finite value"]
    if row.get("converged") == 0 or not np.isfinite(mean):
        lines.append("failed: " + ("; ".join(diagnose(row).values()) or "the reason was not logged"))
    return "<br>".join(lines)
