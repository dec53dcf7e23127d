"""The laws by which a score may approach its plateau: each the distance that is left, from 1 down to 0.

A score is ``plateau - amplitude * left(t)`` with t the steps since the first point of the fit. The shares covered,
``1 - left``, are distribution functions that statistics knows by name, which is what the tests check them against.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

Left = Callable[..., np.ndarray]
SHIFT = 1e-4
"""Shift of the logarithm of a shape, for derivatives by difference."""


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
        label: what it is called in a sentence.
        left: of the steps since the first point and the shape parameters, broadcast.
        shapes: the parameters by name; plateau and amplitude come on top.
        special_case: the law that it contains: it fits that law's curves as well, whatever there is of them.
        free_edges: shapes that may end at the edge of their range without the law becoming another one.
        power_law: whether its approach to the plateau is a power law.
    """

    label: str
    left: Left
    shapes: dict[str, Shape]
    special_case: str = ""
    free_edges: frozenset[str] = frozenset()
    power_law: bool = False


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
    "power_law": Law("power law", power, {"time": _TIME, "exponent": Shape(0.05, 10.0, n=30)}, power_law=True),
    "exponential": Law("exponential", exponential, {"time": Shape(1e-4, 10.0, time=True, n=200)}),
    "stretched_exponential": Law(
        "stretched exponential",
        stretched,
        {
            "time": Shape(1e-4, 10.0, time=True, n=16),
            "exponent": Shape(0.2, 4.0, n=16),
            "before": Shape(1e-4, 1.0, time=True, n=8),
        },
        special_case="exponential",
        free_edges=frozenset({"before"}),  # it may well start at the first point, or long before
    ),
    "logistic": Law("logistic", logistic, {"time": _TIME, "ratio": Shape(1e-4, 5.0)}),
    "broken_power_law": Law(
        "broken power law",
        broken_power,
        {
            "time": Shape(1e-4, 10.0, time=True, n=16),
            "exponent": Shape(0.05, 10.0, n=16),
            "early": Shape(0.2, 8.0, n=8),
        },
        special_case="power_law",
        power_law=True,
    ),
}
"""The laws that are compared, by the name of their verdict."""


def family(name: str) -> str:
    """The simplest law that a law contains; itself where it contains none."""
    return LAWS[name].special_case or name


def is_power_law(verdict: str) -> bool:
    """Whether a verdict is a law whose approach to the plateau is a power law."""
    return verdict in LAWS and LAWS[verdict].power_law


def label(verdict: str) -> str:
    """A verdict in words."""
    return LAWS[verdict].label if verdict in LAWS else verdict


class LawOnSteps:
    """A law on given steps, by the logarithms of its shapes.

    Args:
        name: of the law.
        steps: ``[points]``, ascending.

    Attributes:
        first_step: from which the law counts time.
        lo, hi: range of the logarithms of the shapes, ``[shapes]``.
    """

    def __init__(self, name: str, steps: np.ndarray) -> None:
        self.name = name
        self.law = LAWS[name]
        self.steps = steps
        self.first_step = float(steps[0])
        self.t = steps - steps[0]
        span = float(self.t[-1])
        self.lo, self.hi = (
            np.log([getattr(shape, end) * (span if shape.time else 1.0) for shape in self.law.shapes.values()])
            for end in ("lo", "hi")
        )

    def left(self, x: np.ndarray) -> np.ndarray:
        """What is left at the steps, ``[rows, points]``, for logarithms of shapes ``[rows, shapes]``."""
        return self.law.left(self.t, *(np.exp(x[:, i, None]) for i in range(x.shape[1])))

    def slopes(self, x: np.ndarray) -> np.ndarray:
        """Derivatives of :meth:`left` by the logarithms of the shapes, ``[shapes, rows, points]``."""
        shifts = SHIFT * np.eye(x.shape[1])
        return np.stack([(self.left(x + shift) - self.left(x - shift)) / (2 * SHIFT) for shift in shifts])
