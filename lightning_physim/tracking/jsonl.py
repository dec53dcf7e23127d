"""``metrics.jsonl``: every number of a run in a text file that survives whatever kills the run."""

import io
import json
import math
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only, rank_zero_warn

from lightning_physim.files import append_json_line, json_number, replace_file
from lightning_physim.loggers import RunLogger
from lightning_physim.stopwatch import Stopwatch
from lightning_physim.tracking.reading import array_files, arrays_folder, rows_of, step_of, table_path


class JsonlLogger(RunLogger, Logger):
    """One JSON object a line: ``{"step": int, "time": seconds since start, "<key>": number, ...}``.

    A row is handed to the operating system before ``log_metrics`` returns, so a killed process loses none. Numbers that
    JSON lacks are written as the strings ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``, which strict parsers accept and
    ``float`` (``Number`` in JavaScript) turns back. A disk that fills up costs rows, with one warning, never the
    training, unless it is to be fatal. Only rank zero writes.

    As a Trainer's first logger it puts Lightning's default checkpoints in ``checkpoints/`` beside the file.

    Args:
        path: the file. One that exists is continued: its rows stay, a torn last line goes, ``time`` goes on.
        resume_step: training resumes from a checkpoint of this step: rows and arrays beyond it are dropped when the
            first row is written, as they are about to be logged again.
        fatal: raise where the file cannot be written: of a command that is about its numbers alone.
    """

    def __init__(self, path: str | Path, resume_step: int | None = None, fatal: bool = False) -> None:
        super().__init__()
        self.path = Path(path)
        self.resume_step = resume_step
        self.fatal = fatal
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
                if self.fatal:
                    raise
                if not self._warned:
                    rank_zero_warn(f"{self.path} cannot be written and is losing rows, training goes on: {error}")
                self._warned = True

    def _open_once(self) -> None:
        if not self._opened:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._start -= _trim(self.path, self.resume_step)
            for folder in self.path.parent.glob("figures/*/"):
                for path in array_files(folder):
                    if self.resume_step is not None and step_of(path) > self.resume_step:
                        path.unlink()
            self._opened = True


def _trim(path: Path, resume_step: int | None) -> float:
    """Drop rows beyond ``resume_step`` and a torn last line; return the ``time`` of the last row that stays."""
    if not path.is_file():
        return 0.0
    content, time = bytearray(), 0.0
    for line, step, row in rows_of(path):
        if resume_step is None or step <= resume_step:
            content += line
            time = max(time, row.get("time", 0.0))
    if len(content) != path.stat().st_size:
        replace_file(path, content, durable=True)
    return time
