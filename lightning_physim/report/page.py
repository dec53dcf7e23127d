"""A page: one HTML file that opens from disk and asks nothing of the network."""

import base64
import gzip
import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning_physim.files import replace_file
from lightning_physim.report.style import DARK, FONT, INK, PAPER, rgb

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

HOW_TO_READ = "How to read it"
"""Title under which the rest of a caption is folded."""


class Tile(NamedTuple):
    """A number at the top of a page.

    Attributes:
        number: as it is shown.
        meaning: in a few words.
    """

    number: str
    meaning: str


class Part(NamedTuple):
    """A section of a page.

    Attributes:
        title: HTML; empty for the only part of a page, which has the page's title.
        content: HTML.
    """

    title: str
    content: str

    @property
    def anchor(self) -> str:
        """The name that links to it have."""
        return "part-" + re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


def write_page(
    path: Path,
    title: str,
    facts: Iterable[str],
    headline: str,
    sections: Iterable[Part],
    config: str,
    tiles: Iterable[Tile] = (),
    origin: str = "",
    live: bool = False,
) -> Path:
    """Write a page with figures to a file, whole and at once. Arguments are those of :func:`page_html`."""
    scripts = f'<script type="gzip" id="plotly">{packed_plotly()}</script>\n<script>{asset("figures.js")}</script>'
    replace_file(path, page_html(title, facts, headline, sections, config, scripts, tiles, origin, live).encode())
    return path


def page_html(
    title: str,
    facts: Iterable[str],
    headline: str,
    sections: Iterable[Part],
    config: str = "",
    scripts: str = "",
    tiles: Iterable[Tile] = (),
    origin: str = "",
    live: bool = False,
) -> str:
    """A page that needs nothing else.

    Args:
        facts: a few words each.
        sections: of :func:`section`. Everything but sections and scripts is text.
        config: YAML, shown folded at the end.
        scripts: HTML, what draws its figures.
        tiles: the numbers to remember.
        origin: where the numbers come from, the last line.
        live: whether it reads itself again from time to time.
    """
    return rendered(
        "page.html",
        title=title,
        facts=list(facts),
        headline=headline,
        sections=list(sections),
        config=config,
        scripts=scripts,
        tiles=list(tiles),
        origin=origin,
        live=live,
    )


def section(title: str, content: str) -> Part:
    """A section of a page under its title; both are HTML."""
    return Part(title, content)


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


def rendered(name: str, **values: Any) -> str:
    """A template of ``report/assets/`` with its gaps filled; text is escaped where the template does not say HTML."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    pages = Environment(autoescape=True, loader=FunctionLoader(asset), undefined=StrictUndefined)
    design = {"font": Markup(FONT), "ink": INK, "paper": PAPER, "dark": DARK, "rgb_of": rgb}
    return pages.get_template(name).render(**design, **values)


@cache
def packed_plotly() -> str:
    """plotly.js, gzip in base64: 2 MB instead of 5 on every page."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()


def plot_html(name: str, figure: "Figure", caption: str, more: str = "") -> str:
    """A figure with its caption.

    Args:
        name: unique on the page.
        caption: HTML, two short sentences.
        more: HTML, the rest, which is folded.
    """
    plot = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        auto_play=False,
        div_id=name,
        config={
            "displaylogo": False,
            "responsive": True,
            "modeBarButtons": [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
            "toImageButtonOptions": {"format": "svg", "filename": name},
        },
    )
    # Left for `figures.js`, which runs it when plotly is there.
    plot = re.sub("<script[^>]*>", '<script type="figure">', plot, count=1)
    return f"<figure>{plot}{caption_html(caption, more)}</figure>"


def caption_html(caption: str, more: str = "") -> str:
    """A caption, and the rest of it folded; both are HTML."""
    rest = (
        f'<details class="more"><summary>{HOW_TO_READ}</summary><p class="caption">{more}</p></details>' if more else ""
    )
    return f'<div class="captions"><p class="caption">{caption}</p>{rest if more else ""}</div>'
