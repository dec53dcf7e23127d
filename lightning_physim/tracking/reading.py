"""Reading what a run has left: ``metrics.jsonl``, its arrays and tables. Needs neither torch nor Lightning."""

import json
import logging
import zipfile
import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lightning_physim.errors import InputError

log = logging.getLogger(__name__)
LOG_END = 2**16
"""Bytes at the end of a log among which its last row is looked for; a row has a few thousand."""


def table_path(figures: Path, key: str) -> Path:
    """The file of a table in the ``figures/`` of a run: ``llc_trace.json`` for ``llc/trace``."""
    return figures / f"{key.replace('/', '_')}.json"


def read_table(figures: Path, key: str) -> dict[str, Any] | None:
    """What ``log_table`` wrote under a key: ``step``, ``columns`` and ``data``; None where it has no rows."""
    path = table_path(figures, key)
    table = json.loads(path.read_text()) if path.is_file() else {}
    return table if table.get("data") else None


def arrays_folder(figures: Path, key: str) -> Path:
    """The folder of arrays in the ``figures/`` of a run, a file for each step: ``probe_snapshots`` for its key."""
    return figures / key.replace("/", "_")


def read_metrics(path: str | Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The curves in a ``metrics.jsonl``.

    Returns:
        ``{key: (steps, values)}``, int64 and float64 ``[n]``, steps ascending and unique: where a step was logged more
        than once the last row counts. ``"time"`` and ``"epoch"`` are curves like any other.

    Raises:
        InputError: no such file, or a line other than a torn last one is not a row.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"metrics are read from a run's metrics.jsonl, found no file {path}; name another run")
    # Rows with the same keys share their steps: of a long log that is a third of the memory.
    groups: dict[tuple[str, ...], _Rows] = {}
    for number, (_, step, row) in enumerate(rows_of(path)):
        group = groups.setdefault(tuple(row), _Rows(array("q"), array("q"), {key: array("d") for key in row}))
        group.numbers.append(number)
        group.steps.append(step)
        for values, value in zip(group.values.values(), row.values(), strict=True):
            values.append(value)
    parts: dict[str, list[_Rows]] = {}
    for group in groups.values():
        for key in group.values:
            parts.setdefault(key, []).append(group)
    return {key: _curve(key, groups_of_key) for key, groups_of_key in parts.items()}


class _Rows(NamedTuple):
    """The rows of a file that have the same keys: their numbers in the file, steps, and values by key."""

    numbers: array
    steps: array
    values: dict[str, array]


def _curve(key: str, groups: list[_Rows]) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of a key, in the order of steps; of equal steps the last row's."""
    steps, values, numbers = (
        np.frombuffer(parts[0], dtype) if len(parts) == 1 else np.concatenate([np.frombuffer(p, dtype) for p in parts])
        for parts, dtype in (
            ([group.steps for group in groups], np.int64),
            ([group.values[key] for group in groups], np.float64),
            ([group.numbers for group in groups], np.int64),
        )
    )
    if len(groups) > 1 or (steps[1:] < steps[:-1]).any():
        order = np.lexsort((numbers, steps))
        steps, values = steps[order], values[order]
    last = np.append(steps[1:] != steps[:-1], True)
    return (steps, values) if last.all() else (steps[last], values[last])


def read_rows(path: str | Path) -> Iterator[tuple[int, dict[str, float]]]:
    """Step and numbers of each whole row of a ``metrics.jsonl``, in the order of writing."""
    for _, step, row in rows_of(Path(path)):
        yield step, row


def last_row(path: Path) -> dict[str, float]:
    """The last whole row of a ``metrics.jsonl``, its step included; empty where there is none.

    A torn line may follow it. Only the end of the file is read: a log may be long.
    """
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_END))
            lines = file.read().splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        try:
            row = json.loads(line)
            return {key: float(value) for key, value in row.items()} | {"step": int(row["step"])}
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return {}


def read_arrays(folder: str | Path) -> dict[int, dict[str, np.ndarray]]:
    """What :meth:`JsonlLogger.log_arrays` has left in a folder: arrays by name, by ascending step.

    A file that cannot be read costs a line of warning, and is left out.
    """
    found = {}
    for path in array_files(Path(folder)):
        try:
            # Opened here: numpy leaves a file open that turns out to be none of its own.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                found[step_of(path)] = dict(arrays)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            log.warning("%s is left out, it cannot be read: %s", path, error)
    return found


def array_files(folder: Path) -> list[Path]:
    """The files of a folder that are named after a step, by step."""
    return sorted((path for path in folder.glob("step-*.npz") if path.stem[5:].isdecimal()), key=step_of)


def step_of(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))


def rows_of(path: Path) -> Iterator[tuple[bytes, int, dict[str, float]]]:
    """Each whole line with the step and the numbers that it holds. A line at a time: a log may be long."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
                step = row.pop("step")
                if not line.endswith(b"\n") or type(step) is not int or not abs(step) < 2**62:
                    raise ValueError("not a row")
                numbers = {key: float(value) for key, value in row.items()}
            except (ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError):
                if not file.read(1):
                    return  # the process was killed while it wrote this line
                raise InputError(
                    f'each line of {path} must be {{"step": int, "<key>": number, ...}}, '
                    f"got {line[:40]!r} in line {number}; remove that line"
                ) from None
            yield line, step, numbers
