"""Figures to judge a sampler of learning coefficients by: the draws of its chains, and its settings compared."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_physim import keys
from lightning_physim.curves import Metrics
from lightning_physim.report.curve_figures import DASHES, HUES, INK, PAPER, add_line, blend, style_figure
from lightning_physim.report.llc_figures import (
    Estimates,
    add_markers,
    axis_limits,
    explain_hollow,
    linear_axis,
    region_style,
)

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

PANELS_ABREAST = 2


def llc_trace_figure(table: Mapping[str, Any], metrics: Metrics | None = None) -> "Figure":
    """Draws of every chain, a panel per region; a dotted line is the mean of all draws.

    Args:
        table: ``{"columns": ["draw", "model/0", "model/1", ..., "L0H0/0", ...], "data": [[...], ...]}`` as
            ``LearningCoefficient`` logs it: n_beta times the rise of the loss, ``None`` for a chain that has died.
        metrics: for the R-hat of the same step, which then stands in the titles.
    """
    columns = dict(zip(table["columns"], np.array(table["data"], dtype=float).T, strict=True))
    draws = columns.pop("draw")
    regions: dict[str, list[np.ndarray]] = {}
    for name, values in columns.items():
        regions.setdefault(name.rpartition("/")[0], []).append(values)
    rhats = {region: _at(metrics or {}, keys.LLC_RHAT.of(region=region), table.get("step")) for region in regions}
    figure = panel_grid(
        [_trace_title(region, chains, rhats[region]) for region, chains in regions.items()], 130, "draw"
    )
    for i, (region, chains) in enumerate(regions.items()):
        row, col = grid_cell(i)
        color, _ = region_style(region, regions)
        for j, chain in enumerate(chains):
            shade = blend(color, "#ffffff", 0.6 * j / len(chains))
            add_line(
                figure, draws, chain, f"{_name(region)}, chain {j}", shade, width=1, legend=False, row=row, col=col
            )
        finite = np.concatenate([chain[np.isfinite(chain)] for chain in chains])
        if len(finite):
            figure.add_hline(float(finite.mean()), line={"color": INK, "width": 1.2, "dash": "dot"}, row=row, col=col)
    return figure


def calibration_figure(table: Mapping[str, Any]) -> "Figure":
    """Estimates against the sampler's step size, a panel per region and a line per n_beta and localization.

    Shades are of their ratio, the curvature from which a direction counts: what an estimate depends on most. Dashes
    are of n_beta.

    Args:
        table: ``{"columns": ["region", "n_beta", "localization", "step_size", "mean", "mcse", ..., "converged",
            "recommended"], "data": [[...], ...]}``, a row per setting. Bars are two standard errors either way; a
            star is the setting that the calibration recommends.
    """
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    regions = list(dict.fromkeys(row["region"] for row in rows))
    n_betas = sorted({row["n_beta"] for row in rows})
    ratios = sorted({_ratio(row) for row in rows})
    shades = [blend("#93bcd6", "#00314f", share) for share in np.linspace(0, 1, len(ratios))]
    figure = panel_grid([_name(region) for region in regions], 190, "step size")
    named: set[str] = set()
    for i, region in enumerate(regions):
        row, col = grid_cell(i)
        here = sorted((row for row in rows if row["region"] == region), key=lambda row: float(row["step_size"]))
        # Strict: where a plateau ends estimates grow without bound, and some of them fail by little.
        limits = axis_limits([_estimates(here)], strict=True)
        for (n_beta, pull), line in _lines(here).items():
            shade, dash = shades[ratios.index(_ratio(line[0]))], DASHES[n_betas.index(n_beta) % len(DASHES)]
            name = f"{_short(n_beta)} / {_short(pull)}"
            points = _estimates(line)
            y = points.within(limits)
            add_line(figure, points.x, y, name, shade, dash, width=1.8, legend=name not in named, row=row, col=col)
            add_markers(figure, points.x, points, name, shade, limits, bars=True, row=row, col=col)
            named.add(name)
        best = _estimates([row for row in here if row["recommended"]])
        if len(best.x):
            figure.add_scatter(
                x=best.x,
                y=best.within(limits),
                name="recommended",
                mode="markers",
                marker={"symbol": "star", "size": 15, "color": HUES[1], "line": {"color": PAPER, "width": 1}},
                hovertext=best.hover,
                hovertemplate="%{hovertext}<extra></extra>",
                legendgroup="recommended",
                showlegend="recommended" not in named,
                row=row,
                col=col,
            )
            named.add("recommended")
        figure.update_yaxes(linear_axis(limits), row=row, col=col)
    sizes = [row["step_size"] for row in rows]
    if max(sizes) > 30 * min(sizes):
        # Plotly sets powers a quarter larger than it is told.
        figure.update_xaxes(type="log", exponentformat="power", dtick=1, tickfont={"size": 10})
    else:
        ticks = [digit * 10.0**power for power in range(-12, 6) for digit in (1, 2, 5)]
        figure.update_xaxes(type="log", tickvals=ticks, ticktext=[_short(tick) for tick in ticks])
    # A legend of many settings takes many lines on a telephone, and takes them from the panels.
    figure.update_layout(height=figure.layout.height + 10 * len(named))
    figure.update_layout(legend_title={"text": "n<sub>β</sub> / localization", "font": {"size": 13}, "side": "top"})
    explain_hollow(figure, [_estimates(rows)])
    return figure


def _lines(rows: list[dict[str, Any]]) -> dict[tuple[float, float], list[dict[str, Any]]]:
    found: dict[tuple[float, float], list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["n_beta"], row["localization"]), []).append(row)
    return dict(sorted(found.items()))


def _estimates(rows: list[dict[str, Any]]) -> Estimates:
    titles = [
        f"<b>{_name(row['region'])}</b>, step size {row['step_size']:.2g}<br>"
        f"n<sub>β</sub> {_short(row['n_beta'])}, localization {_short(row['localization'])}"
        for row in rows
    ]
    return Estimates.of([row["step_size"] for row in rows], rows, titles)


def _ratio(row: Mapping[str, Any]) -> float:
    return float(f"{row['localization'] / row['n_beta']:.3g}")


def _short(number: float) -> str:
    return f"{float(f'{number:.3g}'):,g}"


def _name(region: str) -> str:
    return "whole model" if region == "model" else region


def _at(metrics: Metrics, key: str, step: int | None) -> float:
    steps, values = metrics.get(key, (np.array([]), np.array([])))
    return float(next(iter(values[steps == step]), np.nan))


def _trace_title(region: str, chains: list[np.ndarray], rhat: float) -> str:
    dead = sum(not np.isfinite(chain).any() for chain in chains)
    parts = [_name(region), f"R-hat {rhat:.2f}" if np.isfinite(rhat) else "", f"{dead} dead" if dead else ""]
    return ", ".join(part for part in parts if part)


def grid_cell(i: int) -> tuple[int, int]:
    """Row and column of a panel, counted from 1."""
    return 1 + i // PANELS_ABREAST, 1 + i % PANELS_ABREAST


def panel_grid(titles: list[str], height: int, x_title: str) -> "Figure":
    """Panels in two columns, each with axes of its own and its title at the left."""
    from plotly.subplots import make_subplots

    columns = min(PANELS_ABREAST, len(titles))
    rows = -(-len(titles) // columns)
    total = rows * (height + 60)
    figure = make_subplots(
        rows=rows,
        cols=columns,
        vertical_spacing=60 / total,
        horizontal_spacing=0.14,
        subplot_titles=titles,
        specs=[[{} if row * columns + col < len(titles) else None for col in range(columns)] for row in range(rows)],
    )
    style_figure(figure, "", "", height=total + 90)
    figure.update_layout(margin_t=50)  # the mode bar above the titles
    for i, note in enumerate(figure.layout.annotations):
        axis = figure.layout["xaxis" if i == 0 else f"xaxis{i + 1}"]
        note.update(x=axis.domain[0], xanchor="left", font={"size": 12, "color": INK})
    figure.update_xaxes(tickfont={"size": 12})
    figure.update_yaxes(tickfont={"size": 12})
    for i in range(max(len(titles) - columns, 0), len(titles)):
        row, col = grid_cell(i)
        figure.update_xaxes(title={"text": x_title, "standoff": 6, "font": {"size": 13}}, row=row, col=col)
    return figure
