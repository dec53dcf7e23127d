"""From curves to plotly figures: the same ones for the HTML report and for Weights & Biases.

Functions take ``metrics``, the ``{key: (steps, values)}`` of :func:`lightning_physim.tracking.read_metrics`, leave out
what a run has not logged, and return a ``plotly.graph_objects.Figure``. Step 0, the untrained network, has no place on
a logarithmic axis: it stands at the left edge, under a tick of its own.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_physim import keys
from lightning_physim.curves import Metrics, head_curves
from lightning_physim.keys import Key, head_place, is_head

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

INK, FAINT, GRID = "#24262b", "#8a8f98", "#e8e6e1"
PAPER = "#fdfcf9"
FONT = "Inter, system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"
NOTE = {"size": 12, "color": INK}
# Eight hues that keep their order of lightness and stay apart for colour-blind readers (Okabe-Ito without its yellow,
# which is too light on paper, and Tol's indigo and wine).
HUES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#332288", "#882255")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
LOSSES = (
    (keys.VAL_LOSS_COLLIDING, "colliding", HUES[1]),
    (keys.VAL_LOSS, "all", INK),
    (keys.VAL_LOSS_FREE, "free", HUES[2]),
)
FLOORS = (
    (keys.FLOOR_BALLISTIC_COLLIDING, "free flight, colliding", HUES[1]),
    (keys.FLOOR_NO_PAIR_COLLIDING, "no-pair oracle, colliding", HUES[1]),
    (keys.FLOOR_BALLISTIC, "free flight", INK),
    (keys.FLOOR_NO_PAIR, "no-pair oracle", INK),
)
ROLLOUT_ERRORS = (
    ("mse", "position, squared units of length"),
    ("energy_error", "energy, relative"),
    ("momentum_error", "momentum, relative"),
)


def head_style(head: str) -> tuple[str, str]:
    """Colour and dash of a head ``"L{l}H{h}"``: always the same, unique for up to three layers of sixteen heads."""
    layer, index = head_place(head)
    return HUES[index % 8], DASHES[(layer + 3 * (index // 8)) % 6]


def loss_figure(metrics: Metrics) -> "Figure":
    """Losses against training step, both logarithmic, with the floors that show what was learned as dotted lines."""
    figure = new_figure("training step", "mean squared error, standardised")
    curves = [metrics[key] for key, _, _ in LOSSES if key in metrics]
    edge = left_edge(curves)
    if keys.TRAIN_LOSS in metrics:
        steps, values = _log_bins(*metrics[keys.TRAIN_LOSS])
        add_line(figure, shift_steps(steps, edge), values, "training", color="#c9c6bf", width=1.5)
    for key, name, color in LOSSES:
        if key in metrics:
            steps, values = metrics[key]
            add_line(figure, shift_steps(steps, edge), values, name, color=color, width=2.5)
    for key, name, color in FLOORS:
        if key in metrics and curves:
            steps, values = metrics[key]
            ends = [edge, float(np.max(np.concatenate([steps for steps, _ in curves])))]
            dash = "dot" if "no_pair" in key else "dash"
            add_line(figure, ends, [values[-1]] * 2, name, color=color, width=1.2, dash=dash)
    log_step_axis(figure, curves, edge)
    figure.update_yaxes(type="log", tickformat="~g", dtick=1)
    return figure


def scores_figure(
    metrics: Metrics,
    key: Key = keys.ENRICHMENT,
    fits: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
) -> "Figure":
    """One line per head against training step, and the value of uniform attention as a dotted one.

    Args:
        key: of a score of heads. Its axis is logarithmic unless it has values that are not
            positive.
        fits: ``{head: (steps, values)}``, the line of a power law for the heads that follow one.
    """
    title = "attention to near particles, × uniform" if key == keys.ENRICHMENT else key.quantity
    figure = new_figure("training step", title.replace("_", " "))
    curves = head_curves(metrics, key)
    edge = left_edge(list(curves.values()))
    for head, (steps, values) in curves.items():
        add_line(figure, shift_steps(steps, edge), values, head, *head_style(head))
    for i, (steps, values) in enumerate((fits or {}).values()):
        add_line(figure, steps, values, "power-law fit", INK, width=1.1, legend=i == 0)
    log_step_axis(figure, list(curves.values()), edge)
    log = all(np.nanmin(values, initial=np.inf) > 0 for _, values in curves.values())
    if log:
        figure.update_yaxes(type="log", dtick="D2")
    if key.chance is not None:
        _uniform_line(figure, key.chance, log, x=0.0)
    return figure


def attention_distance_figure(table: Mapping[str, Any]) -> "Figure":
    """Mean attention to a particle against its distance, per head.

    Args:
        table: ``{"step": int, "columns": ["distance_from", "distance_to", "uniform", "L0H0", ...], "data": [[...],
            ...]}`` as ``CollisionProbe`` logs it, a row per bin. Distances are in contact diameters: particles touch
            at 1. An empty bin is ``None``.
    """
    figure = new_figure("distance between centres, contact diameters", "mean attention to one particle")
    columns = dict(zip(table["columns"], np.array(table["data"], dtype=float).T, strict=True))
    centres = (columns["distance_from"] + columns["distance_to"]) / 2
    heads = [name for name in columns if is_head(name)]
    for head in sorted(heads, key=lambda head: -np.nanmax(columns[head], initial=0.0)):
        add_line(figure, centres, columns[head], head, *head_style(head))
    _uniform_line(figure, columns["uniform"][0], log=True, x=1.0)
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
    bottom = np.log10(columns["uniform"][0]) - 3
    figure.update_yaxes(type="log", tickformat="~g", dtick=1, range=[bottom, 0.1])
    return figure


def rollout_figure(metrics: Metrics, n_curves: int = 5) -> "Figure":
    """Error of the network as a simulator against the number of its own steps, from early training to late.

    Three panels, position, energy and momentum; in each ``n_curves`` of the steps at which it was measured, darker the
    later: the first one, then log-spaced over the last three decades.
    """
    from plotly.subplots import make_subplots

    found = {name: _horizons(metrics, name) for name, _ in ROLLOUT_ERRORS}
    titles = [title for name, title in ROLLOUT_ERRORS if found[name]]
    figure = make_subplots(rows=len(titles), cols=1, shared_xaxes=True, vertical_spacing=0.09, subplot_titles=titles)
    style_figure(figure, "predicted intervals", "", height=220 * len(titles) + 60)
    panels = [horizons for horizons in found.values() if horizons]
    steps = np.unique(np.concatenate([curve[0] for horizons in panels for curve in horizons.values()]))
    wanted = np.geomspace(1e-3, 1, n_curves - 1) * steps[-1]
    shown = np.unique([steps[0], *(steps[np.argmin(np.abs(steps - step))] for step in wanted)])
    shades = [blend("#d9d6cf", HUES[0], fraction) for fraction in np.linspace(0, 1, len(shown))]
    for row, horizons in enumerate(panels, start=1):
        for step, shade in zip(shown, shades, strict=True):
            at_step = {k: values[at == step][-1] for k, (at, values) in horizons.items() if step in at}
            add_line(
                figure,
                list(at_step),
                list(at_step.values()),
                f"step {step:,}",
                color=shade,
                width=2.2,
                mode="lines+markers",
                legend=row == 1,
                row=row,
            )
    figure.update_annotations(font={"size": 13, "color": INK}, x=0, xanchor="left")
    figure.update_yaxes(type="log", tickformat="~g", dtick=1)
    figure.update_xaxes(title="")
    figure.update_xaxes(title={"text": "predicted intervals", "standoff": 8, "font": {"size": 14}}, row=len(panels))
    return figure


def _horizons(metrics: Metrics, name: str) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    found = {int(k): curve for key, curve in metrics.items() if (k := keys.ROLLOUT[name].match(key)) is not None}
    return dict(sorted(found.items()))


def new_figure(x_title: str, y_title: str) -> "Figure":
    from plotly.graph_objects import Figure

    return style_figure(Figure(), x_title, y_title)


def style_figure(figure: "Figure", x_title: str, y_title: str, height: int = 460) -> "Figure":
    figure.update_layout(
        template="simple_white",
        height=height,
        margin={"l": 58, "r": 14, "t": 26, "b": 8},
        font={"family": FONT, "size": 14, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hovermode="closest",
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": "#d3d0c9", "activecolor": INK},
        # Under the plot, where it takes no width from it on a telephone.
        legend={"orientation": "h", "yref": "container", "yanchor": "bottom", "y": 0, "x": 0, "font": {"size": 13}},
    )
    axis = {"showgrid": True, "gridcolor": GRID, "linecolor": FAINT, "tickcolor": FAINT, "tickfont": {"size": 13}}
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    figure.update_xaxes(title={"text": x_title, "standoff": 8, "font": {"size": 14}})
    figure.update_yaxes(title={"text": y_title, "standoff": 8, "font": {"size": 14}})
    return figure


def add_line(
    figure: "Figure",
    x: Any,
    y: Any,
    name: str,
    color: str,
    dash: str = "solid",
    width: float = 2.2,
    mode: str = "lines",
    legend: bool = True,
    row: int | None = None,
    col: int = 1,
) -> None:
    values = np.asarray(y, dtype=float)
    figure.add_scatter(
        x=np.asarray(x, dtype=float),
        y=np.where(np.isfinite(values), values, np.nan),
        name=name,
        mode=mode,
        line={"color": color, "width": width, "dash": dash},
        marker={"size": 5},
        legendgroup=name,
        showlegend=legend,
        hovertemplate="%{x:,.4~g}: %{y:.4~g}<extra>%{fullData.name}</extra>",
        row=row,
        col=None if row is None else col,
    )


def _uniform_line(figure: "Figure", value: float, log: bool, x: float) -> None:
    figure.add_hline(value, line={"color": INK, "width": 1.2, "dash": "dot"})
    # An annotation of add_hline would stand at the wrong place of a logarithmic axis.
    figure.add_annotation(
        x=x,
        xref="paper",
        xanchor="right" if x else "left",
        y=np.log10(value) if log else value,
        yanchor="top",
        yshift=-4,
        text="uniform attention",
        font=NOTE,
        showarrow=False,
    )


def left_edge(curves: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Where step 0 stands: half the first step after it."""
    positive = [steps[steps > 0] for steps, _ in curves]
    return 0.5 * min((float(steps[0]) for steps in positive if len(steps)), default=1.0)


