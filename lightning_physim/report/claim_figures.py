"""Figures that the claims are judged by: heads of several runs side by side."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lightning_physim import keys
from lightning_physim.claims import Study, heads_of
from lightning_physim.claims.evidence import MAX_ORDER_C, RANK_C
from lightning_physim.claims.geometry import N_GEOMETRY, half_rises
from lightning_physim.claims.growth import FlowHead
from lightning_physim.curves import COLLISION_HEAD, Metrics, final
from lightning_physim.emergence import LAWS, Growth, GrowthEquation, label
from lightning_physim.emergence.dynamics import OWN_SPANS
from lightning_physim.report.growth_figures import exponent_axis
from lightning_physim.report.plot import (
    add_level,
    add_line,
    add_uniform,
    axis_title,
    error_bars,
    name_once,
    new_figure,
    panel,
    panel_grid,
)
from lightning_physim.report.style import DOTTED, FAINT, HUES, INK, NOTE, PAPER, marker, translucent

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


OWN_TIMES = (-3.0, OWN_SPANS)
"""Of the head's own time: what is shown of its rise."""
REFERENCE_TIMES = np.linspace(-60.0, 0.0, 6001)
"""Where a saddle is looked at to find a tenth of its rise."""
WORDS_BELOW = 0.7
"""Down to here an axis of enrichment has room for words below 1."""
SEEDS_APART = 0.7
"""Of a column, the share over which seeds stand beside each other."""
RANK_TITLE = f"directions that count at c = {keys.CURVATURES[RANK_C]:g}"
"""What the rank is of, as axes and panels call it."""


def seed_color(index: int) -> str:
    """Of the seed with this place in the study."""
    return HUES[index % len(HUES)]


def heads_figure(seeds: Mapping[str, Metrics], others: Mapping[str, Sequence[Metrics]]) -> "Figure":
    """Final enrichment of every head, a column per seed and per control; untrained networks in the first one.

    Args:
        seeds: metrics by name.
        others: of the runs of each control, by name.
    """
    figure = new_figure("", "final enrichment, times uniform attention")
    untrained = [float(head.enrichment[1][0]) for metrics in seeds.values() for head in heads_of(metrics)]
    _points(figure, "untrained", untrained, [False] * len(untrained), FAINT, "untrained")
    for name, runs in others.items():
        heads = [head for metrics in runs for head in heads_of(metrics)]
        values, found = [final(head.enrichment) for head in heads], [head.is_used_collision_head for head in heads]
        _points(figure, name, values, found, INK, name)
    for i, (name, metrics) in enumerate(seeds.items()):
        heads = heads_of(metrics)
        values, found = [final(head.enrichment) for head in heads], [head.is_used_collision_head for head in heads]
        _points(figure, name, values, found, seed_color(i), name)
    # Above the untrained heads, where no point is.
    add_level(figure, COLLISION_HEAD, "collision head", log=True, x=0, xanchor="left", yanchor="bottom")
    add_uniform(figure, 1.0, log=True, x=1)
    figure.update_xaxes(type="category", showgrid=False)
    figure.update_yaxes(type="log", dtick="D2", tickformat="~g", autorangeoptions={"include": [WORDS_BELOW]})
    return figure


def geometry_figure(study: Study) -> "Figure":
    """Directions that count, and the order of the potential, of every head at the end; a point per head.

    Columns: collision heads that are used, the other heads of the same networks, the same networks trained on permuted
    outcomes, and untrained. The order has no untrained column, as nothing is sampled there. Within a column seeds stand
    beside each other, in the same order in each.
    """
    figure = panel_grid([RANK_TITLE, f"order of the potential at c = {MAX_ORDER_C:g} or below"], 300, "")
    permuted, every = study.permuted_heads(), study.heads()
    names = ("collision heads", "other heads", "permuted", "untrained")
    for i, (seed, heads) in enumerate(every.items()):
        shift = SEEDS_APART * ((i + 0.5) / len(every) - 0.5)
        columns = (
            [head for head in heads if head.is_used_collision_head],
            [head for head in heads if not head.is_used_collision_head],
            permuted.get(seed, []),
        )
        for column, row in enumerate(columns):
            filled = [column == 0] * len(row)
            for j, curves in enumerate(([head.d_eff for head in row], [head.order for head in row])):
                values = [final(curve, N_GEOMETRY) for curve in curves]
                _points(figure, column + shift, values, filled, seed_color(i), f"seed {seed}", **panel(j))
        first = [float(head.d_eff[1][0]) for head in heads if len(head.d_eff[1])]
        _points(figure, len(columns) + shift, first, [False] * len(first), seed_color(i), f"seed {seed}", **panel(0))
    for j, shown in enumerate((names, names[:-1])):
        figure.update_xaxes(
            tickvals=[*range(len(shown))], ticktext=shown, range=[-0.5, len(shown) - 0.5], showgrid=False, **panel(j)
        )
    figure.update_yaxes(type="log", dtick="D2", tickformat="~g", **panel(0))
    # Under the line between two columns, as hardly an order is below 2; and over the last one, where none is near 4.
    for order, words, x, side in ((2.0, "regular", 2 / 3, "top"), (4.0, "quartic", 5 / 6, "bottom")):
        beside = {"text": words, "font": NOTE, "x": x, "xanchor": "center", "yanchor": side}
        figure.add_hline(order, line=DOTTED, annotation=beside, **panel(1))
    return figure


