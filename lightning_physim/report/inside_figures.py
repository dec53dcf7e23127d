"""Inside the heads: what their scores depend on, and what their outputs do."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lightning_physim import keys
from lightning_physim.inside import Circuit, Views
from lightning_physim.report.plot import N_COLUMNS, axis_title, error_bars, style_figure
from lightning_physim.report.style import DOTTED, FAINT, HUES, INK, translucent

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST_MAPS = 4
"""Heads whose maps are drawn."""
MAP_HEIGHT, EFFECTS_HEIGHT, BETWEEN = 230, 260, 70
"""Of a map, of the effects, and between two rows, in pixels."""
STEEPEST = 3.0
"""Score at which the colours end, in units of the head's spread."""
EFFECTS = (
    ("patching_lost", "lost without the head", HUES[1]),
    ("patching_restored", "restored by the head alone", HUES[2]),
    ("intervention_through", "follows what it sees", HUES[0]),
    ("intervention_control", "follows what it sees least", FAINT),
)
"""Fractions of a change, with the name and colour of their bars."""


def inside_figure(views: Views, heads: Sequence[str] = ()) -> "Figure | None":
    """Maps of the scores of some heads, and below the effects of all, with bars of two standard errors.

    None where there is neither, as of a single particle.

    Args:
        heads: those to draw maps of, at most :data:`MOST_MAPS`; where there are none, or one is left over, those whose
            scores the maps explain best.
    """
    from plotly.subplots import make_subplots

    circuit = views.circuit
    names = [keys.head_name(*place) for place in np.ndindex(circuit.spread.shape)]
    explained = dict(zip(names, np.nan_to_num(circuit.by_both.ravel(), nan=-np.inf), strict=True))
    by_fit = sorted((name for name in names if explained[name] > -np.inf), key=lambda name: -explained[name])
    shown = ([name for name in heads if name in by_fit] or by_fit)[:MOST_MAPS]
    shown += [name for name in by_fit if name not in shown][: len(shown) % N_COLUMNS]  # no place beside it is empty
    effects = {name: array for name, array in views.arrays().items() if name in {each for each, *_ in EFFECTS}}
    n_rows = -(-len(shown) // N_COLUMNS)
    heights = [MAP_HEIGHT] * n_rows + [EFFECTS_HEIGHT] * bool(effects)
    if not heights:
        return None
    specs: list[list[dict[str, int] | None]] = [[{}, {}] for _ in range(n_rows)]
    titles = [f"{name}: {explained[name]:.0%} of the variance" for name in shown]
    if effects:
        specs.append([{"colspan": N_COLUMNS}, None])
        titles += [""] * (n_rows * N_COLUMNS - len(shown))
        titles += ["what each head does, of a partner’s effect"]
    total = sum(heights) + BETWEEN * (len(heights) - 1)
    figure = make_subplots(
        rows=len(heights),
        cols=N_COLUMNS,
        specs=specs,
        row_heights=heights,
        subplot_titles=titles,
        vertical_spacing=BETWEEN / total,
        horizontal_spacing=0.12,
    )
    style_figure(figure, height=total + 130)
    figure.update_layout(margin_t=50)
    figure.update_annotations(font={"size": 13, "color": INK})
    for i, name in enumerate(shown):
        _add_map(figure, circuit, keys.head_place(name), 1 + i // N_COLUMNS, 1 + i % N_COLUMNS, scale=i == 0)
    if effects:
        _add_effects(figure, names, views.arrays(), len(heights))
    return figure


def _add_map(figure: "Figure", circuit: Circuit, place: tuple[int, int], row: int, col: int, scale: bool) -> None:
    distance, approach = ((edges[1:] + edges[:-1]) / 2 for edges in (circuit.distance, circuit.approach))
    figure.add_heatmap(
        x=distance,
        y=approach,
        z=(circuit.map[place] / circuit.spread[place]).T,
        customdata=circuit.pairs.T,
        zmin=-STEEPEST,
        zmax=STEEPEST,
        # From one hue to the paper, whatever that is, and on to the other.
        colorscale=[
            [place, translucent(hue, opacity)]
            for place, hue, opacity in ((0, HUES[0], 1.0), (0.5, HUES[0], 0.0), (0.5, HUES[1], 0.0), (1, HUES[1], 1.0))
        ],
        showscale=scale,
        colorbar={"title": {"text": "score / spread", "side": "right"}, "thickness": 10, "len": 0.5, "y": 0.75},
        hovertemplate=(
            "distance %{x:.2f}, approach %{y:.2f}<br>score %{z:.2f} spreads, %{customdata:,} pairs<extra></extra>"
        ),
        hoverongaps=False,
        row=row,
        col=col,
    )
    ends = np.array([circuit.distance[0], min(circuit.distance[-1], 1 + circuit.approach[-1])])
    figure.add_scatter(
        x=ends, y=ends - 1, mode="lines", line=DOTTED, name="above: touch within the interval, if head-on",
        showlegend=scale, hoverinfo="skip", row=row, col=col,
    )  # fmt: skip
    figure.update_xaxes(title=axis_title("distance, contact diameters", small=True), row=row, col=col, showgrid=False)
    figure.update_yaxes(showgrid=False, row=row, col=col)
    if col == 1:
        figure.update_yaxes(title=axis_title("approach per interval", small=True), row=row, col=col)


def _add_effects(figure: "Figure", names: list[str], arrays: Mapping[str, np.ndarray], row: int) -> None:
    for name, meaning, color in EFFECTS:
        if name in arrays:
            values, errors = arrays[name].ravel(), arrays[f"{name}_error"].ravel()
            bars = error_bars(values - 2 * errors, values, values + 2 * errors, color=INK, thickness=1.2)
            figure.add_bar(x=names, y=values, error_y=bars, name=meaning, marker_color=color, row=row, col=1)
    figure.update_layout(barmode="group", bargap=0.25)
    figure.update_yaxes(title=axis_title("fraction", small=True), row=row, col=1)
