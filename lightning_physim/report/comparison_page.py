"""Several runs in one HTML file: seeds laid over each other, the trials of a sweep side by side."""

import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lightning_physim import keys
from lightning_physim.curves import ONSET, Metrics, collision_heads, first_step, head_curves, last
from lightning_physim.errors import InputError
from lightning_physim.files import flatten, replace_file
from lightning_physim.report.comparison_figures import Line, metric_figure, overlay_figure
from lightning_physim.report.page import Part, plot_html, section, write_page
from lightning_physim.report.plot import NEAR_ATTENTION
from lightning_physim.report.style import key_svg
from lightning_physim.report.summary import sentence
from lightning_physim.report.table import Html, html_table, number_text, value_text
from lightning_physim.tracking import RunDirectory, origin_line, read_metrics

log = logging.getLogger(__name__)

SEEDS = ("seed_everything", "data.seed")
"""Parameters that make another run of the same kind."""
NOT_COMPARED = ("runs", "ckpt_path", "data.cache_dir", "threads", "trainer.default_root_dir", "trainer.callbacks")
"""Parameters that are of no account, and those below them."""
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
        "step. {median}<i>Do not believe</i> one run per setting: seeds differ too (sweeps/seeds.yaml).",
    ),
    keys.VAL_LOSS_COLLIDING: (
        "Loss on colliding particles",
        "mean squared error, standardised",
        "The same as below, over the particles that touched another one in the interval. {median}<i>Do not believe</i> "
        "that a lower loss means better heads; a run's own report has the scores.",
    ),
    keys.VAL_LOSS: (
        "What they have learned",
        "mean squared error, standardised",
        "Error of one predicted interval on held-out data; 1 is free flight. {median}<i>Do not believe</i> differences "
        "between runs with different data: each has its own floors, which its own report shows.",
    ),
}


