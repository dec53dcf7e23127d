"""Figures that the claims are judged by: heads of several runs side by side."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lightning_physim.claims import heads_of
from lightning_physim.claims.geometry import N_LLC, N_SCORE, Rises
from lightning_physim.curves import COLLISION_HEAD, Curve, Metrics, final, rise
from lightning_physim.emergence import LAWS, Growth, label
from lightning_physim.report.plot import add_level, add_line, axis_title, error_bars, new_figure, panel, panel_grid
from lightning_physim.report.style import FAINT, HUES, INK, PAPER, marker

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def seed_color(index: int) -> str:
    """Of the seed with this place in the study."""
    return HUES[index % len(HUES)]


def heads_figure(seeds: Mapping[str, Metrics], others: Mapping[str, Metrics]) -> "Figure":
    """Final enrichment of every head, a column per run; untrained networks in the first one.

    Args:
        seeds: metrics by name.
        others: of the controls, by name; those without heads are left out.
    """
    figure = new_figure("", "final enrichment, times uniform attention")
    untrained = [float(head.enrichment[1][0]) for metrics in seeds.values() for head in heads_of(metrics)]
    _points(figure, "untrained", untrained, [False] * len(untrained), FAINT)
    for name, metrics in others.items():
        heads = heads_of(metrics)
        _points(
            figure, name, [final(head.enrichment) for head in heads], [h.is_used_collision_head for h in heads], INK
        )
    for i, (name, metrics) in enumerate(seeds.items()):
        heads = heads_of(metrics)
        values, found = [final(head.enrichment) for head in heads], [head.is_used_collision_head for head in heads]
        _points(figure, name, values, found, seed_color(i))
    for value, words in ((COLLISION_HEAD, "collision head"), (1.0, "uniform attention")):
        add_level(figure, value, words, log=True, x=1, xanchor="right", yanchor="bottom")
    figure.update_xaxes(type="category", showgrid=False)
    figure.update_yaxes(type="log", dtick="D2", tickformat="~g")
    return figure


def geometry_figure(seeds: Mapping[str, Metrics]) -> "Figure":
    """Rise of the score against the rise of LLC, weight norm and gradient norm, a point per head."""
    columns = {"learning coefficient": "llc", "weight norm": "weight_norm", "gradient norm": "grad_norm"}
    figure = panel_grid(list(columns), 240, "rise from the first estimate to the last")
    for i, (name, metrics) in enumerate(seeds.items()):
        heads = heads_of(metrics)
        rises = [Rises.of(head) for head in heads]
        for j, column in enumerate(columns.values()):
            figure.add_scatter(
                x=[getattr(row, column) for row in rises],
                y=[row.score for row in rises],
                mode="markers",
                marker=marker([head.is_used_collision_head for head in heads], seed_color(i)),
                name=name,
                legendgroup=name,
                showlegend=j == 0,
                text=[head.name for head in heads],
                hovertemplate="%{text}: %{x:.3~g}, %{y:.3~g}<extra>%{fullData.name}</extra>",
                **panel(j),
            )
    figure.update_yaxes(title=axis_title("rise of the score", small=True), col=1)
    return figure


def timing_figure(seeds: Mapping[str, Metrics]) -> "Figure":
    """Share of their rise that score and LLC of every collision head have made, against the step; medians thick."""
    figure = new_figure("training step", "share of the rise")
    heads = [head for metrics in seeds.values() for head in heads_of(metrics) if head.is_used_collision_head]
    kinds = (
        ("score", HUES[0], "solid", [_share(head.score, N_SCORE) for head in heads]),
        ("learning coefficient", HUES[1], "dash", [_share(head.llc, N_LLC) for head in heads]),
    )
    top = 1.0
    for name, color, dash, curves in kinds:
        curves = [curve for curve in curves if len(curve[0])]
        for steps, values in curves:
            add_line(figure, steps, values, name, color, dash, width=0.7, legend=False)
        steps = np.unique(np.concatenate([curve[0] for curve in curves])) if curves else np.zeros(0)
        known = [dict(zip(*curve, strict=True)) for curve in curves]
        middle = [np.median([curve[step] for curve in known if step in curve]) for step in steps]
        add_line(figure, steps, middle, name, color, dash, width=3.5)
        top = max([top, *middle])
    figure.update_traces(opacity=0.4, selector={"line.width": 0.7})
    figure.update_xaxes(type="log", dtick=1)
    figure.update_yaxes(range=[-0.3, 1.2 * top])  # far-off estimates of single heads are cut
    return figure


def laws_figure(rows: Sequence[Growth]) -> "Figure":
    """AICc weights: a row per curve, a column per law, and the verdict at the right."""
    from plotly.graph_objects import Heatmap

    shown = [growth for growth in rows if growth.comparison.weights][::-1]
    figure = new_figure("", "")
    laws = list(LAWS)
    figure.add_trace(
        Heatmap(
            z=[[growth.comparison.weights[law] for law in laws] for growth in shown],
            x=[label(law).replace(" ", "<br>") for law in laws],
            y=[f"{growth.run} {growth.name}" for growth in shown],
            zmin=0,
            zmax=1,
            colorscale=[[0, PAPER], [1, HUES[0]]],
            showscale=False,
            xgap=2,
            ygap=2,
            hovertemplate="%{y}: %{z:.3f}<extra></extra>",
        )
    )
    for i, growth in enumerate(shown):
        words = label(growth.verdict)
        figure.add_annotation(
            x=len(laws) - 0.45, y=i, text=words, xanchor="left", showarrow=False, font={"size": 12, "color": INK}
        )
    figure.update_xaxes(side="top", showgrid=False, range=[-0.5, len(laws) + 0.9])
    figure.update_yaxes(showgrid=False, tickfont={"size": 12})
    figure.update_layout(height=90 + 19 * max(len(shown), 3), margin_l=120)
    return figure


def exponents_figure(rows: Sequence[Growth]) -> "Figure":
    """Power-law exponents of the approach with 95 % intervals, filled where a power law is the verdict."""
    shown = [growth for growth in rows if growth.fit is not None][::-1]
    figure = new_figure("exponent of the approach to the plateau", "")
    names = list(dict.fromkeys(growth.run for growth in rows))
    for growth in shown:
        fit = growth.fit
        assert fit is not None
        color = seed_color(names.index(growth.run))
        figure.add_scatter(
            x=[fit.exponent],
            y=[f"{growth.run} {growth.name}"],
            error_x=error_bars([fit.exponent_lo], [fit.exponent], [fit.exponent_hi], type="data", color=color),
            mode="markers",
            marker=marker([growth.is_power_law], color),
            showlegend=False,
            hovertemplate="%{x:.3~g}<extra>%{y}</extra>",
        )
    figure.update_xaxes(type="log", tickformat="~g", dtick="D2")
    figure.update_yaxes(tickfont={"size": 12})
    figure.update_layout(height=110 + 19 * max(len(shown), 3), margin_l=120)
    return figure


def _points(figure: "Figure", column: str, values: list[float], filled: list[bool], color: str) -> None:
    if values:
        figure.add_scatter(
            x=[column] * len(values),
            y=values,
            mode="markers",
            marker=marker(filled, color),
            showlegend=False,
            hovertemplate="%{y:.3~g}<extra>%{x}</extra>",
        )


def _share(curve: Curve, n: int) -> Curve:
    steps, values = curve
    if not rise(curve, n) > 0:
        return steps[:0], values[:0]
    later = steps > 0
    return steps[later], (values[later] - values[0]) / rise(curve, n)
