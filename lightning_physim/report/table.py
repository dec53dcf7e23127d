"""Tables of a page, and how numbers and names are written in them."""

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any


class Html(str):
    """A text that is HTML already: a table shows it as it stands, and any other text with its signs escaped."""


def html_table(header: Sequence[str], rows: Iterable[Sequence[str]], bold: Sequence[bool] = ()) -> str:
    """A table that scrolls where the page is narrow.

    Args:
        header: titles of the columns; empty for a table without.
        rows: cells, as many as there are columns.
        bold: whether a row is, one for each; empty where none is.
    """
    lines = [f"<tr>{''.join(f'<th>{_escaped(title)}</th>' for title in header)}</tr>"] if header else []
    for i, row in enumerate(rows):
        mark = ' class="found"' if bold and bold[i] else ""
        lines.append(f"<tr{mark}>{''.join(f'<td>{_escaped(cell)}</td>' for cell in row)}</tr>")
    return f'<div class="scroll"><table>{"".join(lines)}</table></div>'


def number_text(value: float, spec: str = ".4g") -> str:
    """A number by a format specification; a dash for one that is not finite."""
    return format(value, spec) if math.isfinite(value) else "–"


def value_text(value: Any) -> str:
    """The value of a parameter, a fraction to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _escaped(text: str) -> str:
    return text if isinstance(text, Html) else escape(text)
