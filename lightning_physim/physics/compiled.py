"""numba's ``njit`` with the options that every compiled function here shares."""

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile on first use, without checks for division by zero, and keep the machine code on disk where possible."""

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return njit(cache=True, error_model="numpy", **options)(function)
        except RuntimeError:  # neither the package's folder nor the user's cache folder can be written to
            return njit(error_model="numpy", **options)(function)

    return decorate
