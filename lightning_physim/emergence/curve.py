"""The points of a curve that a law is fitted to."""

import numpy as np

from lightning_physim.errors import InputError


def approach(steps: np.ndarray, values: np.ndarray, rise: float) -> tuple[np.ndarray, np.ndarray]:
    """The points after the curve has passed ``rise`` of the way to its end for good.

    The way is from the median of the first three values to that of the last three.

    Args:
        steps, values: ``[points]``.
        rise: in [0, 1); 0 keeps all points.

    Raises:
        InputError: see :func:`compare_growth_laws`.
    """
    steps, values = checked(steps, values)
    if not 0 <= rise < 1:
        raise InputError(f"rise must lie in [0, 1); got {rise}")
    if rise == 0 or len(values) < 6:
        return steps, values
    first, last = np.median(values[:3]), np.median(values[-3:])
    below = np.flatnonzero((values - first) * np.sign(last - first) < rise * abs(last - first))
    start = below[-1] + 1 if len(below) else 0
    return steps[start:], values[start:]


def checked(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values as ``[points]`` of float64, without the step 0, which no law in the logarithm of the step has.

    Raises:
        InputError: arrays of different lengths, steps that do not ascend, or values that are not finite.
    """
    steps, values = np.asarray(steps, dtype=float), np.asarray(values, dtype=float)
    if steps.ndim != 1 or steps.shape != values.shape:
        raise InputError(f"steps and values must be two rows of one length; got shapes {steps.shape}, {values.shape}")
    if not (np.isfinite(steps).all() and np.isfinite(values).all()):
        raise InputError("steps and values must be finite; got NaN or infinity: leave such points out")
    if (steps < 0).any() or (np.diff(steps) <= 0).any():
        raise InputError("steps must ascend from 0 or above; got steps that repeat, fall or are negative")
    later = steps > 0
    return steps[later], values[later]
