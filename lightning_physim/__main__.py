"""``python -m lightning_physim``, the same as ``physim``."""

import sys

from lightning_physim.cli import main

if __name__ == "__main__":
    sys.exit(main())
