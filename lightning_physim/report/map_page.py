"""The page of ``physim reproduce --across``: where the claims hold, cell by cell."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from lightning_physim.claims import Claim
from lightning_physim.claims.across import CELLS, DEPTHS, TITLES, Effects, Map
from lightning_physim.report.claims_page import claim_html
from lightning_physim.report.page import Part, Tile, plot_html, section, write_page
from lightning_physim.report.plot import add_line, panel, panel_grid
from lightning_physim.report.style import DOTTED, NOTE, nth_style
from lightning_physim.report.summary import sentence
from lightning_physim.report.table import html_table, number_text
from lightning_physim.report.words import linked, with_words

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COMPARED_WITH = {"loss": (1.0, "no-pair oracle"), "directions": (0.0, "as many as others")}
"""What some effects are compared with."""
BESIDE = 0.07
"""Layers between the points of one variant and those of the next."""


def write_map(
    path: Path, title: str, facts: Sequence[str], cells: Map, claims: Sequence[Claim], config: str, origin: str
) -> Path:
    """Write the page, whole and at once, from whatever trainings have left something so far."""
    return write_page(
        path,
        title=title,
        facts=facts,
        headline=sentence(claims[0].reasons[0]),
        tiles=tiles(claims),
        sections=with_words(_sections(cells, claims)),
        config=config,
        origin=origin,
    )


def tiles(claims: Sequence[Claim]) -> list[Tile]:
    """How many settings were trained, and how many directions collision heads have."""
    numbers = claims[1].numbers
    ratio = 10 ** numbers["decades"]
    shown = [Tile(f"{numbers['cells']:.0f}", "settings of depth, attention to oneself and how often particles collide")]
    if math.isfinite(ratio):
        shown.append(Tile(f"{ratio:.1f} ×", "the directions of other heads, in collision heads that are used"))
    return shown


def map_figure(cells: Map) -> "Figure":
    """Every effect against depth: a line per world and kind of attention through medians, a point per training."""
    figure = panel_grid([*TITLES.values()], 240, "layers")
    variants = list(dict.fromkeys(cell.variant for cell in CELLS))
    for i, name in enumerate(TITLES):
        for j, variant in enumerate(variants):
            color, _ = nth_style(j)
            shift = BESIDE * (j - (len(variants) - 1) / 2)
            rows = {cell.layers: _values(cells.get(cell, ()), name) for cell in CELLS if cell.variant == variant}
            x = [depth + shift for depth, values in rows.items() for _ in values]
            add_line(
                figure, x, [value for values in rows.values() for value in values], variant, color,
                mode="markers", legend=False, **panel(i),
            )  # fmt: skip
            medians = [median(values) if values else math.nan for values in rows.values()]
            add_line(figure, [depth + shift for depth in rows], medians, variant, color, legend=i == 0, **panel(i))
        if name in COMPARED_WITH:
            value, words = COMPARED_WITH[name]
            figure.add_hline(value, line=DOTTED, annotation={"text": words, "font": NOTE}, **panel(i))
    figure.update_xaxes(tickvals=[*DEPTHS], range=[DEPTHS[0] - 0.3, DEPTHS[-1] + 0.3])
    return figure


def _sections(cells: Map, claims: Sequence[Claim]) -> Iterator[Part]:
    yield section("Verdicts", "".join(claim_html("", claim) for claim in claims))
    caption = """A point is a training, a line joins the medians of its seeds. <i>Do not believe</i> a difference
        between two cells that is smaller than the spread of their points."""
    more = """With <b>the own token</b> a particle may attend to itself. Where collisions are <b>rare</b>, discs are
        smaller and intervals shorter. <b>Used</b> heads are those whose attention to near particles the network needs,
        by the ablation. The rules pool all cells, and nothing is said of a single one."""
    yield section("The map", plot_html("map", map_figure(cells), linked(caption), linked(more)))
    header = ["cell", "trainings", *TITLES.values()]
    rows = [
        [cell.label, str(len(found)), *(_range(_values(found, name)) for name in TITLES)]
        for cell, found in cells.items()
    ]
    yield section("Every cell: median (lowest to highest)", html_table(header, rows))


def _values(found: Sequence[Effects], name: str) -> list[float]:
    return [value for effects in found if math.isfinite(value := getattr(effects, name))]


def _range(values: Sequence[float]) -> str:
    if not values:
        return "–"
    shown = (median(values), min(values), max(values))
    middle, low, high = (number_text(value, ",.0f" if value >= 100 else ".3g") for value in shown)
    return middle if low == high else f"{middle} ({low} to {high})"