def timing_figure(study: Study) -> "Figure":
    """When directions that count pass half of their rise, against when the score does; a point per collision head."""
    figure = new_figure("step at half of the score’s rise", "step at half of the directions’ rise")
    ends = []
    for i, (seed, heads) in enumerate(study.heads().items()):
        used = [head for head in heads if head.is_used_collision_head]
        steps = 10 ** half_rises(used)
        ends += steps.ravel().tolist()
        figure.add_scatter(
            x=steps[:, 1],
            y=steps[:, 0],
            mode="markers",
            marker=marker([True] * len(steps), seed_color(i)),
            name=f"seed {seed}",
            legendgroup=f"seed {seed}",
            hovertemplate="score %{x:.0f}, directions %{y:.0f}<extra>%{fullData.name}</extra>",
        )
    if ends:
        add_line(figure, [min(ends), max(ends)], [min(ends), max(ends)], "same step", FAINT, "dot", legend=False)
    figure.update_xaxes(type="log", tickformat="~g")
    figure.update_yaxes(type="log", tickformat="~g")
    return figure


def flow_figure(heads: Sequence[FlowHead]) -> "Figure":
    """Scores over the time of gradient flow at both step sizes, and those at the limit as shares of their own rises.

    A line is a head, a colour a seed. Faint are two potentials: a regular saddle and a degenerate one of degree 3.
    """
    figure = panel_grid(["partner score, coarse steps dotted", "share of the head’s own rise"], 320, "")
    seeds = list(dict.fromkeys(head.seed for head in heads))
    for head in heads:
        color, name = seed_color(seeds.index(head.seed)), f"seed {head.seed}"
        for (time, score), dash in ((head.fine, "solid"), (head.coarse, "dot")):
            add_line(figure, time[time > 0], score[time > 0], name, color, dash, width=1.5, **panel(0))
        if head.in_flow:
            add_line(figure, *head.own, name, color, width=1.5, **panel(1))
    at = np.linspace(*OWN_TIMES, 200)
    for order, dash in ((1.0, "dash"), (2.0, "dashdot")):
        equation = GrowthEquation(order, 1.0, 1.0, 0.0)
        tenth = float(np.interp(0.1, equation.share(REFERENCE_TIMES), REFERENCE_TIMES))
        add_line(figure, at, equation.share(-tenth * at), f"saddle of degree {order + 1:g}", FAINT, dash, **panel(1))
    name_once(figure)
    flow_time = axis_title("time of gradient flow", small=True)
    figure.update_xaxes(type="log", dtick=1, title=flow_time, **panel(0))
    in_own = axis_title("time since half of it, from a tenth to half = 1", small=True)
    figure.update_xaxes(range=OWN_TIMES, title=in_own, **panel(1))
    figure.update_yaxes(range=[-0.05, 1.15], **panel(1))
    return figure


def laws_figure(rows: Sequence[Growth]) -> "Figure":
    """AICc weights: a row per curve, a column per law, and a dot at the verdict, where there is one."""
    from plotly.graph_objects import Heatmap

    shown = [growth for growth in rows if growth.comparison.weights][::-1]
    figure = new_figure("", "")
    names = {law: label(law).replace(" ", "<br>") for law in LAWS}
    figure.add_trace(
        Heatmap(
            z=[[growth.comparison.weights[law] for law in names] for growth in shown],
            x=list(names.values()),
            y=[f"{growth.run} {growth.name}" for growth in shown],
            zmin=0,
            zmax=1,
            colorscale=[[0, translucent(HUES[0], 0.0)], [1, HUES[0]]],
            showscale=False,
            xgap=2,
            ygap=2,
            hovertemplate="%{y}: %{z:.3f}<extra></extra>",
        )
    )
    decided = [growth for growth in shown if growth.verdict in names]
    figure.add_scatter(
        x=[names[growth.verdict] for growth in decided],
        y=[f"{growth.run} {growth.name}" for growth in decided],
        mode="markers",
        marker={"size": 7, "color": PAPER, "line": {"color": INK, "width": 1}},
        showlegend=False,
        hoverinfo="skip",
    )
    figure.update_xaxes(side="top", showgrid=False, range=[-0.5, len(names) - 0.5])
    figure.update_yaxes(showgrid=False, tickfont={"size": 12}, range=[-0.5, len(shown) - 0.5])
    figure.update_layout(height=90 + 19 * max(len(shown), 3), margin_l=120)
    return figure


def exponents_figure(rows: Sequence[Growth]) -> "Figure":
    """Power-law exponents of the approach with 95 % intervals, filled where a power law is the verdict."""
    shown = [growth for growth in rows if growth.fit is not None][::-1]
    figure = new_figure("exponent of the approach", "")
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
    exponent_axis(figure)
    figure.update_yaxes(tickfont={"size": 12})
    figure.update_layout(height=110 + 19 * max(len(shown), 3), margin_l=120)
    return figure


def _points(
    figure: "Figure", at: str | float, values: list[float], filled: list[bool], color: str, name: str, **place: int
) -> None:
    """Points above each other, hollow but for those that are filled; ``name`` is told of each."""
    if values:
        figure.add_scatter(
            x=[at] * len(values),
            y=values,
            mode="markers",
            marker=marker(filled, color),
            showlegend=False,
            hovertemplate=f"%{{y:.3~g}}<extra>{name}</extra>",
            **place,
        )
