"""The report of a run."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import yaml

from lightning_physim import keys
from lightning_physim.curves import COLLISION_HEAD, ONSET, Curve, collision_heads, head_curves, last
from lightning_physim.emergence import Growth, growth_of_collision_heads
from lightning_physim.keys import SECTIONS
from lightning_physim.model import describe_network
from lightning_physim.report.curve_figures import (
    Metrics,
    attention_distance_figure,
    head_style,
    loss_figure,
    rollout_figure,
    scores_figure,
)
from lightning_physim.report.growth_figures import emergence_figure
from lightning_physim.report.llc_figures import llc_figure, regions
from lightning_physim.report.page import plot_html, section, write_page
from lightning_physim.report.sampler_figures import calibration_figure, llc_trace_figure
from lightning_physim.report.snapshot_figures import attention_map_figure, rollout_animation_figure
from lightning_physim.report.summary import FAILED, head_table, headline, table_text
from lightning_physim.report.viewer import Snapshots, key_svg, viewer_html
from lightning_physim.tracking import RunDirectory, arrays_folder, read_arrays, read_metrics, table_path

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
        to all alike. A head that climbs away from 1 has found the particles that may collide. Thin lines are power laws
        <i>s</i> &minus; <i>A</i> (<i>t</i> &minus; <i>t</i><sub>0</sub>)<sup>&minus;&alpha;</sup>, drawn only for heads
        whose growth a power law, broken or not, describes better than any other. <i>Do not believe</i> a head because
        of one step: scores of a small probe set scatter by some per cent. Attention to near particles is also not yet
        use of it; the ablation in the table tells. Nor is a power law proof of a degenerate potential: the loss may
        fall like one too.""",
    "emergence": """What was to be expected while training ran. Above, the score of each emerging head, and what it was
        forecast to be at the last step, at the step where the forecast was made; below, the exponent of a power law
        fitted to the approach so far. Bars are 95 % intervals, for parameters, noise and, in forecasts, the choice of
        the law. <i>Do not believe</i> a forecast of a head that rises in stages: no law knows of the next. Nor an
        exponent whose bar reaches across the panel, nor any where another law describes the growth better, as the table
        of heads tells.""",
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
HEAD_NOTES = {
    "enrichment": f"In bold: heads of at least {COLLISION_HEAD:g} times uniform attention.",
    "auroc": "<b>AUROC</b> and <b>average precision</b>: attention as a classifier of the pairs that touch.",
    "ablation": "<b>Ablation</b>: by how much the loss on colliding particles rises without the head's near keys.",
    "growth": """<b>Growth</b>: the law of the score since a tenth of its rise, if one is clearly ahead of power law,
        exponential, stretched exponential, logistic and broken power law; &alpha; is the exponent of the approach to
        the plateau.""",
}
TABLE_KEYS = {
    "llc_trace": keys.LLC_TRACE,
    "calibration": keys.LLC_CALIBRATION,
    "attention_distance": keys.ATTENTION_DISTANCE,
}
TITLES = {part.name: part.title for part in SECTIONS}


@dataclass(frozen=True)
class RunContent:
    """What the page of a run and its figures in W&B are made of, each read or computed once.

    Args:
        run: the run directory.

    Raises:
        InputError: no ``metrics.jsonl``, or not a readable one.
    """

    run: RunDirectory

    @cached_property
    def metrics(self) -> Metrics:
        return read_metrics(self.run.metrics)

    @cached_property
    def growth(self) -> dict[str, Growth]:
        return growth_of_collision_heads(self.metrics)

    @cached_property
    def snapshots(self) -> Snapshots:
        return read_arrays(arrays_folder(self.run.figures, keys.SNAPSHOTS))

    @cached_property
    def curves(self) -> dict[str, "Figure"]:
        """The figures that the run has numbers for, by name."""
        return curve_figures(self.run, self.metrics, self.growth)

    def figures(self) -> dict[str, "Figure"]:
        """The curves, and the pictures that a page shows in its viewer; in the order of ``keys.SECTIONS``."""
        figures = dict(self.curves)
        if self.snapshots:
            last = self.snapshots[max(self.snapshots)]
            if "attention" in last:
                figures["attention_map"] = attention_map_figure(self.snapshots)
            if "rollout" in last:
                figures["rollout_animation"] = rollout_animation_figure(self.snapshots)
        return {part.name: figures[part.name] for part in SECTIONS if part.name in figures}


def write_report(run_dir: str | Path | RunContent, output: str | Path | None = None) -> Path:
    """Write ``report.html`` of a run, finished or not, from ``metrics.jsonl`` and whatever else lies beside it.

    Args:
        run_dir: a run directory, or what has been read of it.
        output: the file; None for ``report.html`` in the run directory.

    Returns:
        The file, which replaces an older one at once and whole.

    Raises:
        InputError: no ``metrics.jsonl``, or not a readable one.
    """
    content = run_dir if isinstance(run_dir, RunContent) else RunContent(RunDirectory(Path(run_dir)))
    run, metrics = content.run, content.metrics
    config = run.config.read_text() if run.config.is_file() else ""
    return write_page(
        run.report if output is None else Path(output),
        title=run.path.resolve().name,
        facts=_facts(metrics, yaml.safe_load(config) or {}),
        headline=headline(metrics),
        sections=_sections(content),
        config=config,
    )


