"""A page: one HTML file that opens from disk and asks nothing of the network."""

import base64
import gzip
import re
from collections.abc import Iterable
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from lightning_physim.files import replace_file
from lightning_physim.report.style import FONT, INK, PAPER

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def write_page(
    path: Path, title: str, facts: Iterable[str], headline: str, sections: Iterable[str], config: str,
    origin: str = "",
) -> Path:  # fmt: skip
    """Write a page with figures to a file, whole and at once. Arguments are those of :func:`page_html`."""
    scripts = f'<script type="gzip" id="plotly">{packed_plotly()}</script>\n<script>{asset("figures.js")}</script>'
    replace_file(path, page_html(title, facts, headline, sections, config, scripts, origin).encode())
    return path


def page_html(
    title: str, facts: Iterable[str], headline: str, sections: Iterable[str], config: str = "", scripts: str = "",
    origin: str = "",
) -> str:  # fmt: skip
    """A page that needs nothing else.

    Args:
        facts: a few words each.
        sections: HTML, each a ``<section>``: of :func:`section`. Everything else is text.
        config: YAML, shown folded at the end.
        scripts: HTML, what draws its figures.
        origin: where the numbers come from, the last line.
    """
    return Template(asset("page.html")).substitute(
        id=escape(title),
        ink=INK,
        paper=PAPER,
        font=FONT,
        facts=" · ".join(map(escape, facts)),
        headline=escape(headline),
        sections="\n".join(sections),
        config=folded("Configuration", f"<pre>{escape(config)}</pre>") if config else "",
        scripts=scripts,
        origin=f'<p class="caption">{escape(origin)}</p>' if origin else "",
    )


def section(title: str, content: str) -> str:
    """A section of a page under its title; both are HTML."""
    return f"<section><h2>{title}</h2>{content}</section>"


def folded(title: str, content: str) -> str:
    """Content that opens at a click on its title; both are HTML."""
    # A figure drawn while folded away does not know its width.
    resize = "this.querySelectorAll('.js-plotly-plot').forEach(plot => Plotly.Plots.resize(plot))"
    toggle = f' ontoggle="{resize}"' if "plotly-graph-div" in content else ""
    return f"<details{toggle}><summary>{title}</summary>{content}</details>"


@cache
def asset(name: str) -> str:
    """A file of ``report/assets/``."""
    return (files("lightning_physim.report") / "assets" / name).read_text(encoding="utf-8")


@cache
def packed_plotly() -> str:
    """plotly.js, gzip in base64: 2 MB instead of 5 on every page."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()


def plot_html(name: str, figure: "Figure", caption: str) -> str:
    """A figure with its caption, which is HTML; ``name`` is unique on the page."""
    plot = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        auto_play=False,
        div_id=name,
        config={
            "displaylogo": False,
            "responsive": True,
            "modeBarButtons": [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
            "toImageButtonOptions": {"scale": 3, "filename": name},
        },
    )
    # Left for `figures.js`, which runs it when plotly is there.
    plot = re.sub("<script[^>]*>", '<script type="figure">', plot, count=1)
    return f'{plot}<p class="caption">{caption}</p>'
