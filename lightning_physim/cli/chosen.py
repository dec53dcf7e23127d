"""Several runs that a command is given by name, those of sweeps among them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lightning_physim.cli.runs import chosen_run
from lightning_physim.errors import InputError
from lightning_physim.sweeps import read_trials
from lightning_physim.tracking import RunDirectory


class Chosen(NamedTuple):
    """A run that was named, itself or by its sweep; ``parameters`` are those of a trial, and else empty."""

    run: RunDirectory
    parameters: Mapping[str, Any]


def chosen_runs(root: str | Path, names: Sequence[str]) -> list[Chosen]:
    """The runs that some names stand for, which have all logged something; of a sweep those of its trials that have.

    Raises:
        InputError: no such run, one without ``metrics.jsonl``, one that is named twice, or a sweep without any.
    """
    chosen = []
    for name in names:
        folder = sweep_folder(root, name)
        if folder is None:
            chosen.append(Chosen(chosen_run(root, name), {}))
            continue
        trials = [Chosen(RunDirectory(folder.parent / row["run_id"]), row["parameters"]) for row in read_trials(folder)]
        chosen += [trial for trial in trials if trial.run.metrics.is_file()]
    for run, _ in chosen:
        if not run.metrics.is_file():
            raise InputError(f"a run has metrics.jsonl once it has logged something; {run.path} has none: name another")
    if len({run.path.resolve() for run, _ in chosen}) < len(chosen):
        raise InputError(f"each run is taken once; got one twice among {' '.join(names)}: name each once")
    if not chosen:
        raise InputError(f"at least one run with metrics.jsonl is needed; got {names[0]}, whose trials have none yet")
    return chosen


def sweep_folder(root: str | Path, name: str) -> Path | None:
    """The folder of the sweep of a name; None where it names none."""
    return next((path for path in (Path(name), Path(root) / name) if (path / "sweep.jsonl").is_file()), None)