def _facts(metrics: Metrics, config: dict[str, Any]) -> Iterator[str]:
    """What the run was, in a few words, as far as its configuration says so."""
    model, data, trainer = (config.get(name) or {} for name in ("model", "data", "trainer"))
    if "seed_everything" in config:
        yield f"seed {config['seed_everything']}"
    if model:
        yield describe_network(model.get("architecture", "transformer"), model)
    if data.get("permute_targets"):
        yield "permuted targets"
    particles = (data.get("system") or {}).get("n_particles")
    if particles:
        yield f"{particles} particles"
    steps = max((int(steps[-1]) for steps, _ in metrics.values()), default=0)
    planned = trainer.get("max_steps", -1)
    yield f"step {steps:,} of {planned:,}" if planned > steps else f"{steps:,} steps"


def curve_figures(run: RunDirectory, metrics: Metrics, growth: Mapping[str, Growth]) -> dict[str, "Figure"]:
    """The figures that the run has numbers for, by name."""
    figures: dict[str, Figure] = {}
    if any(key in metrics for key in (keys.TRAIN_LOSS, keys.VAL_LOSS, keys.VAL_LOSS_COLLIDING, keys.VAL_LOSS_FREE)):
        figures["loss"] = loss_figure(metrics)
    if head_curves(metrics, keys.ENRICHMENT):
        lines = {head: line for head, grown in growth.items() if (line := _enrichment_line(metrics, grown)) is not None}
        figures["scores"] = scores_figure(metrics, fits=lines)
    if any(keys.EXPONENT.match(key) or keys.FORECAST.match(key) for key in metrics):
        figures["emergence"] = emergence_figure(metrics)
    if regions(metrics):
        figures["llc"] = llc_figure(metrics)
        if table := _table(run, "llc_trace"):
            figures["llc_trace"] = llc_trace_figure(table, metrics)
    if table := _table(run, "calibration"):
        figures["calibration"] = calibration_figure(table)
    if table := _table(run, "attention_distance"):
        figures["attention_distance"] = attention_distance_figure(table)
    if any(row.match(key) for row in keys.ROLLOUT.values() for key in metrics):
        figures["rollout"] = rollout_figure(metrics)
    return figures


def _enrichment_line(metrics: Metrics, growth: Growth) -> Curve | None:
    """The fitted line of a head's partner score in units of uniform attention; None where it has none."""
    line = growth.line()
    if line is None:
        return None
    scale = last(metrics, keys.ENRICHMENT.of(head=growth.name)) / last(metrics, keys.PARTNER_SCORE.of(head=growth.name))
    return line[0], scale * line[1]


def _sections(content: RunContent) -> Iterator[str]:
    run, metrics = content.run, content.metrics
    plots = {name: _plot(name, figure, **_values(run, name, metrics)) for name, figure in content.curves.items()}
    if content.snapshots:
        plots["attention_map"] = viewer_html(content.snapshots, metrics)
    if "scores" in plots:
        plots["scores"] += _head_table(metrics, content.growth)
    if "llc" in plots:
        plots["llc"] += _folded(plots.pop("llc_trace", ""))
    for part in SECTIONS:
        if part.name in plots:
            yield section(part.title, plots[part.name])


def _values(run: RunDirectory, name: str, metrics: Metrics) -> dict[str, str]:
    """What the caption of a figure leaves open."""
    if name == "llc":
        return {"onset": f"{ONSET:g}", "settings": _settings(metrics)}
    table = _table(run, name)
    return {"step": f"{table['step']:,}"} if table else {}


def _table(run: RunDirectory, name: str) -> dict[str, Any] | None:
    """What ``log_table`` wrote for a figure, if it did and the table has rows."""
    if name not in TABLE_KEYS:
        return None
    path = table_path(run.figures, TABLE_KEYS[name])
    table = json.loads(path.read_text()) if path.is_file() else {}
    return table if table.get("data") else None


def _settings(metrics: Metrics) -> str:
    """What the estimates were sampled with, as far as it was logged."""
    used: dict[str, set[float]] = {"n_beta": set(), "localization": set()}
    for key, (_, values) in metrics.items():
        for name, settings in used.items():
            if keys.LLC[name].match(key):
                settings.update(values)
    if not all(used.values()):
        return ""
    if any(len(values) > 1 for values in used.values()):
        return ", <b>and these have different ones</b>"
    n_beta, localization = (values.pop() for values in used.values())
    return f", here {n_beta:,g} and {localization:,g}"


def _folded(plot: str) -> str:
    """Traces of the last estimates take much room."""
    if not plot:
        return ""
    # A figure drawn while folded away does not know its width.
    resize = "this.querySelectorAll('.js-plotly-plot').forEach(plot => Plotly.Plots.resize(plot))"
    return f'<details ontoggle="{resize}"><summary>{TITLES["llc_trace"]}</summary>{plot}</details>'


def _plot(name: str, figure: "Figure", **values: str) -> str:
    return plot_html(name, figure, Template(CAPTIONS[name]).substitute(values))


def _head_table(metrics: Metrics, growth: Mapping[str, Growth]) -> str:
    heads = head_table(metrics)
    for row in heads if growth else ():
        row["growth"] = growth[row["head"]].text if row["head"] in growth else "–"
    names, rows = table_text(heads)
    lines, detecting = [], collision_heads(metrics)
    for row, cells in zip(heads, rows, strict=True):
        found = ' class="found"' if row["head"] in detecting else ""
        cells = [key_svg(*head_style(row["head"])) + cells[0], *cells[1:]]
        lines.append(f"<tr{found}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    header = "".join(f"<th>{name}</th>" for name in names)
    table = f'<p></p><div class="scroll"><table><tr>{header}</tr>{"".join(lines)}</table></div>'
    notes = [HEAD_NOTES[name] for name in HEAD_NOTES if name in heads[0]]
    if any(FAILED in row.get("llc", "") for row in heads):
        notes.append(f"{FAILED} the estimate failed a diagnostic.")
    return table + f'<p class="caption">{" ".join(notes)}</p>'
