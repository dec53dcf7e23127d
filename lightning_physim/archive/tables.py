"""The tables of an archive, and what each column is."""

import csv
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lightning_physim import keys

DESCRIPTOR = "datapackage.json"
ARCHIVE_FORMAT = 1
"""Raised where an archive of before would be misread."""
HEADS_TABLE, METRICS_TABLE, RUNS_TABLE = "heads", "metrics", "runs"

Field = dict[str, Any]
"""What the standard calls a field: the name, type and meaning of a column, and its unit where it has one."""


def a_field(name: str, type_: str, meaning: str, unit: str = "") -> Field:
    return {"name": name, "type": type_, "description": meaning} | ({"unit": unit} if unit else {})


INDEX = (
    a_field("run", "string", "name of the run"),
    a_field("seed", "integer", "seed of the initial weights and of the order of batches"),
    a_field("head", "string", "attention head: L0H2 is head 2 of layer 0, both counted from 0"),
    a_field("step", "integer", "training steps taken", "optimizer steps"),
)
"""Columns that tell the rows of a table apart."""
OF_RUNS = (
    a_field("state", "string", "finished, running, interrupted, killed, diverged, failed; unknown of an older run"),
    a_field("steps", "integer", "last step at which something was logged", "optimizer steps"),
    a_field("version", "string", "version of lightning_physim that trained it"),
    a_field("commit", "string", "git commit of lightning_physim; empty where it did not run from a checkout"),
    a_field("dirty", "boolean", "whether the checkout differed from that commit"),
    a_field("data", "string", "the training split; the name ends in a hash of what made it"),
    a_field("torch", "string", "version of torch"),
    a_field("device", "string", "what it was trained on"),
    a_field("world_size", "integer", "processes that trained it"),
    a_field("date", "string", "day and time of its first training, UTC"),
)
"""Columns of the table of runs after run and seed."""


def type_of(values: Iterable[Any]) -> str:
    """What the standard calls the type of some values; ``None`` is an empty cell."""
    types = {type(value) for value in values if value is not None}
    kinds = (({bool}, "boolean"), ({int}, "integer"), ({int, float}, "number"))
    return next((name for known, name in kinds if types and types <= known), "string")


def field_of(key: str) -> tuple[Field, str]:
    """The field of a metric key, and the head that it is of; empty where it is of none."""
    pattern, head = keys.split_head(key) or (key, "")
    row = keys.told_by(key)
    told = a_field(keys.without_head(pattern), "number", row.meaning if row else "", row.unit if row else "")
    return told | {"key": pattern} | ({"better": row.goal} if row and row.goal else {}), head


@dataclass
class Table:
    """A table that grows row by row.

    Args:
        name: of the table; its file has the same.
        description: a sentence.
        index: names of :data:`INDEX` that it begins with; they tell its rows apart, with the seed or without it.
        fields: all others, by name.
    """

    name: str
    description: str
    index: tuple[str, ...]
    fields: dict[str, Field] = field(default_factory=dict)
    rows: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def path(self) -> str:
        """Its file in the archive."""
        return f"{self.name}.csv"

    def resource(self) -> dict[str, Any]:
        """What ``datapackage.json`` says of it."""
        return {
            "name": self.name, "type": "table", "path": self.path, "format": "csv", "mediatype": "text/csv",
            "encoding": "utf-8", "description": self.description,
            "schema": {
                "fields": [*(each for each in INDEX if each["name"] in self.index), *self.fields.values()],
                "primaryKey": [name for name in self.index if name != "seed"],
                "missingValues": [""],
            },
        }  # fmt: skip

    def text(self) -> str:
        """Its content as CSV; an empty cell was not measured."""
        names = [*self.index, *self.fields]
        file = io.StringIO(newline="")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([_cell(row.get(name)) for name in names] for row in self.rows)
        return file.getvalue()


def rows_by_step(curves: Mapping[str, Iterable[Any]]) -> list[dict[str, Any]]:
    """A row for every step at which one of some curves has a value, ascending."""
    rows: dict[int, dict[str, Any]] = {}
    for name, (steps, values) in curves.items():
        for step, value in zip(steps.tolist(), values.tolist(), strict=True):
            rows.setdefault(step, {"step": step})[name] = value
    return [rows[step] for step in sorted(rows)]


def _cell(value: Any) -> Any:
    """As the standard writes it: ``NaN`` and ``INF`` of what was measured and is not finite."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "INF" if value > 0 else "-INF"
    return value
