"""Several runs in one HTML file: seeds laid over each other, the trials of a sweep side by side."""

import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lightning_physim import keys
from lightning_physim.curves import N_FINAL, ONSET, Metrics, collision_heads, first_step, head_curves, last
from lightning_physim.errors import InputError
from lightning_physim.files import flatten, read_mapping, replace_file
from lightning_physim.report.comparison_figures import Line, metric_figure, overlay_figure
from lightning_physim.report.loss_scales import FREE_FLIGHT, SHARE, can_be_told_apart, on_one_scale
from lightning_physim.report.page import Part, Tile, plot_html, section, write_page
from lightning_physim.report.plot import NEAR_ATTENTION, add_level, read_across
from lightning_physim.report.style import key_svg
from lightning_physim.report.summary import sentence
from lightning_physim.report.table import Html, html_table, number_text, value_text
from lightning_physim.tracking import RunDirectory, origin_line, read_metrics

log = logging.getLogger(__name__)

SEEDS = ("seed_everything", "data.seed")
"""Parameters that make another run of the same kind."""
NOT_COMPARED = (
    "runs", "ckpt_path", "data.cache_dir", "data.num_workers", "data.eval_batch_size", "threads",
    "trainer.default_root_dir", "trainer.callbacks", "trainer.logger", "wandb", "artifacts", "rank_timeout", "clock",
    "progress", "safeguard",
)  # fmt: skip
"""Parameters that are of no account, and those below them: where things are kept, how they are read,
and what watches over them."""
MEASURED_SECTIONS = ("validation", "probe.enabled", "emergence", "snapshots", "checkpoints", "llc", "geometry")
"""Those of what is measured and when: of no account between runs, unless a sweep asks for them."""
LONGEST_KIND = 40
"""Characters of the parameters that a line is called by, at most."""
MOST_COLUMNS, FEW_RUNS = 9, 4
"""A table of more columns is turned, where there are no more runs than this."""
OUTCOME = str(keys.VAL_LOSS_COLLIDING)
"""What runs are judged by where no sweep says it."""


OUTCOMES_SHOWN = {
    keys.VAL_LOSS: "loss",
    keys.VAL_LOSS_COLLIDING: "loss, colliding",
    keys.BEST_ENRICHMENT: "best head, × uniform",
}
"""Curves whose last values the table tells, and the titles of their columns."""
OVERLAYS = {
    keys.BEST_ENRICHMENT: (
        "Best head of each",
        NEAR_ATTENTION,
        "Attention to near particles over that of a head that attends to all alike, for whichever head is best at the "
        "step. <i>Do not believe</i> one run per setting: seeds differ too.",
    ),
    keys.VAL_LOSS_COLLIDING: (
        "Loss on colliding particles",
        "mean squared error, standardised",
        "Error of one predicted interval over the particles that touched another one in it. "
        "<i>Do not believe</i> that a lower loss means better heads; a run's own report has the scores.",
    ),
    keys.VAL_LOSS: (
        "What they have learned",
        "mean squared error, standardised",
        "Error of one predicted interval on held-out data; 1 is free flight. <i>Do not believe</i> "
        "differences that seeds make as well.",
    ),
}
AT_THE_LEFT: dict[str, Any] = {"x": 0, "xanchor": "left", "yanchor": "top", "yshift": -4}
MEDIAN = "The heavy line is the median of runs that differ by their seed alone."
"""What is folded under a figure with medians."""


ONSET_CAPTION = f"""The first measured step at which a head gives near particles {ONSET:g} times the attention of a
    uniform one. <i>Do not believe</i> a power law because a few points lie on a line."""
ONSET_MORE = """Runs that never get there are left out. Dotted lines fall as one over the parameter. Over the
    learning rate they are what gradient flow does: its onset comes at a fixed sum of rates. See whether the slope is
    the same at both ends."""


@dataclass(frozen=True)
class Result:
    """One run among others.

    Args:
        name: what it is called on the page.
        run: its directory.
        values: the parameters that differ between the runs.
        metrics: what it logged.
        metric: what it is judged by, NaN where there is nothing.
        state: of a trial; empty for a run.
    """

    name: str
    run: RunDirectory
    values: Mapping[str, Any]
    metrics: Metrics
    metric: float
    state: str = ""

    @property
    def kind(self) -> str:
        """The same for runs that differ by their seed alone."""
        return ", ".join(
            f"{_last_part(name)} {value_text(value)}" for name, value in self.values.items() if name not in SEEDS
        )


Cell = Callable[[Result], str]
"""The text of a column for a run."""


