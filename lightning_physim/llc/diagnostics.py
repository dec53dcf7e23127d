"""The rule of belief: which estimates are shown as failed. Everything that it reads is logged."""

import math
from collections.abc import Iterable, Mapping

MAX_RHAT = 1.1
MIN_ESS = 20.0
MAX_STABILITY = 1.0
MAX_NOISE_RATIO = 0.1
MAX_VIRIAL = 0.1
"""Virial over the estimate, from which chains are not where they should be, but for three of its standard errors."""
MAX_KEPT_VIRIAL = 0.03
"""The same for the part of the virial that the estimate holds, which is its bias where the loss is quadratic."""
MAX_VIRIAL_ERROR = 0.25
"""Standard error of the virial over the estimate, from which it tests nothing."""
MAX_FAILED = 0.2
"""Fraction of the estimates of a run that may fail. With few draws every rule fails some by chance."""
MENDED_BY_DRAWS = {"rhat", "rhat_position", "ess", "virial"}
"""What tells that chains have not arrived, or are too short to tell."""
FAR_OFF_RHAT, FAR_OFF_NOISE_RATIO = 2.0, 5 * MAX_NOISE_RATIO
"""Values from which an estimate can be anything."""

LIMITS = {
    "rhat": f"at most {MAX_RHAT:g}",
    "rhat_position": f"at most {MAX_RHAT:g}",
    "ess": f"at least {MIN_ESS:g}",
    "step_stability": f"at most {MAX_STABILITY:g}",
    "noise_ratio": f"at most {MAX_NOISE_RATIO:g}",
    "n_dead": "0",
    "virial": f"within {MAX_VIRIAL:g} of the mean, what is kept of it within {MAX_KEPT_VIRIAL:g}, or 3 errors",
}
"""What :func:`diagnose` asks of each quantity, for titles and tables."""


def diagnose(values: Mapping[str, float]) -> dict[str, str]:
    """Which diagnostics of an estimate fail.

    Args:
        values: quantities of an estimate by name, those of :data:`lightning_physim.keys.LLC`: attributes of a
            :class:`RegionResult`, or a row that was logged. What is missing or NaN has not failed, but for ``mean``.

    Returns:
        ``{quantity: in words}``; empty for an estimate to be believed.
    """

    def value(name: str) -> float:
        return float(values.get(name, math.nan))

    mean, n_dead, stability, rhat, ess = map(value, ("mean", "n_dead", "step_stability", "rhat", "ess"))
    position, noise, virial, virial_mcse = map(value, ("rhat_position", "noise_ratio", "virial", "virial_mcse"))
    kept = value("virial_kept")
    allowed = MAX_KEPT_VIRIAL / kept if kept * MAX_VIRIAL > MAX_KEPT_VIRIAL else MAX_VIRIAL
    rules = {
        "mean": (not math.isfinite(mean), "no chain survived"),
        "n_dead": (n_dead > 0, f"{n_dead:.0f} chain{'' if n_dead == 1 else 's'} diverged"),
        "step_stability": (stability > MAX_STABILITY, f"step size {stability:.2g} times the limit of stability"),
        "rhat": (rhat > MAX_RHAT, f"R-hat {rhat:.2f} above {MAX_RHAT:g}"),
        "rhat_position": (position > MAX_RHAT, f"R-hat of positions {position:.2f} above {MAX_RHAT:g}"),
        "ess": (ess < MIN_ESS, f"effective sample size {ess:.0f} below {MIN_ESS:g}"),
        "noise_ratio": (noise > MAX_NOISE_RATIO, f"gradient noise ratio {noise:.2f} above {MAX_NOISE_RATIO:g}"),
        "virial": (
            abs(virial) > max(3 * virial_mcse, allowed * abs(mean)),
            f"chains hotter than what they sample, by {virial:.2g}: less step, zero_variance, or more localization"
            if virial > 0
            else f"chains have not arrived, they lack {-virial:.2g}: more burn-in and draws, or localization",
        ),
    }
    return {quantity: words for quantity, (failed, words) in rules.items() if failed}


def more_draws_may_mend(failures: Iterable[str]) -> bool:
    """Whether an estimate that fails in these quantities might pass with more draws."""
    failed = set(failures)
    return bool(failed) and failed <= MENDED_BY_DRAWS


def virial_is_tested(values: Mapping[str, float]) -> bool:
    """Whether the virial could have failed; ``values`` as of :func:`diagnose`."""
    mean, virial, error = (float(values.get(name, math.nan)) for name in ("mean", "virial", "virial_mcse"))
    return math.isfinite(virial) and error <= MAX_VIRIAL_ERROR * abs(mean)


def is_far_off(values: Mapping[str, float]) -> bool:
    """Whether diagnostics fail by so much that the estimate can be anything; ``values`` as of :func:`diagnose`."""
    return (
        values.get("n_dead", 0) > 0
        or values.get("step_stability", 0) > MAX_STABILITY
        or values.get("noise_ratio", 0) > FAR_OFF_NOISE_RATIO
        or values.get("rhat", 1) > FAR_OFF_RHAT
    )
