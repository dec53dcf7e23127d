"""Shipped configurations, by name."""

from importlib.resources import files
from pathlib import Path

from lightning_physim.errors import InputError

SHIPPED = Path(str(files("lightning_physim") / "configs"))


def shipped_configs() -> list[str]:
    """Names that ``--config`` takes beside a path."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def resolve_config(name: str) -> Path:
    """The file behind ``--config NAME_OR_PATH``; a path wins over a shipped name.

    Raises:
        InputError: neither a file nor a shipped name.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = SHIPPED / f"{name}.yaml"
    if shipped.is_file():
        return shipped
    raise InputError(f"--config takes a file or one of {', '.join(shipped_configs())}; got {name}")
