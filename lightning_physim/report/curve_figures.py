"""From curves to plotly figures: the same ones for the HTML report and for Weights & Biases.

Functions take ``metrics``, the curves of :func:`lightning_physim.tracking.read_metrics`, leave out what a run has not
logged, and return a ``plotly.graph_objects.Figure``.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_physim import keys
from lightning_physim.curves import ONSET, Curve, Metrics, first_step, head_curves
from lightning_physim.keys import Key
from lightning_physim.report.plot import (
    NEAR_ATTENTION,
    add_level,
    add_line,
    add_uniform,
    axis_title,
    left_edge,
    log_step_axis,
    new_figure,
    power_axis,
    read_across,
    shift_steps,
    style_figure,
)
from lightning_physim.report.style import FAINT, HUES, INK, NOTE, blend, head_style

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

LOSS_LINES = (
    (keys.VAL_LOSS_COLLIDING, "colliding", HUES[1]),
    (keys.VAL_LOSS, "all", INK),
    (keys.VAL_LOSS_FREE, "free", HUES[2]),
)
FLOOR_LINES = (
    (keys.FLOOR_BALLISTIC_COLLIDING, "free flight, colliding", HUES[1], "dash"),
    (keys.FLOOR_NO_PAIR_COLLIDING, "no-pair oracle, colliding", HUES[1], "dot"),
    (keys.FLOOR_BALLISTIC, "free flight", INK, "dash"),
    (keys.FLOOR_NO_PAIR, "no-pair oracle", INK, "dot"),
)
MOST_HALVES = 30.0
"""Ratio of the losses of a run up to which its axis has ticks between powers of ten."""
ROLLOUT_FLOORS_SHOWN = {"ballistic": ("free flight", "dash"), "no_pair": ("no-pair oracle", "dot")}
"""Floors of rollouts by name: what they are called, and their dashes, as those of losses."""
ROLLOUT_PANELS = {
    keys.ROLLOUT_MSE: "position, squared units of length",
    keys.ROLLOUT_ENERGY: "energy, relative",
    keys.ROLLOUT_MOMENTUM: "momentum, relative",
}


def loss_figure(metrics: Metrics) -> "Figure":
    """Losses against training step, both logarithmic, with the floors that show what was learned as dotted lines."""
    figure = new_figure("training step", "mean squared error, standardised")
    curves = [metrics[key] for key, _, _ in LOSS_LINES if key in metrics]
    edge = left_edge(curves)
    if keys.TRAIN_LOSS in metrics:
        steps, values = log_bins(*metrics[keys.TRAIN_LOSS])
        add_line(figure, shift_steps(steps, edge), values, "training", color=FAINT, width=1)
    for key, name, color in LOSS_LINES:
        if key in metrics:
            steps, values = metrics[key]
            add_line(figure, shift_steps(steps, edge), values, name, color=color, width=2.5)
    end = max((float(np.max(steps)) for steps, _ in curves), default=edge)
    for key, name, color, dash in FLOOR_LINES:
        if key in metrics and curves:
            _, values = metrics[key]
            add_line(figure, [edge, end], [values[-1]] * 2, name, color=color, width=1.2, dash=dash)
    log_step_axis(figure, curves, edge)
    lines = [values[values > 0] for _, values in curves]
    spans = max((v.max() for v in lines if len(v)), default=1.0) / min((v.min() for v in lines if len(v)), default=1.0)
    figure.update_yaxes(type="log", tickformat="~g", dtick=1 if spans > MOST_HALVES else "D2")
    return read_across(figure)


def scores_figure(metrics: Metrics, key: Key = keys.ENRICHMENT, fits: Mapping[str, Curve] | None = None) -> "Figure":
    """One line per head against training step, and the value of uniform attention as a dotted one.

    Args:
        key: a score of heads. Its axis is logarithmic unless it has values that are not positive.
        fits: ``{head: (steps, values)}``, the line of a power law for the heads that follow one.
    """
    figure = new_figure("training step", NEAR_ATTENTION if key == keys.ENRICHMENT else key.quantity.replace("_", " "))
    curves = head_curves(metrics, key)
    # With room for what the pointer reads of all heads.
    figure.update_layout(height=figure.layout.height + 16 * max(len(curves) - 12, 0))
    edge = left_edge(curves.values())
    unit = "× uniform" if key == keys.ENRICHMENT else ""
    for head, (steps, values) in curves.items():
        # Among many heads those that rise are to be seen.
        width = 1.2 if key == keys.ENRICHMENT and first_step((steps, values), ONSET) is None else 2.2
        add_line(figure, shift_steps(steps, edge), values, head, *head_style(head), width=width, unit=unit)
    for i, (steps, values) in enumerate((fits or {}).values()):
        add_line(figure, steps, values, "fitted law", INK, width=1.1, legend=i == 0)
        figure.data[-1].update(hovertemplate=None, hoverinfo="skip")
    log_step_axis(figure, list(curves.values()), edge)
    log = all(np.nanmin(values, initial=np.inf) > 0 for _, values in curves.values())
    if log:
        figure.update_yaxes(type="log", dtick="D2")
    if key.chance is not None:
        add_uniform(figure, key.chance, log, x=0.0)
    return read_across(figure)


def profiles(table: Mapping[str, Any]) -> dict[int, dict[str, np.ndarray]]:
    """The columns of a table of attention against distance, by step; that of an older run has its last step alone.

    Args:
        table: ``{"step": int, "columns": ["step", "distance_from", "distance_to", "uniform", "L0H0", ...], "data":
            [[...], ...]}`` as ``CollisionProbe`` logs it, a row per step and bin. Distances are in contact diameters:
            particles touch at 1. An empty bin is ``None``.
    """
    columns = dict(zip(table["columns"], np.array(table["data"], dtype=float).T, strict=True))
    steps = columns.pop("step", np.full(len(table["data"]), table["step"]))
    return {int(step): {name: each[steps == step] for name, each in columns.items()} for step in np.unique(steps)}


def attention_distance_figure(table: Mapping[str, Any]) -> "Figure":
    """Mean attention to a particle against its distance, per head, at the last step of a table of :func:`profiles`."""
    found = profiles(table)
    columns = found[max(found)]
    figure = new_figure("distance, contact diameters", "mean attention to one particle")
    centres = _centres(columns)
    for head in _by_attention(columns):
        add_line(figure, centres, columns[head], head, *head_style(head), unit="of the attention")
    add_uniform(figure, columns["uniform"][0], log=True, x=0.0)
    return _over_distance(figure, columns, float(columns["uniform"][0]))


def correlation_figure(table: Mapping[str, Any]) -> "Figure | None":
    """``1 + C(r)``, attention to one particle over that of uniform attention, of the head that ends with the largest.

    A line for each step of a table of :func:`profiles`, darker the later; None where there is one step alone.
    """
    found = profiles(table)
    if len(found) < 2:
        return None
    head = _by_attention(found[max(found)])[0]
    figure = new_figure("distance, contact diameters", f"attention of {head} to one particle, × uniform")
    for fraction, (step, columns) in zip(np.linspace(0, 1, len(found)), found.items(), strict=True):
        shade = blend("#d9d6cf", HUES[0], fraction)
        add_line(
            figure, _centres(columns), columns[head] / columns["uniform"], f"step {step:,}", shade, unit="× uniform"
        )
    add_uniform(figure, 1.0, log=True, x=0.0)
    return _over_distance(figure, found[max(found)], 1.0)


def _centres(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    return (columns["distance_from"] + columns["distance_to"]) / 2


def _by_attention(columns: Mapping[str, np.ndarray]) -> list[str]:
    """Heads, the largest attention to one particle first."""
    return sorted(filter(keys.is_head, columns), key=lambda head: -np.nanmax(columns[head], initial=0.0))


def _over_distance(figure: "Figure", columns: Mapping[str, np.ndarray], uniform: float) -> "Figure":
    """The axes of attention against distance, with a mark at contact."""
    figure.add_vline(1.0, line={"color": FAINT, "width": 1.2})
    figure.add_annotation(
        x=1.0,
        y=0,
        yref="paper",
        yanchor="bottom",
        xanchor="left",
        text="contact",
        font=NOTE | {"color": FAINT},
        showarrow=False,
    )
    figure.update_xaxes(range=[0, float(columns["distance_to"][-1])])
    # Softmax reaches 1e-30 for far particles: three decades below uniform attention nothing is to be seen.
    bottom, top = np.log10(uniform) - 3, 0.1 + np.log10(uniform / columns["uniform"][0])
    figure.update_yaxes(type="log", tickformat="~g", dtick=1, range=[bottom, top])
    return read_across(figure, "%{x:.2~f} contact diameters")


def rollout_figure(
    metrics: Metrics, n_curves: int = 5, diameter: float | None = None, floors: Mapping[str, Any] | None = None
) -> "Figure":
    """Error of the network as a simulator against the number of its own steps, from early training to late.

    Three panels, position, energy and momentum; in each ``n_curves`` of the steps at which it was measured, bluer the
    later: the first one, then log-spaced over the last three decades.

    Args:
        diameter: of the particles, in units of length, for a line to compare positions with.
        floors: ``{"columns": ["floor", "mse@1", ...], "data": [["ballistic", ...], ...]}``, errors of predictors that
            know less, as :class:`lightning_physim.PhysicsSimulator` logs them.
    """
    from plotly.subplots import make_subplots

    panels = {title: curves for key, title in ROLLOUT_PANELS.items() if (curves := _by_horizon(metrics, key))}
    titles = {title: key for key, title in ROLLOUT_PANELS.items()}
    known = [dict(zip(floors["columns"], row, strict=True)) for row in floors["data"]] if floors else []
    figure = make_subplots(
        rows=len(panels), cols=1, shared_xaxes=True, vertical_spacing=0.09, subplot_titles=list(panels)
    )
    style_figure(figure, height=220 * len(panels) + 60)
    figure.update_annotations(font={"size": 13, "color": INK}, x=0, xanchor="left")
    steps = np.unique(np.concatenate([steps for curves in panels.values() for steps, _ in curves.values()]))
    wanted = np.geomspace(1e-3, 1, n_curves - 1) * steps[-1]
    shown = np.unique([steps[0], *(steps[np.argmin(np.abs(steps - step))] for step in wanted)])
    shades = [blend(FAINT, HUES[0], fraction) for fraction in np.linspace(0, 1, len(shown))]
    for row, (title, curves) in enumerate(panels.items(), start=1):
        if title == ROLLOUT_PANELS[keys.ROLLOUT_MSE] and diameter is not None:
            add_level(figure, diameter**2, "a diameter off", log=True, row=row, x=0, xanchor="left", yanchor="bottom")
        for step, shade in zip(shown, shades, strict=True):
            errors = {k: values[at == step][-1] for k, (at, values) in curves.items() if step in at}
            add_line(
                figure,
                list(errors),
                list(errors.values()),
                f"step {step:,}",
                color=shade,
                mode="lines+markers",
                legend=row == 1,
                row=row,
            )
        for floor in known:
            errors = {k: floor[error] for k in curves if (error := f"{titles[title].quantity}@{k}") in floor}
            name, dash = ROLLOUT_FLOORS_SHOWN[floor["floor"]]
            add_line(figure, list(errors), list(errors.values()), name, INK, dash, width=1.2, legend=row == 1, row=row)
    power_axis(figure)
    figure.update_xaxes(title=axis_title("predicted intervals"), row=len(panels))
    return read_across(figure, "after %{x} intervals")


def log_bins(steps: np.ndarray, values: np.ndarray, n_bins: int = 200) -> Curve:
    """Means over log-spaced bins of steps: a noisy curve of any length as at most ``n_bins`` points."""
    if len(steps) <= n_bins:
        return steps, values
    bins = np.floor(n_bins * np.log1p(steps) / np.log1p(steps[-1]) * (1 - 1e-9)).astype(int)
    edges = np.flatnonzero(np.diff(bins, prepend=-1))
    sizes = np.diff(edges, append=len(steps))
    return np.add.reduceat(steps, edges) / sizes, np.add.reduceat(values, edges) / sizes


def _by_horizon(metrics: Metrics, key: Key) -> dict[int, Curve]:
    """The curves of an error by the number of predicted intervals, in its order."""
    curves = {int(k): curve for name, curve in metrics.items() if (k := key.match(name)) is not None}
    return dict(sorted(curves.items()))
