"""A trained network on its evaluation splits: one table, for the terminal and for the page."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from lightning_physim import keys
from lightning_physim.report.curve_figures import FLOOR_LINES, LOSS_LINES, ROLLOUT_PANELS
from lightning_physim.report.table import number_text

MEANING = (
    "A loss of 1 is free flight on the training split; free flight and the no-pair oracle are floors on the same data. "
    "@K is after K predicted intervals: position in squared units of length, energy and momentum relative."
)


class SplitTable(NamedTuple):
    """Errors by split.

    Attributes:
        splits: names of the columns.
        rows: what is measured, and its value on each split as text.
    """

    splits: list[str]
    rows: list[tuple[str, list[str]]]


def split_table(values: Mapping[str, float]) -> SplitTable:
    """One-step losses, their floors, and errors of rollouts, three digits each.

    Args:
        values: by key, as :class:`lightning_physim.PhysicsSimulator` logs them: ``test/loss``,
            ``ood_gravity/rollout_mse@5``.

    Returns:
        A column for every split with a loss; empty where there is none.
    """
    loss = keys.VAL_LOSS.quantity
    splits = [key.removesuffix(f"/{loss}") for key in values if key.endswith(f"/{loss}") and key != keys.TRAIN_LOSS]
    rows = [
        (name, [number_text(values.get(key, float("nan")), ".3g") for key in of_splits])
        for name, of_splits in _rows(values, splits)
    ]
    return SplitTable(splits, rows)


def _rows(values: Mapping[str, float], splits: list[str]) -> Iterator[tuple[str, list[str]]]:
    """The name of each row, and its key on every split."""
    lines = [(f"loss, {name}", key.quantity) for key, name, _ in LOSS_LINES]
    lines += [(name, key.quantity) for key, name, *_ in FLOOR_LINES]
    for name, quantity in lines:
        of_splits = [keys.of_split(split, quantity) for split in splits]
        if any(key in values for key in of_splits):
            yield name, of_splits
    horizons = sorted({int(found[1]) for key in values if (found := re.search(r"@(\d+)$", key))})
    for key, panel in ROLLOUT_PANELS.items():
        for horizon in horizons:
            of_splits = [keys.rollout_of(split, f"{key.quantity}@{horizon}") for split in splits]
            if any(each in values for each in of_splits):
                yield f"{panel.partition(',')[0]} @{horizon}", of_splits


def print_splits(values: Mapping[str, float]) -> None:
    """Print :func:`split_table`."""
    from rich.console import Console
    from rich.table import Table

    splits, rows = split_table(values)
    table = Table("", *(split.replace("_", " ") for split in splits), box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, cells in rows:
        table.add_row(name, *cells)
    console = Console(highlight=False, markup=False)
    console.print(table)
    console.print(MEANING)
