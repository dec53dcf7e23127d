"""``metrics.jsonl``: every number of a run in a text file that survives whatever kills the run."""

import io
import json
import logging
import math
import time
import zipfile
import zlib
from argparse import Namespace
from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only, rank_zero_warn

from lightning_physim.errors import InputError
from lightning_physim.files import append_json_line, json_number, replace_file
from lightning_physim.run_logger import RunLogger
from lightning_physim.stopwatch import Stopwatch

log = logging.getLogger(__name__)


class JsonlLogger(RunLogger, Logger):
    """One JSON object a line: ``{"step": int, "time": seconds since start, "<key>": number, ...}``.

    A row is handed to the operating system before ``log_metrics`` returns, so a killed process loses none. Numbers that
    JSON lacks are written as the strings ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``, which strict parsers accept and
    ``float`` (``Number`` in JavaScript) turns back. A disk that fills up costs rows, with one warning, never the
    training. Only rank zero writes.

    As a Trainer's first logger it puts Lightning's default checkpoints in ``checkpoints/`` beside the file.

    Args:
        path: the file. One that exists is continued: its rows stay, a torn last line goes, ``time`` goes on.
        resume_step: training resumes from a checkpoint of this step: rows and arrays beyond it are dropped when the
            first row is written, as they are about to be logged again.
    """

    def __init__(self, path: str | Path, resume_step: int | None = None) -> None:
        super().__init__()
        self.path = Path(path)
        self.resume_step = resume_step
        self._stopwatch = Stopwatch()
        self._start = time.monotonic()
        self._opened = False
        self._step = 0
        self._warned = False

    @property
    def seconds(self) -> float:
        """Seconds spent in logging so far."""
        return self._stopwatch.seconds

    @property
    def save_dir(self) -> str:
        return str(self.path.parent)

    # Lightning's default checkpoint directory is <save_dir>/<name>/<version>/checkpoints.
    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: ``config.yaml`` beside the file holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Append one row.

        Args:
            metrics: numbers, or tensors and arrays of one element.
            step: optimizer steps taken; ``None`` repeats the step of the row before.
        """
        with self._never_fatal():
            self._step = self._step if step is None else step
            self._open_once()
            row: dict[str, float | str] = {"step": self._step, "time": round(time.monotonic() - self._start, 3)}
            row |= {key: json_number(value) for key, value in metrics.items() if key not in row}
            append_json_line(self.path, row)

    @rank_zero_only
    def log_table(self, key: str, columns: list[str], data: list[list[Any]], step: int | None = None) -> None:
        """Write the :func:`table_path` of ``key`` beside the file, over the table of an earlier step.

        The file holds ``{"step": int, "columns": [...], "data": [[...], ...]}``, with ``null`` for a number that is
        not finite.
        """
        with self._never_fatal():
            rows = [[None if isinstance(x, float) and not math.isfinite(x) else x for x in row] for row in data]
            path = table_path(self.path.parent / "figures", key)
            path.parent.mkdir(parents=True, exist_ok=True)
            content = json.dumps({"step": step, "columns": columns, "data": rows}, allow_nan=False).encode()
            replace_file(path, content)

    @rank_zero_only
    def log_arrays(self, key: str, arrays: Mapping[str, Any], step: int) -> None:
        """Write ``step-<step>.npz`` in the :func:`arrays_folder` of ``key``; :func:`read_arrays` reads it back.

        Args:
            arrays: of numbers or booleans.
        """
        with self._never_fatal():
            self._open_once()
            path = arrays_folder(self.path.parent / "figures", key) / f"step-{step:08d}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            content = io.BytesIO()
            np.savez_compressed(content, **arrays)
            replace_file(path, content.getvalue(), durable=True)  # only training again would bring it back

    @contextmanager
    def _never_fatal(self) -> Iterator[None]:
        with self._stopwatch:
            try:
                yield
            except OSError as error:
                if not self._warned:
                    rank_zero_warn(f"{self.path} cannot be written and is losing rows, training goes on: {error}")
                self._warned = True

    def _open_once(self) -> None:
        if not self._opened:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._start -= _trim(self.path, self.resume_step)
            for folder in self.path.parent.glob("figures/*/"):
                for path in _array_files(folder):
                    if self.resume_step is not None and _step_of(path) > self.resume_step:
                        path.unlink()
            self._opened = True


def table_path(figures: Path, key: str) -> Path:
    """The file of a table in the ``figures/`` of a run: ``llc_trace.json`` for ``llc/trace``."""
    return figures / f"{key.replace('/', '_')}.json"


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
    for number, (_, step, row) in enumerate(_rows(path)):
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
    for _, step, row in _rows(Path(path)):
        yield step, row


def read_arrays(folder: str | Path) -> dict[int, dict[str, np.ndarray]]:
    """What :meth:`JsonlLogger.log_arrays` has left in a folder: arrays by name, by ascending step.

    A file that cannot be read costs a line of warning, and is left out.
    """
    found = {}
    for path in _array_files(Path(folder)):
        try:
            with np.load(path, allow_pickle=False) as file:
                found[_step_of(path)] = dict(file)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            log.warning("%s is left out, it cannot be read: %s", path, error)
    return found


def _array_files(folder: Path) -> list[Path]:
    """The files of a folder that are named after a step, by step."""
    return sorted((path for path in folder.glob("step-*.npz") if path.stem[5:].isdecimal()), key=_step_of)


def _step_of(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))


def _rows(path: Path) -> Iterator[tuple[bytes, int, dict[str, float]]]:
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


def _trim(path: Path, resume_step: int | None) -> float:
    """Drop rows beyond ``resume_step`` and a torn last line; return the ``time`` of the last row that stays."""
    if not path.is_file():
        return 0.0
    content, time = bytearray(), 0.0
    for line, step, row in _rows(path):
        if resume_step is None or step <= resume_step:
            content += line
            time = max(time, row.get("time", 0.0))
    if len(content) != path.stat().st_size:
        replace_file(path, content, durable=True)
    return time
