"""``python -m lightning_physim``, the same as ``physim``."""

from lightning_physim.cli import console

if __name__ == "__main__":
    console()
