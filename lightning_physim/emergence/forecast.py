"""What a curve will be: laws fitted to its beginning, and where a score ends that goes on as scores do."""

from dataclasses import dataclass

import numpy as np

from lightning_physim.curves import COLLISION_HEAD
from lightning_physim.emergence.curve import approach, checked
from lightning_physim.emergence.growth import fit_laws, no_growth
from lightning_physim.emergence.onset import MIN_RISEN, baseline, emerging
from lightning_physim.errors import InputError

MIN_HELD_OUT = 5
TREND_POINTS, TREND_WINDOW = 5, 0.2
"""Points behind a trend: the last five, or those of the last 0.2 decades of steps where these are more."""
FLATTENS = 0.5
"""E-folds of the step after which a trend has lost a factor of e."""
PRESENT = 0.5
"""E-folds that the error of a forecast of the next step stands for."""
RISING = 20.0
"""E-folds that the error stands for beside them, per unit of the score that the trend, flattened, is to add."""
FARTHEST = 12.0
"""Times the last step up to which there are forecasts: ten, where they are calibrated, and room for a measurement."""


@dataclass(frozen=True)
class Creep:
    """How scores go on (``docs/growth.md``: Forecast), in scores per e-fold of the step.

    Args:
        drift: what they gain beside their trend.
        damping: how much of the present trend they follow.
        lo, hi: ends of the 95 % interval, from the middle, per :func:`error_scale`.
    """

    drift: float
    damping: float
    lo: float
    hi: float


WEAK = Creep(drift=-0.077, damping=1.527, lo=-0.122, hi=0.12)
"""Of heads below :data:`lightning_physim.curves.COLLISION_HEAD` times their baseline, which others may displace."""
STRONG = Creep(drift=0.021, damping=0.74, lo=-0.065, hi=0.064)
"""Of all others."""


@dataclass(frozen=True)
class Extrapolation:
    """Growth laws on held-out points.

    Args:
        errors: root mean square error of every law over the held-out points; empty where there was too little to fit.
        persistence: the same of the last fitted value, which a law should beat.
        reason: why nothing was fitted; empty where it was.
    """

    errors: dict[str, float]
    persistence: float
    reason: str

    @property
    def winner(self) -> str | None:
        """The law of the smallest error, None where nothing was fitted."""
        return min(self.errors, key=self.errors.__getitem__) if self.errors else None


def extrapolate(steps: np.ndarray, values: np.ndarray, fraction: float = 1 / 3, rise: float = 0.1) -> Extrapolation:
    """Fit every law up to a fraction of the last step, and predict the rest.

    Nothing of the held-out points is used, not even for the choice of the points that are fitted.

    Args:
        steps, values: ``[points]``, as in :func:`lightning_physim.emergence.compare_growth_laws`.
        fraction: of the last step, in (0, 1).
        rise: of :func:`lightning_physim.emergence.approach`, on the fitted part.

    Raises:
        InputError: ``fraction`` out of range, and as there.
    """
    steps, values = checked(steps, values)
    if not 0 < fraction < 1:
        raise InputError(f"fraction must lie between 0 and 1; got {fraction}")
    early = steps <= fraction * steps.max(initial=0.0)
    held_out = int((~early).sum())
    if held_out < MIN_HELD_OUT:
        return Extrapolation({}, float("nan"), f"it takes {MIN_HELD_OUT} held-out points; there are {held_out}")
    fitted = approach(steps[early], values[early], rise)
    if reason := too_few(fitted[0]):
        return Extrapolation({}, float("nan"), reason)
    later, truth = steps[~early], values[~early]

    def error(predicted: np.ndarray | float) -> float:
        return float(np.sqrt(((predicted - truth) ** 2).mean()))

    fits = fit_laws(*fitted)
    if reason := no_growth(fits):
        return Extrapolation({}, float("nan"), reason)
    errors = {name: error(fit.predict(later)) for name, fit in fits.items()}
    return Extrapolation(errors, error(values[early][-1]), "")


