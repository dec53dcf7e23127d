"""The table of heads: its rows, the text of its cells, and as HTML."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lightning_physim import keys
from lightning_physim.curves import (
    COLLISION_HEAD,
    N_FINAL,
    ONSET,
    Metrics,
    collision_heads,
    first_step,
    head_curves,
    last,
)
from lightning_physim.keys import Column
from lightning_physim.report.page import caption_html
from lightning_physim.report.style import head_style, key_svg
from lightning_physim.report.table import Html, html_table

FAILED = "†"
"""Before an estimate that failed its diagnostics."""
BOLD = f"""In bold: collision heads. The mean of their last {N_FINAL} measurements in the second half of training
    is at least {COLLISION_HEAD:g} times uniform attention."""
GROWTH = """<b>Growth</b>: the law of the score since a tenth of its rise, if one is clearly ahead of power law,
    exponential, stretched exponential, logistic and broken power law; &alpha; is the exponent of the approach to
    the plateau."""
Row = dict[str, Any]
"""A head: what is known of it, by the name of the column."""


def score_columns() -> dict[str, Column]:
    """The columns of scores of heads, by name: those of :data:`lightning_physim.keys.PROBE`."""
    return {name: key.column for name, key in keys.PROBE.items() if key.column is not None}


def all_columns() -> dict[str, Column]:
    """All columns by name, in their order."""
    return {
        "head": Column("head", "{}", BOLD, narrow=True),
        **score_columns(),
        "reached_onset": Column(f"step of {ONSET:g}×", "{:,}", narrow=True),
        "llc": Column("LLC", "{}", narrow=True),
        "growth": Column("growth", "{}", GROWTH),
    }


def head_table(metrics: Metrics) -> list[Row]:
    """One row per head, highest enrichment first.

    Returns:
        By name: ``head``, the last value of every score with a column that was logged of any head (NaN where it was not
        logged of this one), ``reached_onset``, the first measured step with an enrichment of
        :data:`lightning_physim.curves.ONSET` (``None``: never), and ``llc``, the last learning coefficient as text
        (:func:`llc_text`), if it was estimated of any head.
    """
    curves = head_curves(metrics, keys.ENRICHMENT)
    scores = [name for name in score_columns() if head_curves(metrics, keys.PROBE[name])]
    has_llc = any(keys.is_head(keys.LLC_MEAN.match(key) or "") for key in metrics)
    rows = []
    for head, curve in curves.items():
        row: Row = {"head": head}
        row |= {name: last(metrics, keys.PROBE[name].of(head=head)) for name in scores}
        row["reached_onset"] = first_step(curve, ONSET)
        rows.append(row | ({"llc": llc_text(metrics, head)} if has_llc else {}))
    return rows


def table_text(rows: Sequence[Row], narrow: bool = False) -> tuple[list[str], list[list[str]]]:
    """Titles of the columns that rows of :func:`head_table` have, and the rows as text; a dash where nothing is.

    Args:
        narrow: only the columns for which a terminal has room.
    """
    columns = {
        name: column for name, column in all_columns().items() if name in rows[0] and (column.narrow or not narrow)
    }
    texts = [
        [column.form.format(row[name]) if _is_there(row[name]) else "–" for name, column in columns.items()]
        for row in rows
    ]
    return [column.title for column in columns.values()], texts


def head_table_html(metrics: Metrics, growth: Mapping[str, str]) -> str:
    """The table with notes below it, collision heads in bold; empty where no head was measured.

    Args:
        growth: how a head has grown, in words; no column where there is none.
    """
    rows = head_table(metrics)
    if not rows:
        return ""
    for row in rows if growth else ():
        row["growth"] = growth.get(row["head"], "–")
    titles, texts = table_text(rows)
    cells = [
        [Html(key_svg(*head_style(row["head"])) + row["head"]), *text[1:]]
        for row, text in zip(rows, texts, strict=True)
    ]
    notes = list(
        dict.fromkeys(column.note for name, column in all_columns().items() if name in rows[0] and column.note)
    )
    if any(FAILED in row.get("llc", "") for row in rows):
        notes.append(f"{FAILED} the estimate failed a diagnostic.")
    strong = collision_heads(metrics)
    bold = [row["head"] in strong for row in rows]
    shown, *more = notes
    return f"{html_table(titles, cells, bold)}{caption_html(shown, ' '.join(more))}"


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


def _is_there(value: Any) -> bool:
    return value is not None and (isinstance(value, str) or bool(np.isfinite(value)))
