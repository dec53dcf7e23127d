"""What a run came to, in a sentence, a table, and a few lines for the terminal."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lightning_physim import keys
from lightning_physim.curves import COLLISION_HEAD, ONSET, Metrics, collision_heads, first_step, head_curves, last
from lightning_physim.keys import MODEL, is_head
from lightning_physim.report.curve_figures import FLOORS, LOSSES
from lightning_physim.tracking import RunDirectory, read_metrics

FAILED = "†"
"""Before an estimate that failed its diagnostics."""
HEAD_COLUMNS = {
    "head": ("head", "{}"),
    "enrichment": ("× uniform", "{:.1f}"),
    "partner_score": ("partner score", "{:.3f}"),
    "collision_score": ("collision score", "{:.3f}"),
    "auroc": ("AUROC", "{:.3f}"),
    "average_precision": ("average precision", "{:.3f}"),
    "ablation": ("ablation", "{:.3f}"),
    "reached_onset": (f"step of {ONSET:g}×", "{:,}"),
    "llc": ("LLC", "{}"),
    "growth": ("growth", "{}"),
}
"""Of the table of heads: key of a row, what the column is called, and how its numbers are written."""
IN_TERMINAL = ("head", "enrichment", "partner_score", "auroc", "ablation", "reached_onset", "llc")
"""Of these columns, what fits into 80 characters."""


def head_table(metrics: Metrics) -> list[dict[str, Any]]:
    """One row per head, highest enrichment first.

    Returns:
        ``head``, the last ``enrichment``, ``partner_score`` and ``collision_score`` (NaN where not logged), and
        ``reached_onset``, the first measured step with an enrichment of :data:`ONSET` (``None``: never). Where they
        were logged of any head, also ``auroc``, ``average_precision`` and ``ablation``, and ``llc``, the last learning
        coefficient as text (:func:`llc_text`).
    """
    rows: list[dict[str, Any]] = [
        {
            "head": head,
            "enrichment": float(values[-1]),
            "partner_score": last(metrics, keys.PARTNER_SCORE.of(head=head)),
            "collision_score": last(metrics, keys.COLLISION_SCORE.of(head=head)),
            "reached_onset": first_step((steps, values), ONSET),
        }
        for head, (steps, values) in head_curves(metrics, keys.ENRICHMENT).items()
    ]
    for name in ("auroc", "average_precision", "ablation"):
        if head_curves(metrics, keys.PROBE[name]):
            for row in rows:
                row[name] = last(metrics, keys.PROBE[name].of(head=row["head"]))
    if any(is_head(keys.LLC_MEAN.match(key) or "") for key in metrics):
        for row in rows:
            row["llc"] = llc_text(metrics, row["head"])
    return rows


def headline(metrics: Metrics) -> str:
    """One sentence: how many heads detect collisions, since when, and what the network makes of it."""
    parts = []
    heads = head_table(metrics)
    if heads:
        detecting = collision_heads(metrics)
        found = [row for row in heads if row["head"] in detecting]
        if found:
            curves = head_curves(metrics, keys.ENRICHMENT)
            steps = [first_step(curves[row["head"]], COLLISION_HEAD) for row in found]
            since = min(step for step in steps if step is not None)
            have, best = "has" if len(found) == 1 else "have", found[0]
            parts.append(
                f"{len(found)} of {len(heads)} attention heads {have} learned to find near particles: the first passed "
                f"{COLLISION_HEAD:g} times uniform attention at step {since:,}, and the strongest, {best['head']}, has "
                f"reached {best['enrichment']:.1f} times"
            )
        else:
            parts.append(
                f"None of {len(heads)} heads puts {COLLISION_HEAD:g} times the uniform attention on near particles; "
                f"the highest, {heads[0]['head']}, puts {heads[0]['enrichment']:.1f} times"
            )
    share = 100 * last(metrics, keys.VAL_LOSS_COLLIDING) / last(metrics, keys.FLOOR_BALLISTIC_COLLIDING)
    if np.isfinite(share):
        parts.append(f"the loss on colliding particles is {share:.{0 if share >= 10 else 1}f}\u00a0% of free flight’s")
    sentence = "; ".join(parts)
    return sentence[:1].upper() + sentence[1:] + "." if sentence else "Nothing has been measured yet."


def print_summary(run: RunDirectory) -> None:
    """Print the heads, the losses against their floors, and where the report is. The caller sees to rank zero."""
    from rich.console import Console
    from rich.table import Table

    metrics = read_metrics(run.metrics)
    console = Console(highlight=False)
    heads = head_table(metrics)
    if heads:
        names, rows = table_text([{key: row[key] for key in IN_TERMINAL if key in row} for row in heads])
        table = Table(*names, box=None, pad_edge=False)
        for column in table.columns[1:]:
            column.justify = "right"
        detecting = collision_heads(metrics)
        for row, cells in zip(heads, rows, strict=True):
            style = "bold" if row["head"] in detecting else None
            table.add_row(*cells, style=style)
        console.print(table)
    for kind, lines in (("loss", LOSSES), ("floor", FLOORS)):
        for key, name, _ in lines:
            if key in metrics:
                console.print(f"{kind:<6}{name:<27}{last(metrics, key):>9.3g}")
    if keys.LLC_MEAN.of(region=MODEL) in metrics:
        console.print(f"{'LLC':<6}{'whole model':<27}{llc_text(metrics, MODEL):>9}")
    if any(FAILED in llc_text(metrics, region) for region in [MODEL, *(row["head"] for row in heads)]):
        console.print(f"{FAILED} failed its diagnostics; see the report")
    console.print(headline(metrics))
    if run.report.is_file():
        console.print(f"report: {run.report}", soft_wrap=True)


def table_text(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """The names of the columns that rows of :func:`head_table` have, and the rows as text; a dash where nothing is."""
    columns = {key: HEAD_COLUMNS[key] for key in HEAD_COLUMNS if key in rows[0]}
    texts = [
        [form.format(row[key]) if _is_there(row[key]) else "–" for key, (_, form) in columns.items()] for row in rows
    ]
    return [name for name, _ in columns.values()], texts


def _is_there(value: Any) -> bool:
    return value is not None and (isinstance(value, str) or bool(np.isfinite(value)))


def llc_text(metrics: Metrics, region: str) -> str:
    """The last learning coefficient of ``"model"`` or a head, ± its standard error.

    :data:`FAILED` stands before one that failed its diagnostics; a dash is for what was not estimated, or has no
    finite value.
    """
    if keys.LLC_MEAN.of(region=region) not in metrics:
        return "–"
    mean, mcse, converged = (
        last(metrics, key.of(region=region)) for key in (keys.LLC_MEAN, keys.LLC_MCSE, keys.LLC_CONVERGED)
    )
    text = "–"
    if np.isfinite(mean):
        size = int(np.floor(np.log10(mcse))) if 0 < mcse < np.inf else -1
        digits = max(0, min(1 - size, 2), -size)
        text = f"{mean:.{digits}f}" + (f" ± {mcse:.{digits}f}" if np.isfinite(mcse) else "")
    return text if converged != 0 and np.isfinite(mean) else f"{FAILED} {text}"
