"""The report of a run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from lightning_physim.curves import Metrics
from lightning_physim.keys import SECTIONS
from lightning_physim.model import describe_network
from lightning_physim.report.page import Part, folded, page_html, section, write_page
from lightning_physim.report.sections import RunContent, folded_sections
from lightning_physim.report.summary import message, tiles
from lightning_physim.report.words import with_words
from lightning_physim.tracking import RunDirectory, how_to_go_on, origin_line, read_state


def write_report(run_dir: str | Path | RunContent, output: str | Path | None = None, live: bool = False) -> Path:
    """Write ``report.html`` of a run, finished or not, from ``metrics.jsonl`` and whatever else lies beside it.

    Args:
        run_dir: a run directory, or what has been read of it.
        output: the file; None for ``report.html`` in the run directory.
        live: whether training goes on, so that the page reads itself again.

    Returns:
        The file, which replaces an older one at once and whole.

    Raises:
        InputError: no ``metrics.jsonl``, or not a readable one.
    """
    content = run_dir if isinstance(run_dir, RunContent) else RunContent(RunDirectory(Path(run_dir)))
    run, metrics = content.run, content.metrics
    config, facts = "", [f"{run.config.name} cannot be read"]
    try:
        config = run.config.read_text() if run.config.is_file() else ""
        facts = list(_facts(metrics, yaml.safe_load(config) or {}))
    except (ValueError, AttributeError, TypeError, yaml.YAMLError, RecursionError):
        pass  # its numbers are worth a page
    return write_page(
        run.report if output is None else Path(output),
        title=run.path.resolve().name,
        facts=[*_ending(run), *facts, *(["training goes on"] if live else [])],
        headline=message(metrics),
        sections=with_words(_sections(content)),
        config=config,
        tiles=tiles(metrics),
        origin=origin_line([run]),
        live=live,
    )


def viewer_page(content: RunContent) -> str:
    """The viewer of a run as a page of its own; empty where there are no snapshots."""
    part = next(part for part in SECTIONS if part.viewed)
    shown = content.html(part.name)
    return page_html(part.title, [], message(content.metrics), [section("", shown)]) if shown else ""


def _ending(run: RunDirectory) -> Iterator[str]:
    """How the run has ended, where it did not come to its end."""
    state = read_state(run)
    if state is not None and state.state == "diverged":
        yield state.reason  # which says what, and when
    elif state is not None and state.state in ("interrupted", "failed"):
        yield f"{state.state} at step {state.step:,}: {state.reason}{how_to_go_on(run, state)}"


def _facts(metrics: Metrics, config: dict[str, Any]) -> Iterator[str]:
    """What the run was, in a few words, as far as its configuration says so."""
    model, data, trainer = (config.get(name) or {} for name in ("model", "data", "trainer"))
    if "seed_everything" in config:
        yield f"seed {config['seed_everything']}"
    if "class_path" in model:
        yield str(model["class_path"])
    elif model:
        yield describe_network(model.get("architecture", "transformer"), model)
    if data.get("permute_targets"):
        yield "permuted outcomes"
    particles = (data.get("system") or {}).get("n_particles")
    if particles:
        yield f"{particles} particles"
    steps = max((int(steps[-1]) for steps, _ in metrics.values()), default=0)
    planned = trainer.get("max_steps", -1)
    yield f"step {steps:,} of {planned:,}" if planned > steps else f"{steps:,} steps"


def _sections(content: RunContent) -> Iterator[Part]:
    for part in folded_sections(""):
        html = content.html(part.name)
        for inner in folded_sections(part.name) if html else ():
            inner_html = content.html(inner.name)
            html += folded(inner.title, inner_html) if inner_html else ""
        if html:
            yield section(part.title, html)
