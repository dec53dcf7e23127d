"""What a metric key is, the chart and the column that it is shown in; :mod:`lightning_physim.keys` has all of them."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

HEAD = r"L\d+H\d+"
"""Regular expression of the name of an attention head: ``L0H3`` is head 3 of layer 0."""
FIELDS = {"head": HEAD, "region": r".+", "k": r"\d+", "figure": r"\w+"}
"""What can stand for each field of a key, as a regular expression."""


@dataclass(frozen=True)
class Chart:
    """A chart of an online dashboard, over the training step on a logarithmic axis. Keys may share one.

    Args:
        title: of the chart.
        section: name of the section in :data:`SECTIONS` that it belongs to.
        log: whether the values are logarithmic too; not for those that may be negative.
        only: regular expression of the regions that are drawn; empty for all.
    """

    title: str
    section: str
    log: bool = True
    only: str = ""


@dataclass(frozen=True)
class Column:
    """The column of a score in the table of heads.

    Args:
        title: of the column.
        form: how a number is written, as ``str.format`` takes it.
        note: an explanation under the table, HTML; empty for none.
        narrow: whether it is shown in the terminal too, where 80 characters have to do.
    """

    title: str
    form: str = "{:z.3f}"
    note: str = ""
    narrow: bool = False


class Key(str):
    """A metric key, with its fields in braces.

    Attributes:
        meaning: a phrase for tables of keys.
        unit: of the values.
        goal: which way is better; None where neither is.
        chance: what a head that attends to all particles alike scores; None where that is unknown or senseless.
        charts: where dashboards draw it.
        column: of the table of heads.
    """

    meaning: str
    unit: str
    goal: Literal["minimize", "maximize"] | None
    chance: float | None
    charts: tuple[Chart, ...]
    column: Column | None

    def __new__(
        cls,
        key: str,
        meaning: str,
        unit: str,
        goal: Literal["minimize", "maximize"] | None = None,
        *charts: Chart,
        chance: float | None = None,
        column: Column | None = None,
    ) -> "Key":
        self = super().__new__(cls, key)
        self.meaning, self.unit, self.goal = meaning, unit, goal
        self.charts, self.chance, self.column = charts, chance, column
        return self

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)  # a copy in a file or another process is the string

    @property
    def quantity(self) -> str:
        """The part that names what is measured: ``auroc`` of ``probe/auroc/{head}``."""
        return next(part for part in reversed(self.split("/")) if not part.startswith("{")).removesuffix("@{k}")

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(self.pattern())

    def of(self, **fields: str | int) -> str:
        """The key with its fields filled: ``AUROC.of(head="L0H1")``."""
        return self.format(**fields)

    def match(self, key: str) -> str | None:
        """What stands for the field in ``key``; the key itself where there is no field; None where it is another."""
        match = self._pattern.fullmatch(key)
        return None if match is None else match.group(match.lastindex or 0)

    def pattern(self, only: str = "") -> str:
        """Regular expression of the keys that it stands for, with the field as a group.

        Args:
            only: what may stand for the field, in place of :data:`FIELDS`.
        """
        parts = re.split(r"\{(\w+)\}", self)
        return "".join(f"({only or FIELDS[part]})" if i % 2 else re.escape(part) for i, part in enumerate(parts))
