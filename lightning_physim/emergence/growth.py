"""Which law a score's approach to its plateau follows, and how sure that is."""

from dataclasses import dataclass

import numpy as np

from lightning_physim.emergence.curve import approach
from lightning_physim.emergence.fit import Fitter, LawFit, constant_aicc
from lightning_physim.emergence.laws import LAWS, family, label
from lightning_physim.errors import InputError

MIN_COMPARED = 15
"""Points from which laws are compared."""
MIN_SPAN = 10.0
"""Last step over first step from which laws are compared: a decade."""
MIN_WEIGHT = 0.95
"""AICc weight from which one law is called the best, its special case or generalisation counted with it."""
MAX_AICC_LOSS = 2.0
"""The simpler law is called where its AICc lies at most this much above that of its generalisation."""
MIN_GAIN = 10.0
"""Something is said to grow where the best law's AICc lies at least this much below that of a constant."""
UNDECIDED = "undecided"


@dataclass(frozen=True)
class GrowthComparison:
    """Growth laws on the same points.

    Args:
        weights: AICc weight of every law, by name (Burnham and Anderson 2002, section 2.9); they add up to 1.
        fits: the fit of every law; empty where there was too little to fit.
        verdict: the law, or ``"undecided"``.
        reason: of the verdict, in a sentence.
    """

    weights: dict[str, float]
    fits: dict[str, LawFit]
    verdict: str
    reason: str

    @property
    def best(self) -> str | None:
        """The law of highest weight, whether or not it is far enough ahead; None where nothing was fitted."""
        return max(self.weights, key=self.weights.__getitem__) if self.weights else None


def compare_growth_laws(steps: np.ndarray, values: np.ndarray, rise: float = 0.1) -> GrowthComparison:
    """Compare power law, exponential, stretched exponential, logistic and broken power law on the same points.

    The points are those of :func:`approach`. Noise is taken as correlated from one point to the next, differently for
    every law. No law is called on fewer than 15 points or less than a decade of steps, nor where none beats a constant
    by 10 in AICc, nor below a weight of 0.95. The exponential is a stretched one and the power law a broken one that
    does not break: weights of the two are added, and the simpler is called unless the other has 0.95 of them. A law
    whose fit ends at the edge of its range has become another one (a power law of high exponent is an exponential), and
    is not called either.

    Args:
        steps: ``[points]``, positive and ascending, better log-spaced. A step 0 is left out.
        values: ``[points]``.
        rise: of :func:`approach`. A tenth keeps the growth, without which a logistic curve cannot be told from others.

    Raises:
        InputError: arrays of different lengths, steps that do not ascend, or values that are not finite.
    """
    steps, values = approach(steps, values, rise)
    if reason := _too_little(steps):
        return GrowthComparison({}, {}, UNDECIDED, reason)
    return compare_fits(fit_laws(steps, values))


def fit_laws(steps: np.ndarray, values: np.ndarray) -> dict[str, LawFit]:
    """Every law on the same points, by name."""
    return {name: Fitter(name, steps).fit(values) for name in LAWS}


def compare_fits(fits: dict[str, LawFit]) -> GrowthComparison:
    """The comparison that :func:`compare_growth_laws` makes, of laws that are already fitted to the same points."""
    if reason := _too_little(best_fit(fits).fitter.steps):
        return GrowthComparison({}, fits, UNDECIDED, reason)
    weights = aicc_weights(fits)
    if reason := no_growth(fits):
        return GrowthComparison(weights, fits, UNDECIDED, reason)
    return GrowthComparison(weights, fits, *_verdict(fits, weights))


def aicc_weights(fits: dict[str, LawFit]) -> dict[str, float]:
    """Weights of laws on the same points by their AICc."""
    criteria = np.array([fit.aicc for fit in fits.values()])
    relative = np.exp(-0.5 * (criteria - criteria.min()))
    return dict(zip(fits, map(float, relative / relative.sum()), strict=True))


def no_growth(fits: dict[str, LawFit]) -> str:
    """Why nothing can be said to grow; empty where the best law beats a constant."""
    best = best_fit(fits)
    gain = constant_aicc(best.values) - best.aicc
    if gain >= MIN_GAIN:
        return ""
    return f"no law beats a constant by {MIN_GAIN:g} in AICc: the best does by {gain:.1f}"


