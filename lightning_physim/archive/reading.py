"""Reading an archive into data frames."""

import csv
import io
import json
import zipfile
import zlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_physim.archive.tables import ARCHIVE_FORMAT, DESCRIPTOR, HEADS_TABLE, INDEX, METRICS_TABLE, RUNS_TABLE
from lightning_physim.curves import Curve
from lightning_physim.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame

VALUES: dict[str, Callable[[str], Any]] = {"string": str, "integer": int, "number": float, "boolean": "true".__eq__}
"""What the text of a cell stands for, by the type of its column."""


class Archive:
    """A file that ``physim archive`` has written: ``Archive("archive.zip").heads``.

    Args:
        path: of the file.

    Raises:
        InputError: it is none, it is torn, or pandas is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._pandas = _pandas()
        try:
            self.descriptor: dict[str, Any] = json.loads(self._read(DESCRIPTOR))
            known = self.descriptor["lightning_physim"]["format"]
            self._resources = {each["name"]: each for each in self.descriptor["resources"]}
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            if isinstance(error, InputError):
                raise
            raise self._refusal(f"its {DESCRIPTOR} is of something else") from error
        if known != ARCHIVE_FORMAT:
            raise self._refusal(f"its format is {known}, and {ARCHIVE_FORMAT} is what this version reads")

    def __repr__(self) -> str:
        return f"Archive({str(self.path)!r})"

    @cached_property
    def runs(self) -> "DataFrame":
        """A row for each run, with the index ``(run, seed)``: state, version, commit, data, parameters of trials."""
        return self._table(RUNS_TABLE)

    @cached_property
    def heads(self) -> "DataFrame":
        """What was measured of every head, with the index ``(run, seed, head, step)`` and a column per quantity.

        Of one run it is :attr:`lightning_physim.Run.heads`.
        """
        return self._table(HEADS_TABLE)

    @cached_property
    def metrics(self) -> "DataFrame":
        """What else was measured of every run, with the index ``(run, seed, step)`` and a column per key."""
        return self._table(METRICS_TABLE)

    @property
    def columns(self) -> "DataFrame":
        """What every column is, with the index ``(table, column)``: ``description``, ``unit``, ``key``, ``better``."""
        fields = [
            {"table": name} | field
            for name in (RUNS_TABLE, HEADS_TABLE, METRICS_TABLE)
            for field in self._resources[name]["schema"]["fields"]
        ]
        frame: DataFrame = self._pandas.DataFrame(fields).rename(columns={"name": "column"}).fillna("")
        return frame.set_index(["table", "column"])

    def curves(self, run: str) -> dict[str, Curve]:
        """What a run has logged, by key, as :func:`lightning_physim.tracking.read_metrics` gives it, less every NaN.

        Args:
            run: of the index of :attr:`runs`.

        Raises:
            InputError: there is none of that name.
        """
        if run not in (known := self.runs.index.get_level_values("run")):
            raise InputError(f"a run of {self.path} is one of {', '.join(known)}; got {run}")
        found: dict[str, Curve] = {}
        for name, frame in ((METRICS_TABLE, self.metrics), (HEADS_TABLE, self.heads)):
            keys = {field["name"]: field.get("key", "") for field in self._resources[name]["schema"]["fields"]}
            of_run = frame[frame.index.get_level_values("run") == run]
            groups = of_run.groupby("head") if name == HEADS_TABLE else [("", of_run)]
            for head, rows in groups:
                steps = rows.index.get_level_values("step").to_numpy(np.int64)
                for column in rows:
                    values = rows[column].to_numpy(float)
                    there = ~np.isnan(values)
                    if there.any():
                        found[keys[column].replace("{head}", head)] = steps[there], values[there]
        return found

    def file(self, name: str) -> bytes:
        """The content of a file in it: ``runs/<run>/config.yaml``, ``runs/<run>/provenance.json``, a checkpoint.

        Raises:
            InputError: there is no such file.
        """
        return self._read(name)

    def _table(self, name: str) -> "DataFrame":
        schema = self._resources[name]["schema"]
        content = self._read(self._resources[name]["path"])
        try:
            _, *rows = csv.reader(io.StringIO(content.decode(), newline=""))
            columns = zip(*rows, strict=True) if rows else [()] * len(schema["fields"])
            frame: DataFrame = self._pandas.DataFrame(
                {
                    field["name"]: [VALUES[field["type"]](cell) if cell else None for cell in cells]
                    for field, cells in zip(schema["fields"], columns, strict=True)
                }
            )
            index = {field["name"] for field in INDEX}
            numbers = [field["name"] for field in schema["fields"] if field["type"] == "number"]
            return frame.astype(dict.fromkeys(numbers, float)).set_index([name for name in frame if name in index])
        except (ValueError, KeyError) as error:
            raise self._refusal(f"its table {name} is of something else") from error

    def _read(self, name: str) -> bytes:
        try:
            with zipfile.ZipFile(self.path) as file:
                return file.read(name)
        except (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
            raise self._refusal(f"{name} cannot be read from it ({error})") from error

    def _refusal(self, reason: str) -> InputError:
        return InputError(
            f"an archive is a file that physim archive has written; got {self.path}, {reason}: name another, or write "
            "it again"
        )


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise InputError("an archive is read by pandas; type `pip install 'lightning_physim[tables]'`") from None
    return pandas
