"""When a score leaves its baseline."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from lightning_physim.curves import Curve, crossing_step, final
from lightning_physim.emergence.curve import approach, checked
from lightning_physim.emergence.growth import best_fit, fit_laws
from lightning_physim.errors import InputError

MIN_ONSET = 15
"""Points from which an onset is dated."""
MIN_RISEN = 12
"""Points after :data:`DEPARTURE` from which laws are fitted, to take the noise from their residuals or to predict other
points. That makes no claim about the law, so that it needs less than a comparison."""
N_BASELINE = 3
"""First measurements whose median is the baseline."""
DEPARTURE = 0.1
"""Fraction of the way from the baseline to the highest possible score, or to the end of the curve, at which a score has
left its baseline."""
N_FOR_GOOD = 5
"""Last measurements that must all lie above the threshold where a head emerges."""


@dataclass(frozen=True)
class Onset:
    """The step at which a score departs from its baseline: its curve crosses ``threshold`` upwards for good.

    This is ``emergence/{head}/onset_step``, of the partner score. It is neither the first step with an enrichment of 3
    (:data:`lightning_physim.curves.ONSET`, a column of the table of heads) nor the time origin of a power law
    (:attr:`lightning_physim.emergence.PowerLawFit.onset`).

    Args:
        step: where the measured curve does, interpolated in the logarithm of the step; NaN where it has not, the first
            step where all of it lies above.
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


def ends_of_rise(curve: Curve) -> tuple[float, float]:
    """The :func:`baseline` of a curve, and the mean of its last three values."""
    return baseline(curve[1]), final(curve)


def emergence_threshold(values: np.ndarray, ceiling: float = 1.0) -> float:
    """A tenth of the way from the baseline to ``ceiling``, the highest possible score.

    At a partner score of 0.1, that of uniform attention among our particles, it lies near twice the baseline, and far
    above the noise of a measurement.
    """
    start = baseline(values)
    return start + DEPARTURE * (ceiling - start)


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
        threshold = start + DEPARTURE * (float(np.median(values[-N_BASELINE:])) - start)
    if noise is None:
        risen = approach(steps, values, DEPARTURE)
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
        step=crossing_step((steps, values - threshold), 0.0, if_above=float(steps[0])),
        lo=float(steps[before[-1]]) if len(before) else 0.0,
        hi=float(steps[after[0]]) if len(after) else float("inf"),
        threshold=float(threshold),
    )
