"""Figures of several runs: one line each, and the median of those that differ by their seed alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_physim.curves import Curve, Metrics
from lightning_physim.report.plot import (
    Place,
    add_key,
    add_line,
    axis_title,
    left_edge,
    log_step_axis,
    new_figure,
    panel,
    panel_grid,
    shift_steps,
)
from lightning_physim.report.style import FAINT, INK, nth_style

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@dataclass(frozen=True)
class Line:
    """A run as figures draw it.

    Args:
        name: of the run.
        kind: the same for runs that differ by their seed alone.
        metrics: what it logged.
        index: of its colour and dash.
    """

    name: str
    kind: str
    metrics: Metrics
    index: int

    @property
    def style(self) -> tuple[str, str]:
        """Colour and dash."""
        return nth_style(self.index)


def overlay_figure(lines: Sequence[Line], key: str, y_title: str) -> "Figure":
    """One line per run against training step, both axes logarithmic, and the median of each kind with several runs."""
    figure = new_figure("training step", y_title)
    shown = [line for line in lines if key in line.metrics]
    curves = [line.metrics[key] for line in shown]
    edge = left_edge(curves)
    kinds: dict[str, list[Line]] = {}
    for line in shown:
        kinds.setdefault(line.kind, []).append(line)
    repeated = any(len(same) > 1 for same in kinds.values())
    for line, (steps, values) in zip(shown, curves, strict=True):
        add_line(figure, shift_steps(steps, edge), values, line.name, *line.style, width=1.3 if repeated else 2.2)
    for kind, same in kinds.items():
        if len(same) > 1:
            steps, values = _median([line.metrics[key] for line in same])
            color = INK if len(kinds) == 1 else same[0].style[0]
            add_line(figure, shift_steps(steps, edge), values, f"median {kind}".strip(), color, width=3.2)
    log_step_axis(figure, curves, edge)
    figure.update_yaxes(type="log", tickformat="~g", dtick="D2")
    return figure


SYMBOLS = ("circle", "diamond-open", "square", "x-open")
"""Of the values of a parameter that is no number, where one with so few of them is varied."""
FEW_VALUES = 6
"""An axis of a number with so few values has its ticks at them."""


def metric_figure(
    lines: Sequence[Line],
    parameters: Sequence[Mapping[str, Any]],
    metrics: Sequence[float],
    name: str,
    power: float | None = None,
) -> "Figure":
    """A metric against each varied parameter, a panel per parameter and a point per run.

    Args:
        parameters: the varied parameters of every run.
        metrics: of every run; those that are not finite are left out.
        name: of the metric.
        power: of the parameter, for a dotted line to compare with; the metric is then on a logarithmic axis.
    """
    varied = list(parameters[0])
    numeric = {name: all(_is_number(point[name]) for point in parameters) for name in varied}
    few = [name for name in varied if not numeric[name] and len(_values(parameters, name)) <= len(SYMBOLS)]
    kinds = [str(point[few[0]]) if few else "" for point in parameters]
    symbols = dict(zip(dict.fromkeys(kinds), SYMBOLS, strict=False))
    figure = panel_grid(varied, 190 if power is None else 260, "")
    for i, parameter in enumerate(varied):
        values = [point[parameter] for point in parameters]
        figure.add_scatter(
            x=values if numeric[parameter] else [str(x) for x in values],
            y=[metric if math.isfinite(metric) else None for metric in metrics],
            mode="markers",
            marker={
                "size": 9,
                "color": [line.style[0] for line in lines],
                "symbol": [symbols[kind] for kind in kinds],
            },
            text=[line.name for line in lines],
            hovertemplate="%{x}: %{y:.4~g}<extra>%{text}</extra>",
            showlegend=False,
            **panel(i),
        )
        if not numeric[parameter]:
            figure.update_xaxes(type="category", **panel(i))
            continue
        if len(set(values)) <= FEW_VALUES:
            figure.update_xaxes(tickvals=sorted(set(values)), **panel(i))
        if min(values) > 0 and max(values) >= 8 * min(values):
            figure.update_xaxes(type="log", dtick="D2", tickformat="~g", **panel(i))
            if power is not None:
                for kind in symbols:
                    own = [(x, y) for x, y, k in zip(values, metrics, kinds, strict=True) if k == kind and y > 0]
                    _add_power(figure, np.array(own), power, panel(i))
    if few:
        for kind, symbol in symbols.items():
            add_key(figure, kind, "markers", marker={"size": 9, "color": INK, "symbol": symbol})
    if power is not None:
        figure.update_yaxes(type="log", tickformat="~g")
    figure.update_yaxes(matches="y")
    figure.update_yaxes(title=axis_title(name, small=True), col=1)
    return figure


def _add_power(figure: "Figure", points: np.ndarray, power: float, place: Place) -> None:
    """A dotted line of a power law through the middle of points ``[points, 2]``, in their logarithms."""
    if len(points) < 2:
        return
    middle = np.log(points).mean(0)
    ends = points[:, 0].min(), points[:, 0].max()
    line = np.exp(middle[1] + power * (np.log(ends) - middle[0]))
    add_line(figure, ends, line, f"power {power:g}", FAINT, "dot", width=1.5, legend=False, **place)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _values(parameters: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    """What a parameter is set to, once each."""
    return list(dict.fromkeys(str(point[name]) for point in parameters))


def _median(curves: Sequence[Curve]) -> Curve:
    """The median curve, at the steps that all have."""
    steps = curves[0][0]
    for other, _ in curves[1:]:
        steps = np.intersect1d(steps, other)
    return steps, np.median([values[np.isin(at, steps)] for at, values in curves], axis=0)
