"""A page: one HTML file that opens from disk and asks nothing of the network."""

from collections.abc import Iterable
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from lightning_physim.files import replace_file
from lightning_physim.report.curve_figures import FONT, INK

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<!-- Nothing may be fetched: what is not in this file does not exist. -->
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:">
<title>$id</title>
<style>
  :root { color-scheme: light; --ink: $ink; --soft: #6a6f78; --line: #e4e1da; --paper: #fdfcf9; }
  * { box-sizing: border-box; }
  html { font-size: clamp(16px, .42vw + 12px, 21px); }
  body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.55 $font; }
  main { max-width: 64rem; margin: 0 auto; padding: clamp(1.5rem, 5vw, 4rem) clamp(1rem, 4vw, 2.5rem) 4rem; }
  h1, h2, .headline { font-family: Charter, 'Bitstream Charter', 'Sitka Text', Cambria, Georgia, serif; }
  h1 { font-size: 1.05rem; font-weight: 400; margin: 0; letter-spacing: .01em; overflow-wrap: anywhere; }
  .facts { margin: .2rem 0 0; color: var(--soft); font-size: .9rem; }
  .headline { font-size: clamp(1.5rem, 3.6vw, 2.3rem); line-height: 1.25; letter-spacing: -.01em; margin: 1.6rem 0 0;
    text-wrap: pretty; }
  section { margin-top: 3.2rem; border-top: 1px solid var(--line); padding-top: 1.1rem; }
  h2 { font-size: 1.35rem; font-weight: 600; margin: 0 0 .6rem; }
  .caption { max-width: 44rem; margin: .7rem 0 0; color: var(--soft); font-size: .9rem; }
  .caption b, .caption i { color: var(--ink); }
  .scroll { overflow-x: auto; }
  table { border-collapse: collapse; font-variant-numeric: tabular-nums; min-width: min(30rem, 100%); }
  th { font-weight: 500; color: var(--soft); font-size: .85rem; vertical-align: bottom; }
  th, td { padding: .32rem .9rem .32rem 0; text-align: right; }
  td { white-space: nowrap; }
  tr { border-bottom: 1px solid var(--line); }
  th:first-child, td:first-child { text-align: left; }
  .claim { margin: 1.4rem 0 0; }
  .claim p { margin: .3rem 0; }
  .claim details { margin-top: .3rem; color: var(--soft); }
  .verdict { display: inline-block; padding: .05rem .6rem; border-radius: 1rem; color: #fff; font-size: .85rem;
    font-weight: 600; vertical-align: .1em; margin-left: .4rem; white-space: nowrap; }
  tr.found td { font-weight: 600; }
  svg.key { width: 1.7rem; height: .6rem; margin-right: .6rem; }
  details { margin-top: 3.2rem; border-top: 1px solid var(--line); padding-top: 1rem; }
  sub { line-height: 0; }
  section details { margin-top: 1.1rem; border: 0; padding: 0; }
  summary { cursor: pointer; }
  pre { font: 13px/1.5 ui-monospace, 'SF Mono', Menlo, Consolas, monospace; overflow-x: auto; }
  @media (max-width: 34rem) { th, td { padding-right: .7rem; } }
  @media (min-width: 1500px) { main { max-width: 84rem; padding-top: 2.5rem; } }
  @media print { details { display: none; } }
</style>
<script>$plotly</script>
</head>
<body>
<main>
<header>
<h1>$id</h1>
<p class="facts">$facts</p>
<p class="headline">$headline</p>
</header>
$sections
$config
</main>
</body>
</html>
""")


def write_page(
    path: Path, title: str, facts: Iterable[str], headline: str, sections: Iterable[str], config: str
) -> Path:
    """Write an HTML file that needs nothing else, whole and at once.

    Args:
        facts: a few words each.
        sections: HTML, each a ``<section>``: of :func:`section`, :func:`plot_html`, :func:`viewer_html`. Everything
            else is text.
        config: YAML, shown folded at the end.
    """
    from plotly.offline import get_plotlyjs

    page = PAGE.substitute(
        id=escape(title),
        ink=INK,
        font=FONT,
        plotly=get_plotlyjs(),
        facts=" · ".join(map(escape, facts)),
        headline=escape(headline),
        sections="\n".join(sections),
        config=f"<details><summary>Configuration</summary><pre>{escape(config)}</pre></details>" if config else "",
    )
    replace_file(path, page.encode())
    return path


def section(title: str, content: str) -> str:
    """A section of a page under its title; both are HTML."""
    return f"<section><h2>{title}</h2>{content}</section>"


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
    return f'{plot}<p class="caption">{caption}</p>'
