"""The ``physim`` command."""

from lightning_physim.cli.main import main

__all__ = ["main"]