def write_comparison(folder: str | Path, sweep: Mapping[str, Any] | None, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write ``report.html`` of a sweep, finished or not.

    Args:
        folder: of the sweep, beside the run directories of its trials.
        sweep: content of its file; None for that of an earlier call. Where there was none, trials are judged by
            :data:`OUTCOME`.
        rows: ``trial``, ``parameters``, ``run_id``, ``state`` and ``metric`` of each trial.

    Returns:
        The file.
    """
    folder = Path(folder)
    file = folder / "sweep.yaml"
    known = sweep is not None or file.is_file()
    if sweep is None:
        sweep = yaml.safe_load(file.read_text()) if file.is_file() else {"metric": {"name": OUTCOME}}
    else:
        replace_file(file, yaml.safe_dump(dict(sweep), sort_keys=False).encode())
    metric, goal = sweep["metric"]["name"], sweep["metric"].get("goal", "minimize")
    points = [flatten(row["parameters"]) for row in rows]
    varied = differing(points)
    results = []
    for row, point in zip(rows, points, strict=True):
        run = RunDirectory(folder.parent / row["run_id"])
        metrics = _metrics_where_readable(run)
        # What a row calls its metric is the sweep's, whichever that was.
        value = row["metric"] if known else last(metrics, metric)
        results.append(
            Result(
                name=f"trial {row['trial']}",
                run=run,
                values={name: point.get(name) for name in varied},
                metrics=metrics,
                metric=float("nan") if value is None else float(value),
                state=str(row["state"]),
            )
        )
    results, note = _comparable(results, varied)
    states = [result.state for result in results]
    return write_page(
        folder / "report.html",
        title=_question(varied, f"give the {'lowest' if goal == 'minimize' else 'highest'} {metric}"),
        facts=[
            folder.resolve().name,
            *(str(sweep[key]) for key in ("description",) if key in sweep),
            *(f"{states.count(state)} {state}" for state in dict.fromkeys(states)),
            *([note] if note else []),
        ],
        headline=_best(results, metric, goal),
        sections=_sections(results, varied, metric, folder, bool(note)),
        config=yaml.safe_dump(dict(sweep), sort_keys=False),
        origin=origin_line(result.run for result in results),
    )


def _metrics_where_readable(run: RunDirectory) -> Metrics:
    """What a trial has logged; nothing, and a line of warning, where its file cannot be read."""
    try:
        return read_metrics(run.metrics) if run.metrics.is_file() else {}
    except InputError as error:
        log.warning("%s", error)
        return {}


def write_runs(output: str | Path, runs: Sequence[RunDirectory]) -> Path:
    """Write a page that lays runs over each other: seeds of one configuration, or whatever else they differ in.

    Args:
        output: the file. Its folder is made if need be.
        runs: with ``metrics.jsonl`` each, two or more.

    Returns:
        The file.

    Raises:
        InputError: a run without a readable ``metrics.jsonl``, or with a ``config.yaml`` that cannot be read.
    """
    output = Path(output)
    points = [flatten(read_mapping(run.config)) if run.config.is_file() else {} for run in runs]
    varied = differing(points, (*NOT_COMPARED, *MEASURED_SECTIONS))
    seeds = set(varied) <= set(SEEDS)
    results = []
    for run, point in zip(runs, points, strict=True):
        metrics = read_metrics(run.metrics)
        values = {name: point.get(name) for name in varied}
        # Seeds that tell the runs apart are better names than dates.
        name = f"seed {point[SEEDS[0]]}" if varied == [SEEDS[0]] else run.path.resolve().name
        results.append(Result(name, run, values, metrics, last(metrics, OUTCOME)))
    results, note = _comparable(results, varied)
    output.parent.mkdir(parents=True, exist_ok=True)
    return write_page(
        output,
        title=f"Do {len(runs)} seeds of one configuration agree?" if seeds else _question(varied, "make a difference"),
        facts=[]
        if seeds
        else [f"{len(runs)} runs", f"they differ in {', '.join(map(_last_part, varied))}", *([note] if note else [])],
        headline=runs_headline([result.metrics for result in results]),
        tiles=runs_tiles([result.metrics for result in results], bool(note)),
        sections=_sections(results, [] if seeds else varied, OUTCOME, output.parent, bool(note)),
        config=runs[0].config.read_text() if seeds and runs[0].config.is_file() else "",
        origin=origin_line(runs),
    )


def _comparable(results: Sequence[Result], varied: Sequence[str]) -> tuple[list[Result], str]:
    """The runs with losses that can be compared, and what was done about them; empty where they had one scale."""
    metrics, note = on_one_scale([result.metrics for result in results], varied)
    return [replace(result, metrics=own) for result, own in zip(results, metrics, strict=True)], note


def _question(varied: Sequence[str], asked: str) -> str:
    names = [_last_part(name) for name in varied if name not in SEEDS]
    return f"Which {' and '.join(names)} {asked}?" if 0 < len(names) <= 3 else f"Which parameters {asked}?"


def runs_headline(runs: Sequence[Metrics]) -> str:
    """One sentence about several runs: on how many of them heads emerged."""
    if any(keys.BEST_ENRICHMENT in metrics for metrics in runs):
        found = sum(map(bool, map(collision_heads, runs)))
        return f"Heads that find near particles emerged in {found} of {len(runs)} runs."
    return sentence(
        f"no heads were measured in {len(runs)} runs" if any(OUTCOME in metrics for metrics in runs) else ""
    )


def runs_tiles(runs: Sequence[Metrics], shares: bool = False) -> list[Tile]:
    """How strong the best head of each run is, and the loss that is left, lowest to highest.

    Args:
        shares: whether losses are those over free flight's.
    """
    unit = "of free flight’s loss on colliding particles" if shares else "loss on colliding particles"
    measured = {
        (" ×", ".1f", "uniform attention, by the best head of each run"): keys.BEST_ENRICHMENT,
        ("", ".2g", unit): OUTCOME,
    }
    tiles = []
    for (sign, form, meaning), key in measured.items():
        values = np.array([last(metrics, key) for metrics in runs])
        if len(known := values[np.isfinite(values)]):
            low, middle, high = (format(float(x), form) for x in (known.min(), np.median(known), known.max()))
            shown = low if low == high else f"{low} to {high}"
            tiles.append(Tile(shown + sign, meaning + (f" (median {middle})" if len(known) > 2 else "")))
    return tiles


def _lines(results: Sequence[Result]) -> list[Line]:
    """A colour per run; per kind of run where there are several kinds with several runs."""
    kinds = list(dict.fromkeys(result.kind for result in results))
    by_kind = 1 < len(kinds) < len(results)
    return [
        Line(_label(result), result.kind, result.metrics, kinds.index(result.kind) if by_kind else i)
        for i, result in enumerate(results)
    ]


def _label(result: Result) -> str:
    """What a line is called: a trial by its parameters too, where they are few."""
    return f"{result.name}: {result.kind}" if result.state and 0 < len(result.kind) <= LONGEST_KIND else result.name


def _sections(
    results: Sequence[Result], varied: Sequence[str], metric: str, folder: Path, shares: bool
) -> Iterator[Part]:
    lines, columns = _lines(results), varied
    median = MEDIAN if len({line.kind for line in lines}) < len(lines) else ""
    for key, (title, y_title, caption) in OVERLAYS.items():
        if any(key in line.metrics for line in lines):
            unit = SHARE if shares and key in FREE_FLIGHT else y_title
            figure = overlay_figure(lines, key, unit)
            if unit == SHARE or key == keys.BEST_ENRICHMENT:
                add_level(figure, 1.0, "free flight" if unit == SHARE else "uniform attention", log=True, **AT_THE_LEFT)
            yield section(title, plot_html(key.replace("/", "-"), read_across(figure), caption, median))
    parameters = [name for name in varied if name not in SEEDS]
    if not can_be_told_apart([result.values for result in results], parameters):
        if len(parameters) > 1:
            counts = f"{len(parameters)} parameters differ among {len(results)} runs"
            yield section("What it depends on", f"<p>{counts}: their effects cannot be told apart.</p>")
        varied = []
    if varied and any(math.isfinite(result.metric) for result in results):
        caption = f"The last value of {escape(metric)}, a point per run in the colour of its line above."
        values = [result.values for result in results]
        figure = metric_figure(lines, values, [result.metric for result in results], metric)
        yield section("What it depends on", plot_html("metric", figure, caption))
    onsets = [_onset_of(result.metrics) for result in results]
    if varied and len({onset for onset in onsets if math.isfinite(onset)}) > 1:
        figure = metric_figure(lines, [result.values for result in results], onsets, f"first step of {ONSET:g}×", -1.0)
        yield section("When the first head emerges", plot_html("onset", figure, ONSET_CAPTION, ONSET_MORE))
    trials = any(result.state for result in results)
    yield section(
        "Trials" if trials else "Runs",
        _table(results, lines, _columns(results, columns, metric, trials, shares), folder),
    )


def _columns(
    results: Sequence[Result], varied: Sequence[str], metric: str, trials: bool, shares: bool
) -> dict[str, Cell]:
    """Columns of the table: parameters, what trials are judged by, outcomes as far as they were logged, and states."""
    columns: dict[str, Cell] = {name: _parameter(name) for name in varied}
    if trials:
        columns[metric] = lambda result: number_text(result.metric)
    for key, title in OUTCOMES_SHOWN.items():
        if any(key in result.metrics for result in results) and not (trials and key == metric):
            columns[f"{title}, of free flight’s" if shares and key in FREE_FLIGHT else title] = _last_value(key)
    columns |= {"collision heads": _n_collision_heads, f"first step of {ONSET:g}×": _onset}
    if trials:
        columns["state"] = lambda result: result.state
    return columns


def _table(results: Sequence[Result], lines: Sequence[Line], columns: Mapping[str, Cell], folder: Path) -> str:
    """A row per run; a column where few runs differ in much."""
    names = []
    for result, line in zip(results, lines, strict=True):
        name = escape(result.name)
        if result.metrics:
            link = Path(os.path.relpath(result.run.report.resolve(), folder.resolve())).as_posix()
            name = f'<a href="{escape(link)}">{name}</a>'
        names.append(Html(key_svg(*line.style) + name))
    title = "trial" if any(result.state for result in results) else "run"
    cells = [[text(result) for text in columns.values()] for result in results]
    if len(columns) > MOST_COLUMNS and len(results) <= FEW_RUNS:
        return html_table([title, *names], [[name, *row] for name, *row in zip(columns, *cells, strict=True)])
    return html_table([title, *columns], [[name, *row] for name, row in zip(names, cells, strict=True)])


def _parameter(name: str) -> Cell:
    return lambda result: value_text(result.values[name])


def _last_value(key: str) -> Cell:
    return lambda result: number_text(last(result.metrics, key))


def _n_collision_heads(result: Result) -> str:
    n_heads = len(head_curves(result.metrics, keys.ENRICHMENT))
    return f"{len(collision_heads(result.metrics))} of {n_heads}" if n_heads else "–"


def _onset_of(metrics: Metrics) -> float:
    """The first measured step at which a head passes :data:`ONSET`; NaN where none does."""
    steps = [first_step(curve, ONSET) for curve in head_curves(metrics, keys.ENRICHMENT).values()]
    return float(min((step for step in steps if step is not None), default=math.nan))


def _onset(result: Result) -> str:
    onset = _onset_of(result.metrics)
    return f"{onset:,.0f}" if math.isfinite(onset) else "–"


def _best(results: Sequence[Result], metric: str, goal: str) -> str:
    """Which trial is best, or that none stands out of the scatter of their last measurements."""
    judged = [result for result in results if math.isfinite(result.metric)]
    if not judged:
        return sentence("")
    judged.sort(key=lambda result: result.metric, reverse=goal != "minimize")
    best, values = judged[0], [result.metric for result in judged]
    told = f"{min(values):.3g} to {max(values):.3g} in {len(judged)} trials"
    if len(judged) > 1 and abs(judged[1].metric - best.metric) <= _scatter(judged, metric):
        return f"No trial stands out: {metric} is {told}, and the first two differ by no more than their scatter."
    parameters = ", ".join(f"{name} {value_text(value)}" for name, value in best.values.items())
    text = f"{best.name.capitalize()} has the best {metric}, {best.metric:.3g}"
    return f"{text}{f' of {told}' if len(judged) > 1 else ''}{f', with {parameters}' if parameters else ''}."


def _scatter(results: Sequence[Result], metric: str) -> float:
    """How far a metric moves without a reason: over the last measurements of a run, and from seed to seed."""
    last_ones = [result.metrics[metric][1][-N_FINAL:] for result in results if metric in result.metrics]
    moves = [float(np.ptp(values)) for values in last_ones if np.isfinite(values).all()]
    kinds: dict[str, list[float]] = {}
    for result in results:
        kinds.setdefault(result.kind, []).append(result.metric)
    seeds = [float(np.ptp(values)) for values in kinds.values() if len(values) > 1]
    return max(float(np.median(moves)) if moves else 0.0, float(np.median(seeds)) if seeds else 0.0)


def differing(points: Sequence[Mapping[str, Any]], left_out: Sequence[str] = NOT_COMPARED) -> list[str]:
    """Names of the parameters that points differ in."""
    names = dict.fromkeys(name for point in points for name in point)
    return [
        name
        for name in names
        if len({str(point.get(name)) for point in points}) > 1
        and not any(name == other or name.startswith(other + ".") for other in left_out)
    ]


def _last_part(name: str) -> str:
    """A parameter as it is called where it is declared: ``lr`` for ``model.lr``."""
    return name.rsplit(".", 1)[-1]
