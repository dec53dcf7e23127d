"""The laws by which a score may approach its plateau: each the distance that is left, from 1 down to 0.

A score is ``plateau - amplitude * left(t)`` with t the steps since the first point of the fit. The shares covered,
``1 - left``, are distribution functions that statistics knows by name, which is what the tests check them against.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

Left = Callable[..., np.ndarray]


@dataclass(frozen=True)
class Shape:
    """A shape parameter of a law, searched for on a logarithmic scale.

    Args:
        lo, hi: its range; of a time, in units of the span of the steps.
        time: whether it is a number of steps.
        n: values on the grid of the first search.
    """

    lo: float
    hi: float
    time: bool = False
    n: int = 30


@dataclass(frozen=True)
class Law:
    """One form of growth.

    Args:
        left: of the steps since the first point and the shape parameters, broadcast.
        shapes: the parameters by name; plateau and amplitude come on top.
    """

    left: Left
    shapes: dict[str, Shape]


def power(t: np.ndarray, time: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    """``(1 + t / time) ** -exponent``, Lomax: ``A (step - t0) ** -exponent``, t0 ``time`` before the first point."""
    return np.exp(-exponent * np.log1p(t / time))


def exponential(t: np.ndarray, time: np.ndarray) -> np.ndarray:
    """``exp(-t / time)``."""
    return np.exp(-t / time)


def stretched(t: np.ndarray, time: np.ndarray, exponent: np.ndarray, before: np.ndarray) -> np.ndarray:
    """``exp(-((t + before) / time) ** exponent)``, Weibull, over its value at 0: started ``before`` steps ago."""
    return np.exp((before / time) ** exponent - ((t + before) / time) ** exponent)


def logistic(t: np.ndarray, time: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """``1 / (1 + ratio * exp(t / time))``, a logistic curve that has its middle where that is 1/2."""
    return expit(-t / time - np.log(ratio))


def broken_power(t: np.ndarray, time: np.ndarray, exponent: np.ndarray, early: np.ndarray) -> np.ndarray:
    """``(1 + (t / time) ** early) ** (-exponent / early)``, Burr XII: growth as ``t ** early``, then a power law."""
    return np.exp(-exponent / early * np.log1p((t / time) ** early))


_TIME = Shape(1e-4, 10.0, time=True)
LAWS = {
    "power_law": Law(power, {"time": _TIME, "exponent": Shape(0.05, 10.0, n=30)}),
    "exponential": Law(exponential, {"time": Shape(1e-4, 10.0, time=True, n=200)}),
    "stretched_exponential": Law(
        stretched,
        {
            "time": Shape(1e-4, 10.0, time=True, n=16),
            "exponent": Shape(0.2, 4.0, n=16),
            "before": Shape(1e-4, 1.0, time=True, n=8),
        },
    ),
    "logistic": Law(logistic, {"time": _TIME, "ratio": Shape(1e-4, 5.0)}),
    "broken_power_law": Law(
        broken_power,
        {
            "time": Shape(1e-4, 10.0, time=True, n=16),
            "exponent": Shape(0.05, 10.0, n=16),
            "early": Shape(0.2, 8.0, n=8),
        },
    ),
}
"""The laws that are compared, by the name of their verdict."""

SPECIAL_CASE = {"stretched_exponential": "exponential", "broken_power_law": "power_law"}
"""Laws that contain another one: they fit its curves as well, whatever there is of them."""