@dataclass(frozen=True)
class Forecast:
    """What a measurement at later steps will be, ``[steps]`` each: middle, and ends of the 95 % interval."""

    value: np.ndarray
    lo: np.ndarray
    hi: np.ndarray


def trend(steps: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Value at the last step, and rise per e-fold of the step, of a line through the last points in ``ln step``."""
    recent = max(TREND_POINTS, int((steps >= 0.999 * steps[-1] / 10**TREND_WINDOW).sum()))
    slope, now = np.polyfit(np.log(steps[-recent:] / steps[-1]), values[-recent:], 1)
    return float(now), float(slope)


def flattened(e_folds: np.ndarray) -> np.ndarray:
    """E-folds that a trend goes on for, once it has flattened: as many at first, 0.5 at the end."""
    return np.asarray(-FLATTENS * np.expm1(-e_folds / FLATTENS))


def error_scale(e_folds: np.ndarray, slope: np.ndarray | float) -> np.ndarray:
    """How the error of a forecast grows with the e-folds ahead, and with the rise that a trend still promises."""
    return np.sqrt(e_folds**2 + PRESENT**2 + (RISING * slope * flattened(e_folds)) ** 2)


def is_strong(now: float, start: float) -> bool:
    """Whether a score is one that others do not displace any more, by its present value and its baseline."""
    return now >= COLLISION_HEAD * start


def forecast(steps: np.ndarray, values: np.ndarray, at: np.ndarray | float, ceiling: float = 1.0) -> Forecast:
    """The score of a head to expect at later steps, with a 95 % interval.

    A damped trend (Gardner and McKenzie 1985, doi:10.1287/mnsc.31.10.1237) in the logarithm of the step: the score goes
    on from a line through its last points, ever less. Its four numbers, for heads that others may still displace and
    for all others, are those of heads that were seen to the end; the interval is as wide as their errors were, as in
    split conformal prediction. It is none of the growth laws: these level off where heads creep on, and their mixture
    covered two thirds to three quarters where it said 95 %.

    Args:
        steps, values: ``[points]`` of the score so far, as :func:`lightning_physim.emergence.compare_growth_laws` takes
            them.
        at: steps after the last, ``[steps]`` or one, at most twelve times that.
        ceiling: highest possible score; 0 is the lowest.

    Raises:
        InputError: the score has not left its baseline for good, ``at`` not after the last step or too far from it, and
            as there.
    """
    steps, values = checked(steps, values)
    at = np.atleast_1d(np.asarray(at, dtype=float))
    if not emerging(values, ceiling):
        raise InputError("nothing is forecast: the score has not left its baseline for good")
    if not (at > steps[-1]).all():
        raise InputError(f"a forecast is for steps after the last, {steps[-1]:g}; got {at.min():g}")
    if at.max() > FARTHEST * steps[-1]:
        raise InputError(f"a forecast reaches to {FARTHEST:g} times the last step, {steps[-1]:g}; got {at.max():g}")
    now, slope = trend(steps, values / ceiling)
    strong = is_strong(now, baseline(values) / ceiling)
    creep = STRONG if strong else WEAK
    e_folds = np.log(at / steps[-1])
    middle = now + (creep.drift + creep.damping * slope) * flattened(e_folds)
    error = error_scale(e_folds, slope)
    # Scores of collision heads are not seen to fall.
    value = np.maximum(middle, now) if strong else middle
    lo, hi = middle + creep.lo * error, np.maximum(middle + creep.hi * error, value)
    return Forecast(*(ceiling * np.clip(x, 0.0, 1.0) for x in (value, lo, hi)))


def too_few(steps: np.ndarray) -> str:
    """Why laws are not fitted to these points; empty where they are."""
    return f"it takes {MIN_RISEN} points after the rise; there are {len(steps)}" if len(steps) < MIN_RISEN else ""
