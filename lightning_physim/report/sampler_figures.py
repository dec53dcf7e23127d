"""Figures to judge a sampler of learning coefficients by: the draws of its chains, and its settings compared."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_physim import keys
from lightning_physim.curves import NOTHING, Metrics
from lightning_physim.report.estimates import Estimates, Scale, region_name, region_style
from lightning_physim.report.marks import add_estimates, explain_hollow
from lightning_physim.report.plot import TEXT_ALONE, Place, add_line, panel, panel_grid
from lightning_physim.report.style import DASHES, DOTTED, HUES, PAPER, blend

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

PANEL = 190
"""Height of a panel of a calibration, in pixels."""
Row = Mapping[str, Any]
"""A setting of the sampler with its estimate: a row of the table of a calibration."""


def llc_trace_figure(table: Mapping[str, Any], metrics: Metrics | None = None) -> "Figure":
    """Draws of every chain, a panel per region; a dotted line is the mean of all draws.

    Args:
        table: ``{"columns": ["draw", "model/0", "model/1", ..., "L0H0/0", ...], "data": [[...], ...]}`` as
            ``LearningCoefficient`` logs it: n_beta times the rise of the loss, ``None`` for a chain that has died, and
            where a region has fewer draws than another.
        metrics: for the R-hat of the same step, which then stands in the titles.
    """
    columns = dict(zip(table["columns"], np.array(table["data"], dtype=float).T, strict=True))
    draws = columns.pop("draw")
    regions: dict[str, list[np.ndarray]] = {}
    for name, values in columns.items():
        regions.setdefault(name.rpartition("/")[0], []).append(values)
    rhats = {region: _rhat(metrics or {}, region, table.get("step")) for region in regions}
    figure = panel_grid(
        [_trace_title(region, chains, rhats[region]) for region, chains in regions.items()], 130, "draw"
    )
    for i, (region, chains) in enumerate(regions.items()):
        color, _ = region_style(region, regions)
        for j, chain in enumerate(chains):
            shade = blend(color, "#ffffff", 0.6 * j / len(chains))
            name = f"{region_name(region)}, chain {j}"
            add_line(figure, draws, chain, name, shade, width=1, legend=False, **panel(i))
        finite = np.concatenate([chain[np.isfinite(chain)] for chain in chains])
        if len(finite):
            figure.add_hline(float(finite.mean()), line=DOTTED, **panel(i))
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
    styles = _styles(rows)
    figure = panel_grid([region_name(region) for region in regions], PANEL, "step size")
    in_legend: set[str] = set()
    for i, region in enumerate(regions):
        settings = sorted((row for row in rows if row["region"] == region), key=lambda row: float(row["step_size"]))
        # Strict: where a plateau ends estimates grow without bound, and some of them fail by little.
        scale = Scale.linear([_estimates(settings)], strict=True)
        for setting, line in _lines(settings).items():
            in_legend |= _add_setting(figure, line, *styles[setting], scale, in_legend, panel(i))
        in_legend |= _add_recommended(figure, settings, scale, in_legend, panel(i))
        figure.update_yaxes(scale.axis(PANEL), **panel(i))
    figure.update_xaxes(type="log", **_step_size_ticks([row["step_size"] for row in rows]))
    # A legend of many settings takes many lines on a telephone, and takes them from the panels.
    figure.update_layout(height=figure.layout.height + 10 * len(in_legend))
    figure.update_layout(legend_title={"text": "n<sub>β</sub> / localization", "font": {"size": 13}, "side": "top"})
    explain_hollow(figure, [_estimates(rows)])
    return figure


def _styles(rows: Sequence[Row]) -> dict[tuple[float, float], tuple[str, str]]:
    """Shade and dash of each n_beta and localization."""
    n_betas = sorted({row["n_beta"] for row in rows})
    ratios = sorted({_ratio(row) for row in rows})
    shades = [blend("#9fbfd4", HUES[0], fraction) for fraction in np.linspace(0, 1, len(ratios))]
    return {
        (row["n_beta"], row["localization"]): (
            shades[ratios.index(_ratio(row))],
            DASHES[n_betas.index(row["n_beta"]) % len(DASHES)],
        )
        for row in rows
    }


def _lines(rows: Sequence[Row]) -> dict[tuple[float, float], list[Row]]:
    """The rows of each n_beta and localization, in their order."""
    lines: dict[tuple[float, float], list[Row]] = {}
    for row in rows:
        lines.setdefault((row["n_beta"], row["localization"]), []).append(row)
    return dict(sorted(lines.items()))


def _add_setting(
    figure: "Figure",
    line: Sequence[Row],
    shade: str,
    dash: str,
    scale: Scale,
    in_legend: set[str],
    place: Place,
) -> set[str]:
    """Draw the estimates with one n_beta and localization; return what is in the legend by it."""
    name = f"{_short(line[0]['n_beta'])} / {_short(line[0]['localization'])}"
    points = _estimates(line)
    y = points.within(scale)
    add_line(figure, points.x, y, name, shade, dash, width=1.8, legend=name not in in_legend, **place)
    add_estimates(figure, points.x, points, name, shade, scale, bars=True, **place)
    return {name}


def _add_recommended(
    figure: "Figure", rows: Sequence[Row], scale: Scale, in_legend: set[str], place: Place
) -> set[str]:
    """Draw a star at the setting that is recommended; return what is in the legend by it."""
    best = _estimates([row for row in rows if row["recommended"]])
    if not len(best.x):
        return set()
    figure.add_scatter(
        x=best.x,
        y=best.within(scale),
        name="recommended",
        mode="markers",
        marker={"symbol": "star", "size": 15, "color": HUES[1], "line": {"color": PAPER, "width": 1}},
        hovertext=best.hover,
        hovertemplate=TEXT_ALONE,
        legendgroup="recommended",
        showlegend="recommended" not in in_legend,
        **place,
    )
    return {"recommended"}


def _step_size_ticks(sizes: Sequence[float]) -> dict[str, Any]:
    if max(sizes) > 30 * min(sizes):
        # Plotly sets powers a quarter larger than it is told.
        return {"exponentformat": "power", "dtick": 1, "tickfont": {"size": 10}}
    ticks = [digit * 10.0**power for power in range(-12, 6) for digit in (1, 2, 5)]
    return {"tickvals": ticks, "ticktext": [_short(tick) for tick in ticks]}


def _estimates(rows: Sequence[Row]) -> Estimates:
    titles = [
        f"<b>{region_name(row['region'])}</b>, step size {row['step_size']:.2g}<br>"
        f"n<sub>β</sub> {_short(row['n_beta'])}, localization {_short(row['localization'])}"
        for row in rows
    ]
    return Estimates.of([row["step_size"] for row in rows], rows, titles)


def _ratio(row: Row) -> float:
    return float(f"{row['localization'] / row['n_beta']:.3g}")


def _short(number: float) -> str:
    return f"{float(f'{number:.3g}'):,g}"


def _rhat(metrics: Metrics, region: str, step: int | None) -> float:
    """R-hat of a region at a step; NaN where none was logged."""
    steps, values = metrics.get(keys.LLC_RHAT.of(region=region), NOTHING)
    return float(next(iter(values[steps == step]), np.nan))


def _trace_title(region: str, chains: Sequence[np.ndarray], rhat: float) -> str:
    # Rows that no chain of the region has are another region's, whose chains went on.
    own = np.isfinite(chains).any(0)
    dead = sum(not np.isfinite(chain[own]).all() or not own.any() for chain in chains)
    parts = [region_name(region), f"R-hat {rhat:.2f}" if np.isfinite(rhat) else "", f"{dead} dead" if dead else ""]
    return ", ".join(part for part in parts if part)