ONSET_CAPTION = f"""The first measured step at which a head gives near particles {ONSET:g} times the attention of a
    uniform one. Runs that never get there are left out. Dotted lines fall as one over the parameter. Over the learning
    rate they are what gradient flow does: its onset comes at a fixed sum of rates. <i>Do not believe</i> a power law
    because a few points lie on a line: see whether the slope is the same at both ends."""


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
    varied = _varied(points)
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
    states = [result.state for result in results]
    return write_page(
        folder / "report.html",
        title=folder.resolve().name,
        facts=[
            *(str(sweep[key]) for key in ("description",) if key in sweep),
            *(f"{states.count(state)} {state}" for state in dict.fromkeys(states)),
        ],
        headline=_best(results, metric, goal),
        sections=_sections(results, varied, metric, folder),
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
        InputError: a run without a readable ``metrics.jsonl``.
    """
    output = Path(output)
    configs = [yaml.safe_load(run.config.read_text()) if run.config.is_file() else {} for run in runs]
    points = [flatten(config or {}) for config in configs]
    varied = _varied(points)
    seeds = set(varied) <= set(SEEDS)
    results = []
    for run, point in zip(runs, points, strict=True):
        metrics = read_metrics(run.metrics)
        values = {name: point.get(name) for name in varied}
        # Seeds that tell the runs apart are better names than dates.
        name = f"seed {point[SEEDS[0]]}" if varied == [SEEDS[0]] else run.path.resolve().name
        results.append(Result(name, run, values, metrics, last(metrics, OUTCOME)))
    output.parent.mkdir(parents=True, exist_ok=True)
    return write_page(
        output,
        title=f"{len(runs)} {'seeds of one configuration' if seeds else 'runs'}",
        facts=[] if seeds else [f"they differ in {', '.join(map(_last_part, varied))}"],
        headline=runs_headline([result.metrics for result in results]),
        sections=_sections(results, [] if seeds else varied, OUTCOME, output.parent),
        config=runs[0].config.read_text() if seeds and runs[0].config.is_file() else "",
        origin=origin_line(runs),
    )


def runs_headline(runs: Sequence[Metrics]) -> str:
    """One sentence about several runs: on how many of them heads emerged, how strong, and the loss that is left."""
    scores = np.array([last(metrics, keys.BEST_ENRICHMENT) for metrics in runs])
    losses = np.array([last(metrics, OUTCOME) for metrics in runs])
    parts = []
    if np.isfinite(scores).any():
        parts.append(
            f"Heads that find near particles emerged in {sum(map(bool, map(collision_heads, runs)))} of {len(runs)} "
            f"runs: the best head of each ends at {_range(scores, '.1f')} times uniform attention"
        )
    if np.isfinite(losses).any():
        parts.append(f"the loss on colliding particles at {_range(losses, '.2g')}")
    return sentence(", ".join(parts))


def _lines(results: Sequence[Result]) -> list[Line]:
    """A colour per run; per kind of run where there are several kinds with several runs."""
    kinds = list(dict.fromkeys(result.kind for result in results))
    by_kind = 1 < len(kinds) < len(results)
    return [
        Line(result.name, result.kind, result.metrics, kinds.index(result.kind) if by_kind else i)
        for i, result in enumerate(results)
    ]


def _sections(results: Sequence[Result], varied: Sequence[str], metric: str, folder: Path) -> Iterator[Part]:
    lines = _lines(results)
    median = "The heavy line is the median. " if len({line.kind for line in lines}) < len(lines) else ""
    for key, (title, y_title, caption) in OVERLAYS.items():
        if any(key in line.metrics for line in lines):
            plot = plot_html(key.replace("/", "-"), overlay_figure(lines, key, y_title), caption.format(median=median))
            yield section(title, plot)
    if varied and any(math.isfinite(result.metric) for result in results):
        caption = f"The last value of {escape(metric)}, a point per run in the colour of its line above."
        values = [result.values for result in results]
        figure = metric_figure(lines, values, [result.metric for result in results], metric)
        yield section("What it depends on", plot_html("metric", figure, caption))
    onsets = [_onset_of(result.metrics) for result in results]
    if varied and len({onset for onset in onsets if math.isfinite(onset)}) > 1:
        figure = metric_figure(lines, [result.values for result in results], onsets, f"first step of {ONSET:g}×", -1.0)
        yield section("When the first head emerges", plot_html("onset", figure, ONSET_CAPTION))
    trials = any(result.state for result in results)
    yield section(
        "Trials" if trials else "Runs", _table(results, lines, _columns(results, varied, metric, trials), folder)
    )


def _columns(results: Sequence[Result], varied: Sequence[str], metric: str, trials: bool) -> dict[str, Cell]:
    """Columns of the table: parameters, what trials are judged by, outcomes as far as they were logged, and states."""
    columns: dict[str, Cell] = {name: _parameter(name) for name in varied}
    if trials:
        columns[metric] = lambda result: number_text(result.metric)
    for key, title in OUTCOMES_SHOWN.items():
        if any(key in result.metrics for result in results) and not (trials and key == metric):
            columns[title] = _last_value(key)
    columns |= {"collision heads": _n_collision_heads, f"first step of {ONSET:g}×": _onset}
    if trials:
        columns["state"] = lambda result: result.state
    return columns


def _table(results: Sequence[Result], lines: Sequence[Line], columns: Mapping[str, Cell], folder: Path) -> str:
    rows = []
    for result, line in zip(results, lines, strict=True):
        name = escape(result.name)
        if result.metrics:
            link = Path(os.path.relpath(result.run.report.resolve(), folder.resolve())).as_posix()
            name = f'<a href="{escape(link)}">{name}</a>'
        rows.append([Html(key_svg(*line.style) + name), *(text(result) for text in columns.values())])
    return html_table(["trial" if any(result.state for result in results) else "run", *columns], rows)


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
    judged = [result for result in results if math.isfinite(result.metric)]
    if not judged:
        return sentence("")
    values = np.array([result.metric for result in judged])
    best = judged[int(values.argmin() if goal == "minimize" else values.argmax())]
    parameters = ", ".join(f"{name} {value_text(value)}" for name, value in best.values.items())
    text = f"{best.name.capitalize()} has the best {metric}, {best.metric:.3g}"
    if len(judged) > 1:
        text += f" of {values.min():.3g} to {values.max():.3g} in {len(judged)} trials"
    return f"{text}{f', with {parameters}' if parameters else ''}."


def _varied(points: Sequence[Mapping[str, Any]]) -> list[str]:
    names = dict.fromkeys(name for point in points for name in point)
    return [
        name
        for name in names
        if len({str(point.get(name)) for point in points}) > 1
        and not any(name == other or name.startswith(other + ".") for other in NOT_COMPARED)
    ]


def _range(values: np.ndarray, form: str) -> str:
    values = values[np.isfinite(values)]
    low, middle, high = (format(float(x), form) for x in (values.min(), np.median(values), values.max()))
    return low if low == high else f"{low} to {high} (median {middle})"


def _last_part(name: str) -> str:
    """A parameter as it is called where it is declared: ``lr`` for ``model.lr``."""
    return name.rsplit(".", 1)[-1]