def shift_steps(steps: np.ndarray, edge: float) -> np.ndarray:
    return np.maximum(steps, edge)


def log_step_axis(figure: "Figure", curves: list[tuple[np.ndarray, np.ndarray]], edge: float) -> None:
    last = max((int(steps[-1]) for steps, _ in curves), default=1)
    decades = [10**power for power in range(13) if 1.5 * edge < 10**power <= max(last, 10)]
    names = [
        f"{value // 10**6}M" if value >= 10**6 else f"{value // 1000}k" if value >= 1000 else str(value)
        for value in decades
    ]
    if any(steps[0] == 0 for steps, _ in curves):
        decades, names = [edge, *decades], ["0", *names]
    figure.update_xaxes(
        type="log",
        range=[np.log10(edge) - 0.03, np.log10(max(last, 2 * edge)) + 0.03],
        tickvals=decades,
        ticktext=names,
    )


def _log_bins(steps: np.ndarray, values: np.ndarray, n_bins: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Means over log-spaced bins of steps: a noisy curve of any length as at most ``n_bins`` points."""
    if len(steps) <= n_bins:
        return steps, values
    bins = np.floor(n_bins * np.log1p(steps) / np.log1p(steps[-1]) * (1 - 1e-9)).astype(int)
    edges = np.flatnonzero(np.diff(bins, prepend=-1))
    sizes = np.diff(edges, append=len(steps))
    return np.add.reduceat(steps, edges) / sizes, np.add.reduceat(values, edges) / sizes


def blend(start: str, end: str, fraction: float) -> str:
    mixed = [round((1 - fraction) * int(start[i : i + 2], 16) + fraction * int(end[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#{:02x}{:02x}{:02x}".format(*mixed)
