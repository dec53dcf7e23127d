"""The report of a run: one HTML file that opens from disk and asks nothing of the network."""

import json
import os
import re
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import yaml

from lightning_physim.report.figures import (
    FONT,
    INK,
    Metrics,
    attention_distance_figure,
    head_curves,
    head_style,
    loss_figure,
    rollout_figure,
    scores_figure,
)
from lightning_physim.report.llc_figures import llc_figure, regions
from lightning_physim.report.sampler_figures import calibration_figure, llc_trace_figure
from lightning_physim.report.summary import COLLISION_HEAD, FAILED, ONSET, format_row, head_table, headline
from lightning_physim.tracking import PANELS, RunDirectory, read_metrics

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

CAPTIONS = {
    "loss": """Error of one predicted interval on held-out data; 1 is free flight over all particles. <b>Colliding</b>
        are the particles that touched another one in the interval. The no-pair oracle knows walls and gravity exactly
        but no other particle: far below it, a network must use its neighbours. <i>Do not believe</i> a small overall
        loss by itself, as most particles touch nothing; nor a colliding loss some ten per cent under the oracle, which
        a network without attention reaches by knowing what collisions do on average. The training loss is averaged in
        log-spaced bins.""",
    "scores": """Attention that a head gives to near particles, self excluded, over what it would give if it attended
        to all alike. A head that climbs away from 1 has found the particles that may collide. <i>Do not believe</i> a
        head because of one step: scores of a small probe set scatter by some per cent. Attention to near particles is
        also not yet use of it; that takes an ablation.""",
    "llc": """The <b>learning coefficient</b> (LLC) of a head counts the ways of changing its weights that the data rule
        out, at half a unit each; weights that do not matter count nothing. It rises when a head takes on structure:
        compare the step with that at which its score rises. Dotted verticals are where collision heads passed $onset
        times uniform attention, bands two standard errors either way. <b>Hollow</b> estimates failed a diagnostic,
        which one shows under the pointer; a hollow triangle lies beyond the panel, a cross has no finite value. <i>Do
        not believe</i> a hollow estimate; nor one below 0, which no minimum has; nor a rise as detection of collisions,
        as any structure raises it; nor the number by itself: it compares only with others of the same n<sub>β</sub> and
        localization$settings.""",
    "llc_trace": """n<sub>β</sub> times the rise of the loss, draw by draw, for the estimates at step $step: a line per
        chain, the mean dotted. Chains that mix look alike and soon forget where they were. <i>Do not believe</i> an
        estimate whose chains drift, or keep to levels of their own: it has not seen all of the neighbourhood that it
        speaks of.""",
    "calibration": """Estimates at step $step with other settings of the sampler, bars two standard errors either way. A
        good step size lies on a plateau, where half of it gives the same: to the right discretisation errors raise the
        estimate until chains diverge, to the left chains are too slow. Lines of one shade have one ratio of
        localization to n<sub>β</sub>, and should agree. <b>Hollow</b> estimates failed a diagnostic, the <b>star</b> is
        recommended. <i>Do not believe</i> a plateau of hollow estimates; nor a difference between shades, which leave
        out directions of other curvatures.""",
    "attention_distance": """Attention to a single particle at a given distance, at step $step. A collision head falls
        steeply beyond contact; the axis ends at a thousandth of uniform attention. <i>Do not believe</i> the bins below
        1 and those at the far end, where few pairs are found, nor the average of a head that switches between
        particles.""",
    "rollout": """The network applied to its own output. Energy and momentum say whether it still is physics where
        positions have become unpredictable. <i>Do not believe</i> positions beyond a few collisions: the true system
        is chaotic, and two exact simulations of slightly different states differ as much.""",
}
TITLES = {panel.name: panel.title for panel in PANELS}

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
  body { margin: 0; background: var(--paper); color: var(--ink); font: 17px/1.55 $font; }
  main { max-width: 60rem; margin: 0 auto; padding: clamp(1.5rem, 5vw, 4rem) clamp(1rem, 4vw, 2.5rem) 4rem; }
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
  th, td { padding: .32rem 1.1rem .32rem 0; text-align: right; white-space: nowrap; }
  tr { border-bottom: 1px solid var(--line); }
  th:first-child, td:first-child { text-align: left; }
  tr.found td { font-weight: 600; }
  svg.key { width: 1.7rem; height: .6rem; margin-right: .6rem; }
  details { margin-top: 3.2rem; border-top: 1px solid var(--line); padding-top: 1rem; }
  sub { line-height: 0; }
  section details { margin-top: 1.1rem; border: 0; padding: 0; }
  summary { cursor: pointer; }
  pre { font: 13px/1.5 ui-monospace, 'SF Mono', Menlo, Consolas, monospace; overflow-x: auto; }
  @media (max-width: 34rem) { body { font-size: 16px; } th, td { padding-right: .7rem; } }
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


