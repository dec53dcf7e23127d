"""What is seen inside the heads, as a table: for the terminal and for the page."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lightning_physim import keys
from lightning_physim.inside import Views
from lightning_physim.report.table import number_text


class InsideColumn(NamedTuple):
    """A column.

    Args:
        title: of the column.
        name: of the array, as in :meth:`lightning_physim.inside.Views.arrays`.
        note: what it says, in a line.
        error: whether there is a standard error, under the name with ``_error``.
        narrow: whether it is shown in the terminal too, where 80 characters have to do.
    """

    title: str
    name: str
    note: str
    error: bool = True
    narrow: bool = True


INSIDE_COLUMNS = (
    InsideColumn("spread", "circuit_spread", "how far the scores of a query's keys differ, root mean square", False),
    InsideColumn("distance", "circuit_by_distance", "fraction of their variance that the distance explains", False),
    InsideColumn("both", "circuit_by_both", "fraction that distance and approach velocity explain together", False),
    InsideColumn("finds", "intervention_finds", "how often a colliding particle attends most to one it hits", False),
    InsideColumn("lost", "patching_lost", "of a partner's effect on the prediction, if the head does not know of it"),
    InsideColumn("restored", "patching_restored", "of the same effect, if the head alone knows of it", narrow=False),
    InsideColumn("slope", "intervention_slope", "change of the prediction over that of the truth, what it sees moved"),
    InsideColumn("through", "intervention_through", "the part of that slope which goes through this head alone"),
    InsideColumn(
        "control", "intervention_control", "the same, the particle moved that it sees least within 2.5 diameters"
    ),
)


def inside_table(views: Views, narrow: bool = False) -> tuple[list[str], list[list[str]]]:
    """Titles, and a row for each head; columns that the views have nothing for are left out.

    Args:
        narrow: only the columns for which a terminal has room.
    """
    arrays, columns = views.arrays(), _columns(views, narrow)

    def cell(column: InsideColumn, place: tuple[int, ...]) -> str:
        error = arrays[f"{column.name}_error"][place] if column.error else np.nan
        return with_error(float(arrays[column.name][place]), float(error))

    rows = [
        [keys.head_name(layer, head), *(cell(column, (layer, head)) for column in columns)]
        for layer, head in np.ndindex(views.circuit.spread.shape)
    ]
    return ["head", *(column.title for column in columns)], rows


def inside_notes(views: Views, narrow: bool = False) -> Iterator[str]:
    """A line for each column, and one for the network as a whole."""
    for column in _columns(views, narrow):
        yield f"{column.title}: {column.note}"
    if views.patching is not None:
        whole = with_error(float(views.patching.whole), float(views.patching.whole_error))
        yield f"the network: its whole effect of a partner is {whole} of the true one, {views.patching.cases} cases"


def print_inside(views: Views) -> None:
    """Print :func:`inside_table`, and what its columns say."""
    from rich.console import Console
    from rich.table import Table

    titles, rows = inside_table(views, narrow=True)
    table = Table(*titles, box=None, pad_edge=False, collapse_padding=True)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False, markup=False)
    console.print(table)
    for note in inside_notes(views, narrow=True):
        console.print(note, soft_wrap=True)


def with_error(value: float, error: float) -> str:
    """A number to two digits after the point, with its standard error where that is known."""
    return number_text(round(value, 2) + 0.0, ".2f") + (f"±{error:.2f}" if np.isfinite(error) else "")


def _columns(views: Views, narrow: bool) -> list[InsideColumn]:
    there = views.arrays()
    return [column for column in INSIDE_COLUMNS if column.name in there and (column.narrow or not narrow)]
