"""numba's ``njit`` with the options that every compiled function here shares."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit

SOURCES = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))).hexdigest()
"""Of everything that compiled functions are made of."""


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile on first use, without checks for division by zero, and keep the machine code on disk where possible."""

    def decorate(function: Callable[..., Any]) -> Any:
        # numba keeps machine code under this name. To see whether it is still good it looks at the function's own file
        # alone, and would not notice that a function called from another file has changed.
        function.__qualname__ += f"_{SOURCES[:8]}"
        try:
            return njit(cache=True, error_model="numpy", **options)(function)
        except RuntimeError:  # neither the package's folder nor the user's cache folder can be written to
            return njit(error_model="numpy", **options)(function)

    return decorate
