"""What a run came to, in a sentence and a few lines for the terminal."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_physim import keys
from lightning_physim.curves import (
    COLLISION_HEAD,
    ONSET,
    Metrics,
    collision_heads,
    final,
    first_collision_step,
    head_curves,
    last,
)
from lightning_physim.report.curve_figures import LOSS_LINES
from lightning_physim.report.heads import FAILED, head_table, llc_text, table_text
from lightning_physim.report.page import Tile
from lightning_physim.tracking import RunDirectory, read_metrics

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

MARK = "*"
"""Behind the name of a collision head, in the terminal."""
LEGEND = {
    "head": f"layer and head; {MARK} a collision head, at least {COLLISION_HEAD:g} × uniform",
    "× uniform": "attention on near particles, over that of uniform attention",
    "partner score": "share of the attention on others that goes to near ones",
    "AUROC": "attention as a classifier of pairs that touch; 0.5 is chance",
    "ablation": "rise of the colliding loss without the head's near keys",
    f"step of {ONSET:g}×": f"first measured step with {ONSET:g} × uniform",
    "LLC": "local learning coefficient ± its standard error",
}
"""Columns of the table of heads, by title, each in a line of 80 characters."""
FLOORS = {
    keys.VAL_LOSS_COLLIDING: (keys.FLOOR_BALLISTIC_COLLIDING, keys.FLOOR_NO_PAIR_COLLIDING),
    keys.VAL_LOSS: (keys.FLOOR_BALLISTIC, keys.FLOOR_NO_PAIR),
    keys.VAL_LOSS_FREE: (keys.FLOOR_BALLISTIC_FREE, keys.FLOOR_NO_PAIR_FREE),
}
"""Free flight and the no-pair oracle, over the same particles as the loss."""

FIRST_STEP = f"first_step_{COLLISION_HEAD:g}x"
"""Name of the step at which the first head has become a collision head."""


class Said(NamedTuple):
    """Something that a run has come to.

    Attributes:
        short: the thing itself.
        more: what goes on from there, with the sign that parts the two; empty where that is all.
    """

    short: str
    more: str = ""


def message(metrics: Metrics) -> str:
    """The first thing that :func:`headline` says, in a short sentence."""
    return sentence(next((said.short for said in _said(metrics)), ""))


def tiles(metrics: Metrics) -> list[Tile]:
    """When the first collision head appeared, how strong the best head is, and the loss that is left, where known."""
    found = outcome(metrics)
    shown = []
    if (first := found.get(FIRST_STEP)) is not None:
        shown.append(Tile(f"step {first:,.0f}", f"first seen: a head at {COLLISION_HEAD:g} times uniform attention"))
    if (best := found.get("best_enrichment")) is not None:
        name = next(iter(head_curves(metrics, keys.ENRICHMENT)), "best head")
        shown.append(Tile(f"{best:.1f} ×", f"uniform attention, by the strongest head, {name}"))
    if (share := found.get("loss_share")) is not None:
        shown.append(Tile(_percent(share), "of free flight’s loss on colliding particles"))
    return shown


def headline(metrics: Metrics) -> str:
    """One sentence: how many heads detect collisions, since when, and what the network makes of it."""
    return sentence("; ".join(said.short + said.more for said in _said(metrics)))


def sentence(text: str) -> str:
    """A text as a sentence; that nothing has been measured where it is empty."""
    return text[:1].upper() + text[1:] + "." if text else "Nothing has been measured yet."


def _said(metrics: Metrics) -> Iterator[Said]:
    said = [*_about_heads(metrics), *_about_loss(metrics)]
    if metrics and not said:  # learning coefficients alone, or the losses of a network that is not ours
        said = [Said("neither scores of heads nor a loss on colliding particles are known")]
    yield from said


def _about_heads(metrics: Metrics) -> Iterator[Said]:
    curves = head_curves(metrics, keys.ENRICHMENT)
    strong = collision_heads(metrics)
    means = {head: mean for head, curve in curves.items() if np.isfinite(mean := final(curve))}
    if strong:
        since = int(first_collision_step(metrics))
        have = "has" if len(strong) == 1 else "have"
        yield Said(
            f"{len(strong)} of {len(curves)} attention heads {have} learned to find near particles",
            f": the first passed {COLLISION_HEAD:g} times uniform attention at step {since:,}, and the strongest, "
            f"{strong[0]}, has reached {curves[strong[0]][1][-1]:.1f} times",
        )
    elif means:
        best = max(means, key=means.__getitem__)
        yield Said(
            f"None of {len(curves)} heads puts {COLLISION_HEAD:g} times the uniform attention on near particles",
            f"; the highest, {best}, puts {means[best]:.1f} times",
        )
    elif curves:
        yield Said(
            "attention of heads cannot be compared with uniform attention",
            ": every other particle is near, or none is",
        )


def _about_loss(metrics: Metrics) -> Iterator[Said]:
    share = last(metrics, keys.VAL_LOSS_COLLIDING) / last(metrics, keys.FLOOR_BALLISTIC_COLLIDING)
    if np.isfinite(share):
        yield Said(f"the loss on colliding particles is {_percent(share)} of free flight’s")


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
        FIRST_STEP: first_collision_step(metrics),
        "best_enrichment": last(metrics, keys.BEST_ENRICHMENT),
        "llc_best_head": last(metrics, keys.LLC_MEAN.of(region=strong[0])) if strong else np.nan,
        "loss_share": last(metrics, keys.VAL_LOSS_COLLIDING) / last(metrics, keys.FLOOR_BALLISTIC_COLLIDING),
    }
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


def print_summary(run: RunDirectory, metrics: Metrics | None = None, report: Path | None = None) -> None:
    """Print the heads, the losses against their floors, where the report is, and what to do next.

    Every column is explained above the table, in a line. The caller sees to rank zero.

    Args:
        run: the run directory.
        metrics: what it has logged, where that has been read.
        report: its page, where that is not in the run directory.
    """
    from rich.console import Console

    metrics = read_metrics(run.metrics) if metrics is None else metrics
    console = Console(highlight=False, markup=False)
    _print_heads(console, metrics)
    _print_losses(console, metrics)
    if keys.LLC_MEAN.of(region=keys.MODEL) in metrics:
        console.print(f"LLC of the whole model: {llc_text(metrics, keys.MODEL)}")
    console.print()
    console.print(headline(metrics))
    report = report or run.report
    if report.is_file():
        console.print(f"report: {report} (open it in a browser)", soft_wrap=True)
    if any(run.checkpoints.glob("*.ckpt")):
        console.print(f"next:   physim test --ckpt_path {run.path}", soft_wrap=True)


def _print_heads(console: "Console", metrics: Metrics) -> None:
    heads = head_table(metrics)
    if not heads:
        return
    strong = collision_heads(metrics)
    failed = any(FAILED in llc_text(metrics, region) for region in (keys.MODEL, *(row["head"] for row in heads)))
    titles, rows = table_text(heads, narrow=True)
    console.print()
    for title, meaning in LEGEND.items():
        if title in titles:
            console.print(f"{title:<15}{meaning}", soft_wrap=True)
    if failed:
        console.print(f"{FAILED:<15}the estimate has failed its diagnostics; see the report")
    console.print()
    table = _table(*titles)
    for row, cells in zip(heads, rows, strict=True):
        marked = row["head"] in strong
        table.add_row(f"{cells[0]} {MARK}" if marked else cells[0], *cells[1:], style="bold" if marked else None)
    console.print(table)


def _print_losses(console: "Console", metrics: Metrics) -> None:
    """Loss and floors, a row for the particles that they are over."""
    rows = [
        (name, *(f"{last(metrics, key):.3g}" if key in metrics else "–" for key in (loss, *FLOORS[loss])))
        for loss, name, _ in LOSS_LINES
        if loss in metrics
    ]
    if not rows:
        return
    console.print()
    table = _table("loss", "network", "free flight", "no-pair oracle")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _table(*titles: str) -> "Table":
    from rich.table import Table

    table = Table(*titles, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    return table
