"""Shipped configurations, by name."""

from importlib.resources import files
from pathlib import Path

SHIPPED = Path(str(files("lightning_physim") / "configs"))
BASE = "base"
"""Name of the file that every configuration starts from; no name for ``--config``."""
DEFAULT = "demo"
"""What is trained where nothing is named."""

TIMES = {"smoke": "about a minute on a CPU core", "demo": "four to seven minutes on a CPU core"}
"""What those that were timed take, their measurements included, on a machine that others use too."""


def shipped_configs() -> list[str]:
    """Names that ``--config`` takes beside a path."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml") if path.stem != BASE)
