"""Snapshots as plotly figures, for loggers that take no page; on a page :func:`viewer_html` takes their place."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from lightning_physim import keys
from lightning_physim.report.plot import style_figure
from lightning_physim.report.style import FAINT, INK, blend, head_style
from lightning_physim.report.viewer import Snapshots

if TYPE_CHECKING:
    from plotly.graph_objects import Figure, Scatter

LEVELS = (0.05, 0.15, 0.35, 0.65, 1.0)
"""Edges of the classes of weight that lines of attention are drawn in; below the first there is none."""
DISC = "#e9e6df"
CIRCLE = np.linspace(0, 2 * np.pi, 25)


def attention_map_figure(snapshots: Snapshots, state: int = 0, head_names: Iterable[str] | None = None) -> "Figure":
    """What every head looks at in one held-out state, at the last snapshot: a box per head, a row per layer.

    A line runs from the particle that looks to the one looked at, which it ends at in a dot; the wider and darker, the
    more of the attention. Particles with a heavy edge are about to touch.

    Args:
        snapshots: with ``attention``.
        state: which of the states.
        head_names: of the heads that are shown; None for all.
    """
    from plotly.subplots import make_subplots

    step = max(snapshots)
    scene = snapshots[step]
    attention = scene["attention"][:, state].astype(float) / 255
    n_layers, n_heads = attention.shape[:2]
    names = [[keys.head_name(layer, head) for head in range(n_heads)] for layer in range(n_layers)]
    figure = make_subplots(
        rows=n_layers,
        cols=n_heads,
        subplot_titles=[name for row in names for name in row],
        horizontal_spacing=0.02,
        vertical_spacing=0.09,
    )
    style_figure(figure, height=260 * n_layers + 70)
    places = scene["states"][state, :, :2].astype(float)
    marked = scene["touching"][state].any(0)
    for layer, row in enumerate(names):
        for head, name in enumerate(row):
            if head_names is not None and name not in head_names:
                continue
            place = {"row": layer + 1, "col": head + 1}
            for these, edge, width in ((~marked, FAINT, 1.0), (marked, INK, 2.5)):
                figure.add_trace(_circles(places[these], scene["radii"][these], edge, width, DISC), **place)
            for trace in _looks(places, attention[layer, head], head_style(name)[0]):
                figure.add_trace(trace, **place)
    _box(figure, scene["box"])
    figure.update_layout(
        showlegend=False, title={"text": f"Attention at step {step:,}", "font": {"size": 14}}, margin={"t": 60, "l": 10}
    )
    return figure


def rollout_animation_figure(snapshots: Snapshots, trajectory: int = 0) -> "Figure":
    """The network of the last snapshot (discs) beside the truth (rings), a frame per interval, with a button to play.

    Args:
        snapshots: with ``rollout``.
        trajectory: which of them.
    """
    from plotly.graph_objects import Figure, Frame

    step = max(snapshots)
    scene = snapshots[step]
    truth, network = (scene[name][trajectory].astype(float) for name in ("truth", "rollout"))
    interval, radii = float(scene["interval"]), scene["radii"]

    def traces(k: int) -> "list[Scatter]":
        lost = ~np.isfinite(network[k]).all(-1)
        placed = np.where(lost[:, None], np.nan, network[k])
        return [
            _circles(placed, radii, "#59616e", 1.0, "rgba(89,97,110,0.8)", "network"),
            _circles(truth[k], radii, INK, 2.0, None, "truth"),
        ]

    names = [f"{k * interval:.3g}" for k in range(len(truth))]
    figure = Figure(traces(0), frames=[Frame(data=traces(k), name=name) for k, name in enumerate(names)])
    style_figure(figure, height=560)
    _box(figure, scene["box"])
    still = {"mode": "immediate", "transition": {"duration": 0}}
    figure.update_layout(
        title={"text": f"The network of step {step:,} as a simulator", "font": {"size": 14}},
        margin={"t": 60, "b": 90},
        legend={"yref": "paper", "y": 1.0, "yanchor": "bottom"},
        updatemenus=[
            {
                "type": "buttons", "direction": "left", "x": 0, "y": -0.08, "xanchor": "left", "yanchor": "top",
                "showactive": False,
                "buttons": [
                    {"label": "play", "method": "animate",
                     "args": [None, still | {"frame": {"duration": 150, "redraw": False}, "fromcurrent": True}]},
                    {"label": "pause", "method": "animate", "args": [[None], still]},
                ],
            }
        ],
        sliders=[
            {
                "x": 0.25, "len": 0.75, "y": -0.05, "currentvalue": {"prefix": "time "},
                "steps": [
                    {"label": name, "method": "animate", "args": [[name], still | {"frame": {"redraw": False}}]}
                    for name in names
                ],
            }
        ],
    )  # fmt: skip
    return figure


def _circles(
    places: np.ndarray, radii: np.ndarray, edge: str, width: float, fill: str | None, name: str = ""
) -> "Scatter":
    """All discs in one trace, as polygons in the units of the box: markers would have a size in pixels."""
    from plotly.graph_objects import Scatter

    x, y = places.T
    around = [np.stack((x + radii * np.cos(a), y + radii * np.sin(a))) for a in CIRCLE] + [np.full((2, len(x)), np.nan)]
    points = np.round(np.stack(around, axis=-1).reshape(2, -1), 4)
    return Scatter(
        x=points[0],
        y=points[1],
        mode="lines",
        line={"color": edge, "width": width},
        fill="toself" if fill else "none",
        fillcolor=fill,
        hoverinfo="skip",
        name=name,
        showlegend=bool(name),
    )


def _looks(places: np.ndarray, weights: np.ndarray, color: str) -> "Iterable[Scatter]":
    """Lines of attention ``[query, key]`` in classes of weight, each with a dot at the key."""
    from plotly.graph_objects import Scatter

    x, y = places.T
    np.fill_diagonal(weights := weights.copy(), 0.0)
    for level, (low, high) in enumerate(zip(LEVELS, LEVELS[1:], strict=False)):
        query, key = np.nonzero((weights > low) & (weights <= high))
        if not len(query):
            continue
        gap = np.full(len(query), np.nan)
        dot = 2.0 + 1.8 * level
        yield Scatter(
            x=np.round(np.stack((x[query], x[key], gap), axis=1).ravel(), 4),
            y=np.round(np.stack((y[query], y[key], gap), axis=1).ravel(), 4),
            mode="lines+markers",
            line={"color": blend("#ffffff", color, 0.35 + 0.2 * level), "width": 1 + 1.2 * level},
            marker={"size": np.tile([0, dot, 0], len(query)), "color": color},
            text=[text for q, k in zip(query, key, strict=True) for text in ("", f"{weights[q, k]:.2f}", "")],
            hovertemplate="%{text}<extra></extra>",
            showlegend=False,
        )


def _box(figure: "Figure", box: np.ndarray) -> None:
    """Every panel is the box, with its walls."""
    width, height = map(float, box)
    axis = {"showgrid": False, "showticklabels": False, "ticks": "", "mirror": True, "linecolor": INK, "linewidth": 1.5}
    figure.update_xaxes(range=[0, width], constrain="domain", **axis)
    figure.update_yaxes(range=[0, height], **axis)
    figure.for_each_yaxis(lambda y: y.update(scaleanchor=y.plotly_name.replace("yaxis", "x")))
