"""``provenance.json``: the code, the data, the machine and the day behind a run, and all of them in a line."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from lightning_physim.files import replace_file
from lightning_physim.tracking.reading import last_row
from lightning_physim.tracking.run import RunDirectory


def write_origin(run: RunDirectory, found: Mapping[str, Any]) -> None:
    """Write ``provenance.json``: what was found, and ``date`` in UTC, which stays that of the first training.

    Raises ``OSError`` where it cannot be written.
    """
    date = read_origin(run).get("date") or datetime.now(UTC).isoformat(timespec="seconds")
    replace_file(run.provenance, (json.dumps(dict(found) | {"date": date}, indent=1) + "\n").encode())


def read_origin(run: RunDirectory) -> dict[str, Any]:
    """What ``provenance.json`` says; empty where there is none that can be read, as in older runs."""
    try:
        content = json.loads(run.provenance.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) and isinstance(content.get("data") or {}, dict) else {}


def origin_line(runs: Iterable[RunDirectory]) -> str:
    """Where runs come from, in a line: versions, commits, devices and data by hash, dates and duration, each once."""
    runs = list(runs)
    found = [origin for run in runs if (origin := read_origin(run))]
    if not found:
        return ""

    def each(texts: Iterable[str]) -> str:
        return ", ".join(dict.fromkeys(text for text in texts if text))

    dates = sorted(str(origin["date"])[:10] for origin in found if "date" in origin)
    seconds = sum(last_row(run.metrics).get("time", 0.0) for run in runs)
    data = each(str(name) for origin in found for name in (origin.get("data") or {}).values() if "train" in str(name))
    parts = (
        each(f"lightning_physim {origin.get('version', '')}".strip() for origin in found),
        each(_commit(origin) for origin in found),
        each(f"torch {origin['torch']}" for origin in found if "torch" in origin),
        each(_devices(origin) for origin in found),
        f"data {data}" if data else "",
        " to ".join(dict.fromkeys((dates[0], dates[-1]))) if dates else "",
        f"{seconds / 60:.1f} min" if seconds else "",
    )
    return " · ".join(part for part in parts if part)


def _commit(origin: Mapping[str, Any]) -> str:
    if "commit" not in origin:
        return ""
    return f"commit {str(origin['commit'])[:10]}{', changed' if origin.get('dirty') else ''}"


def _devices(origin: Mapping[str, Any]) -> str:
    n = origin.get("world_size", 1)
    return f"{n} × {origin.get('device', '')}" if n != 1 else str(origin.get("device", ""))
