"""What figures and pages look like: colours, dashes, the font, and the style of a head."""

from collections.abc import Sequence
from typing import Any

from lightning_physim import keys

INK, FAINT, GRID, PAPER = "#24262b", "#8a8f98", "#e8e6e1", "#fdfcf9"
FONT = "Inter, system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Helvetica Neue', sans-serif"
# Ten hues that stay apart for colour-blind readers: Okabe-Ito without its yellow, which is too light on paper, Tol's
# indigo and wine, and the violet and brown that are furthest from all of them for the four kinds of eye.
HUES = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#332288", "#882255", "#9038f0", "#503808",
)  # fmt: skip
DARK = {INK: "#eceae4", PAPER: "#14161a"} | dict(
    zip(
        HUES,
        ("#6aaaf4", "#f44d1f", "#73f4c0", "#d17685", "#ffcb54", "#b2c8e6", "#606add", "#d32893", "#8038f8", "#885838"),
        strict=True,
    )
)
"""What stands for ink, paper and each hue where a reader prefers dark pages."""
SVG_DASHES = {
    "solid": "",
    "dash": "6 4",
    "dot": "2 3",
    "dashdot": "6 3 2 3",
    "longdash": "9 4",
    "longdashdot": "9 3 2 3",
}
"""Dashes of plotly, and the same as SVG and canvas take them."""
DASHES = tuple(SVG_DASHES)
DOTTED = {"color": INK, "width": 1.2, "dash": "dot"}
"""The line of a value to compare with."""
NOTE = {"size": 12, "color": INK}


def head_style(head: str) -> tuple[str, str]:
    """Colour and dash of a head ``"L{l}H{h}"``: always the same, unique for up to three layers of twenty heads."""
    layer, index = keys.head_place(head)
    return HUES[index % len(HUES)], DASHES[(layer + 3 * (index // len(HUES))) % len(DASHES)]


def nth_style(index: int) -> tuple[str, str]:
    """Colour and dash of the line with this number, unique for up to 60."""
    return HUES[index % len(HUES)], DASHES[index // len(HUES) % len(DASHES)]


def rgb(color: str) -> tuple[int, int, int]:
    """Red, green and blue of a colour ``"#rrggbb"``, 0 to 255."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue


def blend(start: str, end: str, fraction: float) -> str:
    """The colour at ``fraction``, 0 to 1, of the way from one to another."""
    mixed = [round((1 - fraction) * a + fraction * b) for a, b in zip(rgb(start), rgb(end), strict=True)]
    return "#{:02x}{:02x}{:02x}".format(*mixed)


def translucent(color: str, opacity: float) -> str:
    """A colour with an opacity of 0 to 1."""
    red, green, blue = rgb(color)
    return f"rgba({red}, {green}, {blue}, {opacity})"


def marker(filled: Sequence[bool], color: str) -> dict[str, Any]:
    """Markers of one colour, hollow where they are not ``filled``."""
    return {"size": 9, "color": [color if full else PAPER for full in filled], "line": {"color": color, "width": 1.5}}


def key_svg(color: str, dash: str) -> str:
    """The line of a figure as an SVG element, for tables."""
    return (
        f'<svg class="key" viewBox="0 0 28 8" aria-hidden="true"><line x1="0" x2="28" y1="4" y2="4" stroke-width="3" '
        f'stroke="{color}" stroke-dasharray="{SVG_DASHES[dash]}"/></svg>'
    )


def dot_html(color: str) -> str:
    """A point of this colour as HTML, for tables; its shade where pages are dark."""
    return f'<span style="color: var(--{color[1:]}, {color})">●</span>'