def best_fit(fits: dict[str, LawFit]) -> LawFit:
    """The law of lowest AICc."""
    return min(fits.values(), key=lambda fit: fit.aicc)


def _verdict(fits: dict[str, LawFit], weights: dict[str, float]) -> tuple[str, str]:
    best = max(weights, key=weights.__getitem__)
    simple = family(best)
    relatives = [name for name in weights if family(name) == simple]
    weight = sum(weights[name] for name in relatives)
    if weight < MIN_WEIGHT:
        rival = max(set(weights) - set(relatives), key=weights.__getitem__)
        return UNDECIDED, f"{label(best)} (weight {weight:.2f}) is not clearly ahead of {label(rival)}"
    if best != simple:
        lead = fits[simple].aicc - fits[best].aicc
        if lead <= MAX_AICC_LOSS:
            best = simple
        elif weights[best] < MIN_WEIGHT * weight:
            return UNDECIDED, f"{label(best)} is ahead of {label(simple)} by {lead:.1f} in AICc only"
    if set(fits[best].at_edge) - LAWS[best].free_edges:
        return UNDECIDED, f"the {label(best)} fits best at the edge of its range of {', '.join(fits[best].at_edge)}"
    together = ", with the law it belongs to" if len(relatives) > 1 else ""
    return best, f"the {label(best)} has AICc weight {weight:.3f}{together}"


@dataclass(frozen=True)
class PowerLawFit:
    """``plateau - A (step - onset) ** -exponent``.

    Args:
        fit: the law on its points.
        steps, values: the points, ``[points]``.
    """

    fit: LawFit
    steps: np.ndarray
    values: np.ndarray

    @property
    def exponent(self) -> float:
        return self.fit.shapes["exponent"]

    @property
    def plateau(self) -> float:
        return self.fit.plateau

    @property
    def onset(self) -> float:
        """The step t0 from which the law counts, where it diverges; before ``steps[0]``, and not always positive."""
        return self.fit.first_step - self.fit.shapes["time"]

    @property
    def order(self) -> float:
        """Order p = 2 + 1 / exponent of an effective potential ``x ** p`` down which gradient flow runs so."""
        return 2.0 + 1.0 / self.exponent

    @property
    def order_llc(self) -> float:
        """Learning coefficient 1 / p of that potential in its one direction (Watanabe 2009, section 7.1)."""
        return 1.0 / self.order

    @property
    def exponent_lo(self) -> float:
        """Lower end of the 95 % interval of the exponent."""
        return self.interval("exponent")[0]

    @property
    def exponent_hi(self) -> float:
        """Upper end of the 95 % interval of the exponent."""
        return self.interval("exponent")[1]

    def predict(self, steps: np.ndarray) -> np.ndarray:
        """The law at ``steps``; NaN before its first point."""
        return self.fit.predict(steps)

    def interval(self, name: str, level: float = 0.95) -> tuple[float, float]:
        """Interval of ``"onset"``, ``"order"``, ``"order_llc"``, or what :meth:`LawFit.interval` has one of."""
        draws = self.fit.draws
        if name == "onset":
            return draws.interval(self.steps[0] - draws["time"], level)
        if name in ("order", "order_llc"):
            order = 2.0 + 1.0 / draws["exponent"]
            return draws.interval(order if name == "order" else 1.0 / order, level)
        return self.fit.interval(name, level)


def fit_power_law(steps: np.ndarray, values: np.ndarray, rise: float = 0.5) -> PowerLawFit:
    """Fit ``plateau - A (step - onset) ** -exponent`` to a curve after it has passed ``rise`` of its way.

    Whether it *is* a power law is for :func:`compare_growth_laws` to say.

    Args:
        steps, values: as there.
        rise: of :func:`approach`. A half leaves out the growth, which this law does not describe.

    Raises:
        InputError: fewer than 15 points, or less than a decade of steps; and as there.
    """
    steps, values = approach(steps, values, rise)
    if reason := _too_little(steps):
        raise InputError(f"a power law is not fitted: {reason}")
    return PowerLawFit(Fitter("power_law", steps).fit(values), steps, values)


def _too_little(steps: np.ndarray) -> str:
    if len(steps) < MIN_COMPARED:
        return f"it takes {MIN_COMPARED} points after the rise; there are {len(steps)}"
    if steps[-1] < MIN_SPAN * steps[0]:
        return f"it takes a decade of steps after the rise; got {steps[0]:g} to {steps[-1]:g}"
    return ""
