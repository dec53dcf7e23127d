"""Defaults of public classes and functions: one that changes changes the numbers of everybody who did not name it."""

import inspect
from collections.abc import Callable
from typing import Any


def defaults(of: Callable[..., Any]) -> dict[str, Any]:
    """The default of every parameter that has one."""
    parameters = inspect.signature(of).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
