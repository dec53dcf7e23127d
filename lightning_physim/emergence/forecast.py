"""What a curve will be: every law fitted to its beginning, and what they make of the rest."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from lightning_physim.curves import COLLISION_HEAD, N_FINAL
from lightning_physim.emergence.curve import approach, checked
from lightning_physim.emergence.fit import LawFit
from lightning_physim.emergence.growth import aicc_weights, fit_laws, no_growth
from lightning_physim.emergence.onset import baseline
from lightning_physim.emergence.posterior import quantiles
from lightning_physim.errors import InputError

MIN_FORECAST = 12
"""Points from which a forecast is made. It makes no claim about the law, so that it needs less than a comparison."""
MIN_HELD_OUT = 5
TEMPERING = 0.5
"""Power to which AICc weights are raised before laws have their say in a forecast. The weights judge by the points that
are there, and laws that agree on those part ways beyond them. Of the powers tried, the square root widens intervals
least among those that cover curves of every law about as often as they should, see ``docs/growth.md``."""
NEGLIGIBLE = 0.01
"""Tempered weight below which a law has no say in a forecast."""
FALLEN = 200
"""Places that a head may have fallen to, evenly spaced."""


@dataclass(frozen=True)
class Discrepancy:
    """What heads do that no growth law does; ``docs/growth.md`` has the runs that it is calibrated on.

    Args:
        drift: heads creep on in the logarithm of time where the laws level off: standard deviation of what they gain
            per e-fold of the step, in units of the score.
        fall: heads that stay below :data:`lightning_physim.curves.COLLISION_HEAD` times their baseline may lose what
            they have gained, while others take over: rate of that per e-fold of the step.
    """

    drift: float
    fall: float


OF_HEADS = Discrepancy(drift=0.04, fall=0.1)
"""That of partner scores."""
NO_DISCREPANCY = Discrepancy(0.0, 0.0)
"""That of a curve that follows one of the laws."""


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
    early = steps <= fraction * steps[-1]
    held_out = int((~early).sum())
    if held_out < MIN_HELD_OUT:
        return Extrapolation({}, float("nan"), f"it takes {MIN_HELD_OUT} held-out points; there are {held_out}")
    fitted = approach(steps[early], values[early], rise)
    if reason := _too_few(fitted[0]):
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
    """What a measurement at later steps will be, ``[steps]`` each: median, and ends of the interval."""

    value: np.ndarray
    lo: np.ndarray
    hi: np.ndarray


def forecast(
    steps: np.ndarray,
    values: np.ndarray,
    at: np.ndarray | float,
    level: float = 0.95,
    rise: float = 0.1,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    discrepancy: Discrepancy = OF_HEADS,
) -> Forecast:
    """The measurement to expect at later steps, with an interval for parameters, noise, choice of the law and more.

    A mixture of what the laws predict by the square roots of their AICc weights, each with its draws
    (:mod:`lightning_physim.emergence.posterior`) and the noise of a measurement. The ``discrepancy`` is what real heads
    do beyond all laws. The middle is never below the mean of the last three points, as scores rise.

    Args:
        steps, values: ``[points]`` so far, as in :func:`lightning_physim.emergence.compare_growth_laws`.
        at: steps after the last, ``[steps]`` or one.
        level: of the interval.
        rise: of :func:`lightning_physim.emergence.approach`.
        bounds: between which values must lie; ``(0, 1)`` for a partner score.
        discrepancy: of partner scores by default; :data:`NO_DISCREPANCY` for a curve that follows a law.

    Raises:
        InputError: fewer than 12 points after the rise, no growth beyond noise, ``at`` not after the last step, and as
            there.
    """
    start = baseline(checked(steps, values)[1])
    steps, values = approach(steps, values, rise)
    at = np.atleast_1d(np.asarray(at, dtype=float))
    if reason := _too_few(steps):
        raise InputError(f"nothing is forecast: {reason}")
    if not (at > steps[-1]).all():
        raise InputError(f"a forecast is for steps after the last, {steps[-1]:g}; got {at.min():g}")
    fits = fit_laws(steps, values)
    if reason := no_growth(fits):
        raise InputError(f"nothing is forecast: {reason}")
    return forecast_of(fits, start, at, level, bounds, discrepancy)


def forecast_of(
    fits: dict[str, LawFit],
    start: float,
    at: np.ndarray,
    level: float = 0.95,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    discrepancy: Discrepancy = OF_HEADS,
) -> Forecast:
    """The forecast that :func:`forecast` makes, from laws that are already fitted to the same points.

    Args:
        fits: of the laws, by name.
        start: baseline of the curve.
        at, level, bounds, discrepancy: as there.
    """
    tempered = {name: weight**TEMPERING for name, weight in aicc_weights(fits).items()}
    least = NEGLIGIBLE * sum(tempered.values())
    weights = {name: weight for name, weight in tempered.items() if weight > least}
    shares = np.concatenate([weights[name] * fits[name].draws.weights for name in weights])
    shares /= shares.sum()
    noise = np.random.default_rng(0).normal(size=len(shares))
    noise *= np.concatenate([fits[name].draws["noise"] for name in weights])
    points = next(iter(fits.values()))
    reached = float(np.mean(points.values[-N_FINAL:]))
    fall = discrepancy.fall if reached < COLLISION_HEAD * start else 0.0
    fallen = start + (np.arange(FALLEN) + 0.5) / FALLEN * (reached - start)
    middle = np.array([0.5, (1 - level) / 2, (1 + level) / 2])
    found = np.empty((3, len(at)))
    for i, step in enumerate(at):
        e_folds = np.log(step / points.fitter.steps[-1])
        curves = np.concatenate([fits[name].draws.predict(step) for name in weights])
        falls = -np.expm1(-fall * e_folds)
        of_all = np.concatenate([(1 - falls) * shares, np.full(FALLEN, falls / FALLEN)])
        value, lo, hi = quantiles(np.concatenate([curves + noise, fallen]), of_all, middle)
        # Upwards alone, and in quadrature: no head is known to creep down.
        hi = value + np.hypot(hi - value, ndtri((1 + level) / 2) * discrepancy.drift * e_folds)
        found[:, i] = max(value, reached), lo, max(hi, reached)
    return Forecast(*np.clip(found, *bounds))


def _too_few(steps: np.ndarray) -> str:
    return f"it takes {MIN_FORECAST} points after the rise; there are {len(steps)}" if len(steps) < MIN_FORECAST else ""
