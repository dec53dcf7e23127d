"""The ``physim`` command."""

from lightning_physim.cli.main import console, main

__all__ = ["console", "main"]
