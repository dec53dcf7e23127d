"""What a benchmark found, where it is kept, and what has got worse since."""

import json
import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

RESULTS = Path(__file__).parent / "results"
NOISE = 0.1
"""By how much a ratio must have fallen to be called worse: what two runs on a shared machine differ by."""


class Row(NamedTuple):
    """One comparison.

    Args:
        what: what was measured; the name by which the row is found again.
        ours: our figure.
        unit: of both figures; those that end in ``/s`` are better high, all others low.
        peer: whom we are compared with, or the limit; empty where a figure stands alone.
        theirs: the peer's figure on the same machine in the same run.
    """

    what: str
    ours: float
    unit: str
    peer: str = ""
    theirs: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times better than the peer; None without one."""
        if self.theirs is None:
            return None
        return self.ours / self.theirs if self.unit.endswith("/s") else self.theirs / self.ours

    def line(self) -> str:
        """A line of a markdown table."""
        if self.ratio is None:
            return f"| {self.what} | {self.ours:.4g} {self.unit} | {self.peer} | | |"
        return f"| {self.what} | {self.ours:.4g} {self.unit} | {self.peer} | {self.theirs:.4g} | **{self.ratio:.2f}** |"


HEADER = "| what | ours | peer | theirs | times better |\n|---|---|---|---|---|"


def machine() -> str:
    """The processor, and what else decides about speed."""
    import torch

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    name = names[0] if names else platform.processor()
    return f"{name}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}"


def version() -> str:
    """Of the package, with the commit."""
    from lightning_physim import __version__

    asked = ["git", "-C", str(RESULTS.parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    return f"{__version__}-{commit}" if commit else __version__


def store(name: str, rows: Iterable[Row]) -> Path:
    """Keep the rows of a benchmark under the version that made them."""
    path = RESULTS / f"{version()}.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    kept[name] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "rows": [row._asdict() for row in rows],
    }
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(kept, indent=1) + "\n")
    return path


def last(name: str) -> tuple[str, list[Row]] | None:
    """The version and the rows that this benchmark was stored with last, of all versions."""
    found = []
    for path in RESULTS.glob("*.json"):
        if (entry := json.loads(path.read_text()).get(name)) is not None:
            found.append((entry["date"], path.stem, [Row(**row) for row in entry["rows"]]))
    return max(found)[1:] if found else None


def worse(now: Iterable[Row], before: Iterable[Row]) -> list[str]:
    """What has got worse: ratios that have fallen by more than :data:`NOISE`."""
    ratios = {row.what: row.ratio for row in before}
    return [
        f"{row.what}: {row.ratio:.2f}, was {then:.2f}"
        for row in now
        if row.ratio is not None and (then := ratios.get(row.what)) is not None and row.ratio < (1 - NOISE) * then
    ]