def write_report(run_dir: str | Path) -> Path:
    """Write ``report.html`` of a run, finished or not, from ``metrics.jsonl`` and whatever else lies beside it.

    Args:
        run_dir: a run directory.

    Returns:
        The file, which replaces an older one at once and whole.

    Raises:
        InputError: no ``metrics.jsonl``, or not a readable one.
    """
    run = RunDirectory(Path(run_dir))
    metrics = read_metrics(run.metrics)
    config = run.config.read_text() if run.config.is_file() else ""
    return write_page(
        run.report,
        title=run.path.resolve().name,
        facts=_facts(metrics, yaml.safe_load(config) or {}),
        headline=headline(metrics),
        sections=_sections(run, metrics),
        config=config,
    )


def write_page(
    path: Path, title: str, facts: Iterable[str], headline: str, sections: Iterable[str], config: str
) -> Path:
    """Write an HTML file that needs nothing else, whole and at once.

    Args:
        facts: a few words each.
        sections: HTML; everything else is text.
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
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    new.write_text(page, encoding="utf-8")
    new.replace(path)
    return path


def _facts(metrics: Metrics, config: dict[str, Any]) -> Iterator[str]:
    """What the run was, in a few words, as far as its configuration says so."""
    model, data, trainer = (config.get(name) or {} for name in ("model", "data", "trainer"))
    if "seed_everything" in config:
        yield f"seed {config['seed_everything']}"
    architecture = model.get("architecture", "transformer")
    if architecture != "transformer":
        yield {"no_attention": "no attention", "interaction": "interaction network"}[architecture]
    elif {"n_layers", "n_heads", "d_model"} <= model.keys():
        layers = "layer" if model["n_layers"] == 1 else "layers"
        yield f"{model['n_layers']} {layers} of {model['n_heads']} heads, width {model['d_model']}"
    if data.get("permute_targets"):
        yield "permuted targets"
    particles = (data.get("system") or {}).get("n_particles")
    if particles:
        yield f"{particles} particles"
    steps = max((int(steps[-1]) for steps, _ in metrics.values()), default=0)
    planned = trainer.get("max_steps", -1)
    yield f"step {steps:,} of {planned:,}" if planned > steps else f"{steps:,} steps"


def run_figures(run: RunDirectory, metrics: Metrics) -> dict[str, "Figure"]:
    """The figures that the run has numbers for, by name, in the order of :data:`PANELS`."""
    figures: dict[str, Figure] = {}
    if any(key.startswith(("train/loss", "val/loss")) for key in metrics):
        figures["loss"] = loss_figure(metrics)
    if head_curves(metrics, "probe/enrichment"):
        figures["scores"] = scores_figure(metrics)
    if regions(metrics):
        figures["llc"] = llc_figure(metrics)
        if table := _table(run, "llc_trace"):
            figures["llc_trace"] = llc_trace_figure(table, metrics)
    if table := _table(run, "calibration"):
        figures["calibration"] = calibration_figure(table)
    if table := _table(run, "attention_distance"):
        figures["attention_distance"] = attention_distance_figure(table)
    if any(key.startswith("rollout/") for key in metrics):
        figures["rollout"] = rollout_figure(metrics)
    return figures


def _sections(run: RunDirectory, metrics: Metrics) -> Iterator[str]:
    plots = {
        name: _plot(name, figure, **_values(run, name, metrics)) for name, figure in run_figures(run, metrics).items()
    }
    more = {"scores": _head_table, "llc": lambda _: _folded(plots)}
    for name, plot in plots.items():
        if name != "llc_trace":
            yield f"<section><h2>{TITLES[name]}</h2>{plot}{more[name](metrics) if name in more else ''}</section>"


def _values(run: RunDirectory, name: str, metrics: Metrics) -> dict[str, str]:
    """What the caption of a figure leaves open."""
    if name == "llc":
        return {"onset": f"{ONSET:g}", "settings": _settings(metrics)}
    table = _table(run, name)
    return {"step": f"{table['step']:,}"} if table else {}


def _table(run: RunDirectory, name: str) -> dict[str, Any] | None:
    """What ``log_table`` wrote for a figure, if it did and the table has rows."""
    path = run.figures / f"{name.removeprefix('llc_')}.json"
    table = json.loads(path.read_text()) if path.is_file() else {}
    return table if table.get("data") else None


def _settings(metrics: Metrics) -> str:
    """What the estimates were sampled with, as far as it was logged."""
    pattern = re.compile(r"llc/.+/(n_beta|localization)")
    used: dict[str, set[float]] = {"n_beta": set(), "localization": set()}
    for key, (_, values) in metrics.items():
        if match := pattern.fullmatch(key):
            used[match[1]].update(values)
    if not all(used.values()):
        return ""
    if any(len(values) > 1 for values in used.values()):
        return ", <b>and these have different ones</b>"
    n_beta, localization = (values.pop() for values in used.values())
    return f", here {n_beta:,g} and {localization:,g}"


def _folded(plots: dict[str, str]) -> str:
    """Traces of the last estimates take much room."""
    if "llc_trace" not in plots:
        return ""
    # A figure drawn while folded away does not know its width.
    resize = "this.querySelectorAll('.js-plotly-plot').forEach(plot => Plotly.Plots.resize(plot))"
    return f'<details ontoggle="{resize}"><summary>{TITLES["llc_trace"]}</summary>{plots["llc_trace"]}</details>'


def _plot(name: str, figure: "Figure", **values: str) -> str:
    return plot_html(name, figure, Template(CAPTIONS[name]).substitute(values))


def plot_html(name: str, figure: "Figure", caption: str) -> str:
    """A figure with its caption, which is HTML; ``name`` is unique on the page."""
    plot = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        div_id=name,
        config={
            "displaylogo": False,
            "responsive": True,
            "modeBarButtons": [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
            "toImageButtonOptions": {"scale": 3, "filename": name},
        },
    )
    return f'{plot}<p class="caption">{caption}</p>'


def _head_table(metrics: Metrics) -> str:
    heads = head_table(metrics)
    names = ["head", "× uniform", "partner score", "collision score", f"step of {ONSET:g}×"]
    names += ["LLC"] if "llc" in heads[0] else []
    rows = []
    for row in heads:
        first, *others = format_row(row)
        found = ' class="found"' if row["enrichment"] >= COLLISION_HEAD else ""
        cells = "".join(f"<td>{cell}</td>" for cell in (f"{_key(first)}{first}", *others))
        rows.append(f"<tr{found}>{cells}</tr>")
    header = "".join(f"<th>{name}</th>" for name in names)
    table = f'<p></p><div class="scroll"><table><tr>{header}</tr>{"".join(rows)}</table></div>'
    if any(FAILED in row.get("llc", "") for row in heads):
        table += f'<p class="caption">{FAILED} the estimate failed a diagnostic</p>'
    return table


def _key(head: str) -> str:
    """The line of a head as the figures draw it."""
    color, dash = head_style(head)
    pattern = {"solid": "", "dash": "6 4", "dot": "2 3", "dashdot": "6 3 2 3"}.get(dash, "9 4")
    return (
        f'<svg class="key" viewBox="0 0 28 8" aria-hidden="true"><line x1="0" x2="28" y1="4" y2="4" stroke-width="3" '
        f'stroke="{color}" stroke-dasharray="{pattern}"/></svg>'
    )
