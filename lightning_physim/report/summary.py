"""What a run came to, in a sentence and a few lines for the terminal."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from lightning_physim import keys
from lightning_physim.curves import (
    COLLISION_HEAD,
    Curve,
    Metrics,
    collision_heads,
    final,
    first_step,
    head_curves,
    last,
)
from lightning_physim.report.curve_figures import FLOOR_LINES, LOSS_LINES
from lightning_physim.report.heads import FAILED, head_table, llc_text, table_text
from lightning_physim.report.page import Tile
from lightning_physim.tracking import RunDirectory, read_metrics

FIRST_STEP = f"first_step_{COLLISION_HEAD:g}x"
"""Name of the step at which the first head has become a collision head."""


def message(metrics: Metrics) -> str:
    """The first thing that :func:`headline` says, in a short sentence."""
    first = next(iter([*_about_heads(metrics), *_about_loss(metrics)]), "")
    return sentence(re.split("[:;]", first)[0])


def tiles(metrics: Metrics) -> list[Tile]:
    """When the first collision head appeared, how strong the best head is, and the loss that is left, where known."""
    found = outcome(metrics)
    shown = []
    if (first := found.get(FIRST_STEP)) is not None:
        shown.append(Tile(f"step {first:,.0f}", f"first head at {COLLISION_HEAD:g} times uniform attention"))
    if (best := found.get("best_enrichment")) is not None:
        name = next(iter(head_curves(metrics, keys.ENRICHMENT)), "best head")
        shown.append(Tile(f"{best:.1f} ×", f"uniform attention, by the strongest head, {name}"))
    if (share := found.get("loss_share")) is not None:
        shown.append(Tile(_percent(share), "of free flight’s loss on colliding particles"))
    return shown


def headline(metrics: Metrics) -> str:
    """One sentence: how many heads detect collisions, since when, and what the network makes of it."""
    return sentence("; ".join([*_about_heads(metrics), *_about_loss(metrics)]))


def sentence(text: str) -> str:
    """A text as a sentence; that nothing has been measured where it is empty."""
    return text[:1].upper() + text[1:] + "." if text else "Nothing has been measured yet."


def _about_heads(metrics: Metrics) -> Iterator[str]:
    curves = head_curves(metrics, keys.ENRICHMENT)
    strong = collision_heads(metrics)
    if strong:
        since = int(_first_passed(curves, strong))
        have = "has" if len(strong) == 1 else "have"
        yield (
            f"{len(strong)} of {len(curves)} attention heads {have} learned to find near particles: the first passed "
            f"{COLLISION_HEAD:g} times uniform attention at step {since:,}, and the strongest, {strong[0]}, has "
            f"reached {curves[strong[0]][1][-1]:.1f} times"
        )
    elif curves:
        means = {head: final(curve) for head, curve in curves.items()}
        best = max(means, key=lambda head: np.nan_to_num(means[head], nan=-np.inf))
        yield (
            f"None of {len(curves)} heads puts {COLLISION_HEAD:g} times the uniform attention on near particles; "
            f"the highest, {best}, puts {means[best]:.1f} times"
        )


def _first_passed(curves: Mapping[str, Curve], strong: list[str]) -> float:
    """When the first of the collision heads was one; NaN where there is none."""
    steps = [first_step(curves[head], COLLISION_HEAD) for head in strong]
    return float(min((step for step in steps if step is not None), default=np.nan))


def _about_loss(metrics: Metrics) -> Iterator[str]:
    share = last(metrics, keys.VAL_LOSS_COLLIDING) / last(metrics, keys.FLOOR_BALLISTIC_COLLIDING)
    if np.isfinite(share):
        yield f"the loss on colliding particles is {_percent(share)} of free flight’s"


def _percent(share: float) -> str:
    return f"{100 * share:.{0 if share >= 0.1 else 1}f}\u00a0%"


def outcome(metrics: Metrics) -> dict[str, float]:
    """What a run has come to so far, by names without slashes, as far as it has been measured.

    Returns:
        ``n_heads_5x``, heads beyond five times uniform attention; ``first_step_5x``, when the first got there;
        ``best_enrichment`` and ``llc_best_head`` of the strongest head; ``loss_share``, the loss on colliding particles
        over that of free flight.
    """
    curves = head_curves(metrics, keys.ENRICHMENT)
    strong = collision_heads(metrics)
    found = {
        f"n_heads_{COLLISION_HEAD:g}x": float(len(strong)) if curves else np.nan,
        FIRST_STEP: _first_passed(curves, strong),
        "best_enrichment": last(metrics, keys.BEST_ENRICHMENT),
        "llc_best_head": last(metrics, keys.LLC_MEAN.of(region=strong[0])) if strong else np.nan,
        "loss_share": last(metrics, keys.VAL_LOSS_COLLIDING) / last(metrics, keys.FLOOR_BALLISTIC_COLLIDING),
    }
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


def print_summary(run: RunDirectory, metrics: Metrics | None = None, report: Path | None = None) -> None:
    """Print the heads, the losses against their floors, and where the report is. The caller sees to rank zero.

    Args:
        run: the run directory.
        metrics: what it has logged, where that has been read.
        report: its page, where that is not in the run directory.
    """
    from rich.console import Console
    from rich.table import Table

    metrics = read_metrics(run.metrics) if metrics is None else metrics
    console = Console(highlight=False, markup=False)
    heads = head_table(metrics)
    if heads:
        titles, rows = table_text(heads, narrow=True)
        table = Table(*titles, box=None, pad_edge=False)
        for column in table.columns[1:]:
            column.justify = "right"
        strong = collision_heads(metrics)
        for row, cells in zip(heads, rows, strict=True):
            table.add_row(*cells, style="bold" if row["head"] in strong else None)
        console.print(table)
    lines = [("loss", key, name) for key, name, _ in LOSS_LINES] + [
        ("floor", key, name) for key, name, *_ in FLOOR_LINES
    ]
    for kind, key, name in lines:
        if key in metrics:
            console.print(f"{kind:<6}{name:<27}{last(metrics, key):>9.3g}")
    if keys.LLC_MEAN.of(region=keys.MODEL) in metrics:
        console.print(f"{'LLC':<6}{'whole model':<27}{llc_text(metrics, keys.MODEL):>9}")
    if any(FAILED in llc_text(metrics, region) for region in (keys.MODEL, *(row["head"] for row in heads))):
        console.print(f"{FAILED} failed its diagnostics; see the report")
    console.print(headline(metrics))
    report = report or run.report
    if report.is_file():
        console.print(f"report: {report}", soft_wrap=True)
