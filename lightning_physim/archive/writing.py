"""Writing an archive from runs on disk."""

import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from lightning_physim import keys
from lightning_physim.archive.tables import (
    ARCHIVE_FORMAT,
    DESCRIPTOR,
    HEADS_TABLE,
    INDEX,
    METRICS_TABLE,
    OF_RUNS,
    RUNS_TABLE,
    Table,
    a_field,
    field_of,
    rows_by_step,
    type_of,
)
from lightning_physim.curves import Curve, Metrics
from lightning_physim.errors import InputError
from lightning_physim.files import read_mapping, replacing
from lightning_physim.tracking import RunDirectory, checkpoints_by_step, origin_line, read_metrics, read_origin
from lightning_physim.tracking.state import condition

KEPT_CHECKPOINTS = ("none", "last", "all")
ABOUT_ARCHIVE = (
    "Attention heads of small transformers that learn to simulate colliding particles: runs of lightning_physim. An "
    "empty cell was not measured at that step. What made each run is in runs/<run>/config.yaml and provenance.json."
)


def write_archive(
    path: str | Path,
    runs: Iterable[tuple[RunDirectory, Mapping[str, Any]]],
    only: Sequence[str] = ("*",),
    checkpoints: str = "none",
) -> Path:
    """Write the archive of some runs, whole or not at all. The same runs give the same bytes.

    Args:
        path: the file; one that exists is replaced.
        runs: each with what else the table of runs is to tell of it, such as the parameters of a trial.
        only: patterns of the keys to keep, as a shell has them: ``probe/*``.
        checkpoints: one of :data:`KEPT_CHECKPOINTS`, of every run.

    Returns:
        The file.

    Raises:
        InputError: two runs of one name, no such folder, no key to keep, or a log that cannot be read.
    """
    path, runs = Path(path), list(runs)
    if not path.parent.is_dir():
        raise InputError(f"an archive is a file in a folder that is there; got {path}: make {path.parent} first")
    if len({run.id for run, _ in runs}) < len(runs):
        raise InputError("runs in an archive have names of their own; got one name twice: rename a run's directory")
    of_runs = Table(RUNS_TABLE, "A row for each run.", ("run", "seed"), {each["name"]: each for each in OF_RUNS})
    of_heads = Table(HEADS_TABLE, "What was measured of each head.", ("run", "seed", "head", "step"))
    of_metrics = Table(METRICS_TABLE, "What else was measured of each run.", ("run", "seed", "step"))
    files: dict[str, Path] = {}
    for run, told in runs:
        metrics = read_metrics(run.metrics)
        about = _about(run, metrics)
        of_runs.rows.append({name: _plain(value) for name, value in told.items()} | about)
        _add(of_heads, of_metrics, about, {key: metrics[key] for key in metrics if _is_kept(key, only)})
        files |= _files(run, checkpoints)
    known = {*of_runs.index, *of_runs.fields}
    for name in dict.fromkeys(name for _, told in runs for name in told if name not in known):
        of_runs.fields[name] = a_field(name, type_of(row.get(name) for row in of_runs.rows), "parameter of the trial")
    if not of_heads.rows and not of_metrics.rows:
        raise InputError(f"--only are patterns of keys such as probe/*; got {' '.join(only)}, of which none was logged")
    tables = (of_runs, of_heads, of_metrics)
    descriptor = {
        "$schema": "https://datapackage.org/profiles/2.0/datapackage.json",
        "description": ABOUT_ARCHIVE,
        "lightning_physim": {"format": ARCHIVE_FORMAT, "origin": origin_line(run for run, _ in runs)},
        "resources": [table.resource() for table in tables],
    }
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        _put(archive, DESCRIPTOR, json.dumps(descriptor, indent=1, ensure_ascii=False).encode())
        for table in tables:
            _put(archive, table.path, table.text().encode())
        for name, source in files.items():
            _put(archive, name, source.read_bytes())
    return path


def _about(run: RunDirectory, metrics: Metrics) -> dict[str, Any]:
    """The row of a run in the table of runs; what its files say that is of another type is left out."""
    origin = read_origin(run)
    data = origin.get("data")
    own = {
        "run": run.id,
        "seed": _config(run).get("seed_everything"),
        "state": condition(run),
        "steps": max((int(steps[-1]) for steps, _ in metrics.values()), default=None),
        "data": data.get("train") if isinstance(data, Mapping) else None,
    }
    told = {each["name"]: origin.get(each["name"]) for each in OF_RUNS} | own
    types = {each["name"]: each["type"] for each in (*INDEX, *OF_RUNS)}
    return {name: value if type_of([value]) == types[name] else None for name, value in told.items()}


def _add(of_heads: Table, of_metrics: Table, about: Mapping[str, Any], metrics: Metrics) -> None:
    """Add what a run has logged to the two tables."""
    heads: dict[str, dict[str, Curve]] = {}
    for key, curve in metrics.items():
        field, head = field_of(key)
        (of_heads if head else of_metrics).fields.setdefault(field["name"], field)
        heads.setdefault(head, {})[field["name"]] = curve
    index = {name: about[name] for name in ("run", "seed")}
    of_metrics.rows += [row | index for row in rows_by_step(heads.pop("", {}))]
    for head in sorted(heads, key=keys.head_place):
        of_heads.rows += [row | index | {"head": head} for row in rows_by_step(heads[head])]


def _is_kept(key: str, only: Sequence[str]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in only)


def _files(run: RunDirectory, checkpoints: str) -> dict[str, Path]:
    """What goes along as it is, by name: unpacked, it is a run directory without its log."""
    kept = [*checkpoints_by_step(run).values()]
    kept = {"none": [], "last": kept[-1:], "all": kept}[checkpoints]
    paths = [path for path in (run.config, run.provenance) if path.is_file()] + kept
    return {f"runs/{run.id}/{path.relative_to(run.path).as_posix()}": path for path in paths}


def _config(run: RunDirectory) -> dict[str, Any]:
    try:
        return read_mapping(run.config)
    except InputError:
        return {}  # of a run from Python


def _plain(value: Any) -> Any:
    """A value that has a cell of its own, as text where it is a list or a dictionary."""
    return value if value is None or isinstance(value, bool | int | float | str) else json.dumps(value)


def _put(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    packed = zipfile.ZIP_STORED if name.endswith(".ckpt") else zipfile.ZIP_DEFLATED  # checkpoints are zips
    archive.writestr(zipfile.ZipInfo(name), content, packed)
