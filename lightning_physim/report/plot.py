"""The plot kit: figures, panels, axes and lines of all figures of the report.

Step 0, the untrained network, has no place on a logarithmic axis. It stands at the left edge, under a tick of its own.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike

from lightning_physim.curves import Curve
from lightning_physim.report.style import DOTTED, FAINT, FONT, GRID, INK, NOTE, PAPER

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

N_COLUMNS = 2
"""Columns of a grid of panels."""
NEAR_ATTENTION = "attention to near particles, × uniform"
"""Title of an axis of enrichment."""
TEXT_ALONE = "%{hovertext}<extra></extra>"
"""Hover template of what has words of its own."""
AT, NAMED = "%{x:,.4~g}: ", "<extra>%{fullData.name}</extra>"
"""Beginning and end of the hover template of a line."""
APART = 1.02
"""Ratio of the steps at which markers of two lines stand, so that bars do not cover each other."""
TOGETHER = 0.2
"""Decades of an axis of steps that the markers of one step take at most."""


class Place(TypedDict):
    """Row and column of a panel, counted from 1, as plotly takes them."""

    row: int
    col: int


def new_figure(x_title: str, y_title: str) -> "Figure":
    """An empty figure with one pair of axes."""
    from plotly.graph_objects import Figure

    return style_figure(Figure(), x_title, y_title)


def style_figure(figure: "Figure", x_title: str = "", y_title: str = "", height: int = 460) -> "Figure":
    """Give a figure the layout that all have.

    Args:
        x_title, y_title: of all its axes.
        height: in pixels.
    """
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
    figure.update_xaxes(title=axis_title(x_title))
    figure.update_yaxes(title=axis_title(y_title))
    return figure


def axis_title(text: str, small: bool = False) -> dict[str, Any]:
    """The title of an axis; a small one for a panel of a grid."""
    return {"text": text, "standoff": 6 if small else 8, "font": {"size": 13 if small else 14}}


def stacked_panels(
    titles: Sequence[str], heights: Sequence[int], x_title: str = "training step", shared: bool = True
) -> "Figure":
    """Panels one above the other, with a title at the left of each.

    Args:
        heights: in pixels, one for each title.
        x_title: of the lowest panel.
        shared: whether they are over one x-axis.
    """
    from plotly.subplots import make_subplots

    gap = 34 if shared else 80  # of ticks and a title, too
    figure = make_subplots(
        rows=len(titles),
        cols=1,
        shared_xaxes=shared,
        vertical_spacing=gap / (sum(heights) + gap * (len(titles) - 1)) if len(titles) > 1 else 0,
        row_heights=list(heights),
        subplot_titles=list(titles),
    )
    style_figure(figure, height=sum(heights) + gap * len(titles) + 110)
    figure.update_annotations(font={"size": 13, "color": INK}, x=0, xanchor="left")
    figure.update_xaxes(title=axis_title(x_title), row=len(titles))
    return figure


def panel_grid(titles: Sequence[str], height: int, x_title: str) -> "Figure":
    """Panels in :data:`N_COLUMNS` columns, each with axes of its own and its title at the left.

    An odd one at the end is as wide as the figure.

    Args:
        height: of a panel, in pixels.
        x_title: of the panels in the lowest row.
    """
    from plotly.subplots import make_subplots

    columns = min(N_COLUMNS, len(titles))
    rows, odd = -(-len(titles) // columns), len(titles) % columns
    total = rows * (height + 60)
    figure = make_subplots(
        rows=rows,
        cols=columns,
        vertical_spacing=60 / total,
        horizontal_spacing=0.14,
        subplot_titles=list(titles),
        specs=[[{}] * columns] * (rows - 1) + [[{"colspan": columns}, None] if odd else [{}] * columns],
    )
    style_figure(figure, height=total + 90)
    figure.update_layout(margin_t=50)  # the mode bar above the titles
    for i, note in enumerate(figure.layout.annotations):
        axis = figure.layout["xaxis" if i == 0 else f"xaxis{i + 1}"]
        note.update(x=axis.domain[0], xanchor="left", font={"size": 12, "color": INK})
    figure.update_xaxes(tickfont={"size": 12})
    figure.update_yaxes(tickfont={"size": 12})
    for i in range(len(titles) - (1 if odd else columns), len(titles)):
        figure.update_xaxes(title=axis_title(x_title, small=True), **panel(i))
    return figure


def panel(i: int) -> Place:
    """The place of panel ``i`` of :func:`panel_grid`."""
    return {"row": 1 + i // N_COLUMNS, "col": 1 + i % N_COLUMNS}


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
    hover: Sequence[str] | None = None,
    unit: str = "",
) -> None:
    """Draw a curve, with a gap where a value is not finite.

    Args:
        x, y: ``[n]``.
        name: in the legend and under the pointer; lines of one name are switched on and off together.
        mode: of plotly: lines, markers, or both.
        legend: whether it is in the legend.
        row, col: of the panel, counted from 1; None for a figure without panels.
        hover: what is to be read at each point; None for its numbers.
        unit: words after the number under the pointer.
    """
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
        hovertext=hover,
        hovertemplate=f"{AT}%{{y:.4~g}} {unit}{NAMED}" if hover is None else TEXT_ALONE,
        row=row,
        col=None if row is None else col,
    )


def read_across(figure: "Figure", title: str = "step %{x:,.4~g}", brief: bool = False) -> "Figure":
    """Let the pointer read all lines of a panel at once.

    Args:
        title: what stands above them.
        brief: of what has words of its own, only the first line, and why it failed.
    """
    for trace in figure.select_traces(lambda trace: trace.hovertemplate is not None):
        if trace.hovertemplate == TEXT_ALONE:
            # Their first line is the name and the place, which stand in the box already.
            lines = [words.split("<br>")[1:] for words in trace.hovertext]
            kept = [[line for line in each if not brief or line is each[0] or "failed" in line] for each in lines]
            trace.hovertext = [", ".join(each) for each in kept]
            trace.hovertemplate = "%{hovertext}" + NAMED
        else:
            trace.hovertemplate = trace.hovertemplate.removeprefix(AT)
    figure.update_xaxes(unifiedhovertitle={"text": title})
    figure.update_layout(
        hovermode="x unified",
        hoverlabel={"bgcolor": PAPER, "bordercolor": GRID, "font": {"size": 12, "color": INK}, "namelength": -1},
    )
    return figure


def error_bars(low: ArrayLike, middle: ArrayLike, high: ArrayLike, **style: Any) -> dict[str, Any]:
    """Bars from ``low`` to ``high``, each ``[n]``, as plotly takes them; none where an end is not finite.

    The most likely value may lie outside of its interval, where it is at the edge of its range: its bar ends there.
    """
    return {
        "array": np.maximum(np.nan_to_num(np.subtract(high, middle)), 0.0),
        "arrayminus": np.maximum(np.nan_to_num(np.subtract(middle, low)), 0.0),
        "symmetric": False,
        "width": 0,
        "thickness": 1.5,
    } | style


def name_once(figure: "Figure") -> None:
    """Leave every line in the legend once, where panels have lines of the same name."""
    named: set[str] = set()
    for trace in figure.select_traces({"mode": "lines", "fill": None}):
        trace.showlegend = trace.name not in named
        named.add(trace.name)


def add_key(figure: "Figure", name: str, mode: str, **style: Any) -> None:
    """An entry of the legend that belongs to no line: what a kind of line or marker means."""
    # In a group of its own: plotly stacks the entries of one group, and all without a group are one.
    figure.add_scatter(x=[None], y=[None], name=name, mode=mode, legendgroup=name, **style)


def add_level(figure: "Figure", value: float, text: str, log: bool, row: int = 1, **place: Any) -> None:
    """A dotted line at a value, with words at one end of it.

    Args:
        log: whether the axis is logarithmic.
        row: of the panel, counted from 1, in a figure of one column.
        place: of the words, as annotations of plotly take it.
    """
    axis = f"y{row}" if row > 1 else "y"
    figure.add_shape(type="line", xref="paper", x0=0, x1=1, yref=axis, y0=value, y1=value, line=DOTTED)
    # An annotation of add_hline would stand at the wrong place of a logarithmic axis.
    figure.add_annotation(
        xref="paper", yref=axis, y=np.log10(value) if log else value, text=text, font=NOTE, showarrow=False,
        bgcolor=PAPER, borderpad=1, **place,
    )  # fmt: skip


def add_uniform(figure: "Figure", value: float, log: bool, x: float) -> None:
    """The value of uniform attention, with words at the left (``x`` = 0) or the right end (1) of the line."""
    xanchor = "right" if x else "left"
    add_level(figure, value, "uniform attention", log, x=x, xanchor=xanchor, yanchor="top", yshift=-4)


def beside(i: int, n: int) -> float:
    """The factor on the steps of line ``i`` of ``n`` that keeps bars apart, and those of one step together."""
    return min(APART, 10 ** (TOGETHER / n)) ** (i - n // 2)


def left_edge(curves: Iterable[Curve]) -> float:
    """Where step 0 stands: half the first step after it."""
    positive = [steps[steps > 0] for steps, _ in curves]
    return 0.5 * min((float(steps[0]) for steps in positive if len(steps)), default=1.0)


def shift_steps(steps: np.ndarray, edge: float) -> np.ndarray:
    """Steps ``[n]`` with step 0 at the left edge."""
    return np.maximum(steps, edge)


def log_step_axis(
    figure: "Figure",
    curves: Sequence[Curve],
    edge: float,
    start: float | None = None,
    beyond: float = 1.0,
    **place: int,
) -> None:
    """A logarithmic axis of training steps for these curves, with a tick for step 0 where one of them starts there.

    Args:
        start: the first step that is shown; None for all of them.
        beyond: up to which multiple of the last step something stands.
        place: row of the panel, in a figure whose panels have axes of their own.
    """
    last = max((int(steps[-1]) for steps, _ in curves), default=1)
    ticks: dict[float, str] = {edge: "0"} if any(steps[0] == 0 for steps, _ in curves) else {}
    first, end = edge if start is None else start, max(last, 2 * edge) * beyond
    # Over few decades powers of ten alone say little.
    digits = (1,) if end >= 100 * first else (1, 2, 5) if end >= 10 * first else (1, 2, 3, 4, 5, 7)
    whole = [digit * 10**power for power in range(13) for digit in digits]
    ticks |= {step: _short_step(step) for step in whole if 1.5 * edge < step <= max(last, 10)}
    figure.update_xaxes(
        type="log",
        range=[np.log10(first) - 0.03, np.log10(end) + 0.03],
        tickvals=list(ticks),
        ticktext=list(ticks.values()),
        **place,
    )


def power_axis(figure: "Figure", **place: int) -> None:
    """A logarithmic axis of values with a tick per decade, written as powers where zeros would have to be counted."""
    # Plotly sets powers a quarter larger than it is told.
    figure.update_yaxes(type="log", dtick=1, exponentformat="power", tickformat="", tickfont={"size": 10}, **place)


def _short_step(step: int) -> str:
    for unit, letter in ((10**6, "M"), (1000, "k")):
        if step >= unit:
            return f"{step // unit}{letter}"
    return str(step)
