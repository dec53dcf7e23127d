"""Does a curve approach its plateau by a power law, or by the exponential that is its limit?"""

from dataclasses import dataclass

import numpy as np

from lightning_physim.emergence.curve import approach
from lightning_physim.emergence.fit import Fitter, LawFit
from lightning_physim.emergence.growth import MAX_AICC_LOSS, MIN_COMPARED, MIN_SPAN, UNDECIDED
from lightning_physim.errors import InputError

RELAXED = 0.5
"""Share of the rise from which the approach is looked at."""
MIN_AHEAD = 10.0
"""AICc by which the power law must be ahead of the exponential to be called."""
ABOVE_NOISE = 3.0
"""Standard deviations of the noise above which a distance to the plateau counts as seen."""
NEARLY_EXPONENTIAL = 3.0
"""Exponent above which all of the interval must lie where the exponential is called: an order of the potential below
2.33."""


@dataclass(frozen=True)
class Relaxation:
    """Both laws on the same points.

    Args:
        power: ``plateau - A (t - t0)^-exponent`` with a free t0.
        exponential: what that becomes at a high exponent.
    """

    power: LawFit
    exponential: LawFit

    @property
    def ahead(self) -> float:
        """AICc of the exponential less that of the power law."""
        return self.exponential.aicc - self.power.aicc

    @property
    def span(self) -> float:
        """``(t - t0)`` of the last point whose distance to the plateau is above noise, over that of the first point."""
        times = self.power.fitter.steps
        left = self.power.plateau - self.power.predict(times)
        seen = times[left > ABOVE_NOISE * self.power.noise]
        origin = self.power.first_step - self.power.shapes["time"]
        return float((seen[-1] - origin) / (times[0] - origin)) if len(seen) else 1.0

    @property
    def verdict(self) -> str:
        """``"power_law"``, ``"exponential"`` or ``"undecided"``."""
        if self.ahead >= MIN_AHEAD and self.span >= MIN_SPAN:
            return "power_law"
        if self.ahead <= MAX_AICC_LOSS and self.power.interval("exponent")[0] > NEARLY_EXPONENTIAL:
            return "exponential"
        return UNDECIDED


def relaxation(time: np.ndarray, values: np.ndarray, rise: float = RELAXED) -> Relaxation:
    """The approach of a curve to its plateau.

    A power law of the *loss* above its floor with exponent b is that of gradient flow down one coordinate's potential
    ``x^p`` where ``b = p / (p - 2)``, which is above 1. A score that goes as the distance has ``1 / (p - 2)``.

    Args:
        time, values: ``[points]``, ascending times; values that fall are given with their sign turned.
        rise: of :func:`lightning_physim.emergence.approach`.

    Raises:
        InputError: fewer than 15 points after ``rise``, and as there.
    """
    time, values = approach(time, values, rise)
    if len(time) < MIN_COMPARED:
        raise InputError(f"an approach is judged by {MIN_COMPARED} points; there are {len(time)}")
    return Relaxation(Fitter("power_law", time).fit(values), Fitter("exponential", time).fit(values))
