"""Compile the simulator in a process of its own, while this one imports torch."""

import os
import subprocess
import sys
from pathlib import Path

from lightning_physim.physics.compiled import SOURCES
from lightning_physim.physics.engine import simulate_all

_compiler: subprocess.Popen[bytes] | None = None


def compile_beside() -> None:
    """Start the compiler where there is something to compile and a core to do it on; :func:`await_compiled` ends it.

    Both processes meet in numba's cache on disk: whatever goes wrong in the other one, this one compiles by itself.
    """
    global _compiler
    if (os.cpu_count() or 1) > 1 and _compiler is None and not is_compiled():
        _compiler = subprocess.Popen([sys.executable, "-m", __package__], stderr=subprocess.DEVNULL)


def is_compiled() -> bool:
    """Whether numba's cache on disk holds the simulator."""
    kept = Path(simulate_all.stats.cache_path or ".").glob(f"*{simulate_all.py_func.__name__}_{SOURCES[:8]}*.nbi")
    return any(kept)


def await_compiled() -> None:
    """Wait for what :func:`compile_beside` started; at once where it did not."""
    if _compiler is not None:
        _compiler.wait()
