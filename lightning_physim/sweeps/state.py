"""What became of the trials of a sweep, in a file: any process can be killed at any moment, that of the sweep too."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning_physim.errors import Diverged, InputError
from lightning_physim.files import append_json_line, json_number, locked, replace_file
from lightning_physim.signals import SIGNALS
from lightning_physim.sweeps.spec import Trial
from lightning_physim.tracking.run import RunDirectory
from lightning_physim.tracking.state import read_state

LINE = ("trial", "parameters", "run_id", "state", "exit_code", "metric")
"""What a line of ``sweep.jsonl`` holds."""
ENDED = ("finished", "stopped", "diverged")
"""States of trials that have come to an end."""


def state_of(exit_code: int, run: RunDirectory) -> str:
    """The state of a trial that nobody has told to stop, by the exit code of its process.

    Negative, or 128 and its number as shells have it, for one that a signal has ended.
    """
    if exit_code == 0:
        return "finished"
    if exit_code == Diverged.exit_code and (state := read_state(run)) and state.state == "diverged":
        return "diverged"
    number = -exit_code if exit_code < 0 else exit_code - 128
    return "interrupted" if number in SIGNALS else "failed"


class SweepState:
    """``sweep.jsonl`` in the folder of a sweep: a line when a trial starts, and one when it ends.

    A line holds ``trial``, ``parameters``, ``run_id``, ``state``, ``exit_code``, ``metric``. ``state`` is ``started``,
    ``finished``, ``stopped`` (early, by the sweep), ``diverged``, ``failed`` or ``interrupted``; the last line of a
    trial counts. A trial whose last line says that it started was interrupted.

    Args:
        folder: of the sweep.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "sweep.jsonl"

    def rows(self) -> list[dict[str, Any]]:
        """The last line of every trial that has one, by index; all that earlier commands ran as well.

        Raises:
            InputError: a line other than a torn last one is no line of this file.
        """
        lines = self.file.read_bytes().splitlines(keepends=True) if self.file.is_file() else []
        rows = {}
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                break
            try:
                row = json.loads(line)
                _check(row)
                rows[row["run_id"]] = {name: row[name] for name in LINE}
            except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
                raise InputError(
                    f"each line of {self.file} must hold {', '.join(LINE)}; got {line[:40]!r} in line {number}: "
                    "remove that line"
                ) from None
        return sorted(rows.values(), key=lambda row: row["trial"])

    def record(self, trial: Trial, state: str, exit_code: int | None = None, value: float | None = None) -> None:
        """Append a line; ``value`` is the last one of the metric."""
        row = {"trial": trial.index, "parameters": trial.parameters, "run_id": trial.run_id, "state": state}
        number = None if value is None else json_number(value)
        append_json_line(self.file, row | {"exit_code": exit_code, "metric": number})

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other sweeps off the folder, and drop the torn line that a machine that died may have left.

        Raises:
            InputError: another process runs this sweep.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        refusal = f"one process runs a sweep; got another at work in {self.folder}: wait for it, or raise its --jobs"
        with locked(self.folder / "lock", refusal):
            if self.file.is_file() and not (content := self.file.read_bytes()).endswith(b"\n"):
                replace_file(self.file, content[: content.rfind(b"\n") + 1], durable=True)
            yield


def _check(row: Mapping[str, Any]) -> None:
    """Raise ``TypeError`` or ``ValueError`` where a line does not hold what :meth:`SweepState.record` writes."""
    types = {"trial": int, "parameters": dict, "run_id": str, "state": str, "exit_code": int | None}
    if not all(isinstance(row[name], kind) for name, kind in types.items()):
        raise TypeError
    if Path(row["run_id"]).name != row["run_id"] or row["run_id"] in ("", "..") or "\0" in row["run_id"]:
        raise ValueError  # it is joined to the folder of the runs
    float(0 if row["metric"] is None else row["metric"])


def read_trials(folder: str | Path) -> list[dict[str, Any]]:
    """The last line of every trial in the ``sweep.jsonl`` of a sweep's folder, by index; none where it has no such."""
    return SweepState(Path(folder)).rows()
