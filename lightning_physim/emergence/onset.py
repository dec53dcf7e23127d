"""When a score leaves its baseline."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from lightning_physim.emergence.curve import approach, checked
from lightning_physim.emergence.growth import best_fit, fit_laws
from lightning_physim.errors import InputError

MIN_ONSET = 15
MIN_RISEN = 12
N_BASELINE = 3
SHARE = 0.1
"""Of the way from the baseline to the highest possible score, at which a head counts as emerging."""
N_FOR_GOOD = 5


@dataclass(frozen=True)
class Onset:
    """The step at which a curve crosses ``threshold`` upwards for good.

    Args:
        step: where the measured curve does, interpolated in the logarithm of the step; NaN where it has not.
        lo, hi: 95 % interval, ends at measured steps; ``hi`` is infinite where the curve has not surely crossed yet.
        threshold: the value crossed.
    """

    step: float
    lo: float
    hi: float
    threshold: float


def baseline(values: np.ndarray) -> float:
    """Median of the first three measurements."""
    return float(np.median(values[:N_BASELINE]))


def emergence_threshold(values: np.ndarray, ceiling: float = 1.0) -> float:
    """A tenth of the way from the baseline to ``ceiling``, the highest possible score.

    At a partner score of 0.1, that of uniform attention among our particles, it lies near twice the baseline, and far
    above the noise of a measurement.
    """
    start = baseline(values)
    return start + SHARE * (ceiling - start)


def emerging(values: np.ndarray, ceiling: float = 1.0) -> bool:
    """Whether a score has left its baseline for good: the last five values lie above :func:`emergence_threshold`."""
    last = values[-N_FOR_GOOD:]
    return len(last) == N_FOR_GOOD and bool((last > emergence_threshold(values, ceiling)).all())


def onset_step(
    steps: np.ndarray,
    values: np.ndarray,
    threshold: float | None = None,
    level: float = 0.95,
    noise: float | None = None,
) -> Onset:
    """The step at which a curve crosses ``threshold`` for good, with an interval.

    The curve itself, without noise, is taken to cross once. Then a point that lies below the threshold by more than
    noise allows comes before the crossing, and one above it by more comes after it: the interval reaches from the last
    of the former to the next of the latter, and is never shorter than the distance between measurements. As each of
    the points within three noise widths of the threshold can mislead, the error is divided among them (Bonferroni): the
    interval is conservative, the more so the denser the points.

    Args:
        steps, values: ``[points]``, as in :func:`lightning_physim.emergence.compare_growth_laws`.
        threshold: None for a tenth of the way from the median of the first three values to that of the last three.
        level: of the interval.
        noise: of a measurement, its standard deviation; None for that of the growth law that fits best after the rise.

    Raises:
        InputError: fewer than 15 points, or fewer than 12 after the rise to take the noise from, and as there.
    """
    steps, values = checked(steps, values)
    if len(steps) < MIN_ONSET:
        raise InputError(f"an onset takes {MIN_ONSET} points; got {len(steps)}")
    if threshold is None:
        start = baseline(values)
        threshold = start + SHARE * (float(np.median(values[-N_BASELINE:])) - start)
    if noise is None:
        risen = approach(steps, values, SHARE)
        if len(risen[0]) < MIN_RISEN:
            raise InputError(
                f"noise is taken from {MIN_RISEN} points after the rise; there are {len(risen[0])}: give noise=..."
            )
        noise = best_fit(fit_laws(*risen)).noise
    distance = (values - threshold) / max(noise, 1e-300)
    n_doubtful = max(int((np.abs(distance) < 3).sum()), 1)
    reach = float(ndtri(1 - (1 - level) / 2 / n_doubtful))
    before, after = np.flatnonzero(distance < -reach), np.flatnonzero(distance > reach)
    after = after[after > before[-1]] if len(before) else after
    return Onset(
        step=_crossing(steps, values - threshold),
        lo=float(steps[before[-1]]) if len(before) else 0.0,
        hi=float(steps[after[0]]) if len(after) else float("inf"),
        threshold=float(threshold),
    )


def _crossing(steps: np.ndarray, above: np.ndarray) -> float:
    below = np.flatnonzero(above <= 0)
    if not len(below):
        return float(steps[0])
    last = below[-1]
    if last == len(above) - 1:
        return float("nan")
    share = -above[last] / (above[last + 1] - above[last])
    return float(np.exp((1 - share) * np.log(steps[last]) + share * np.log(steps[last + 1])))
