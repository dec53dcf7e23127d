"""How the heads of a run have grown: the law, where one can be called, and its line."""

from dataclasses import dataclass

import numpy as np

from lightning_physim.claims import COLLISION_HEAD, POWER_LAWS
from lightning_physim.emergence import compare_growth_laws, fit_power_law
from lightning_physim.errors import InputError
from lightning_physim.report.curve_figures import Metrics, head_curves


@dataclass(frozen=True)
class HeadGrowth:
    """The growth of one head.

    Attributes:
        verdict: of :func:`compare_growth_laws` on its enrichment.
        reason: of the verdict.
        exponent: of the power-law fit, where the verdict is one.
        line: ``(steps, values)`` of that fit.
    """

    verdict: str
    reason: str
    exponent: float | None = None
    line: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def text(self) -> str:
        words = self.verdict.replace("_", " ")
        return words if self.exponent is None else f"{words}, α {self.exponent:.2g}"


def head_growth(metrics: Metrics) -> dict[str, HeadGrowth]:
    """The growth of every head whose last enrichment is at least :data:`COLLISION_HEAD`; a fifth of a second each."""
    found = {}
    for head, (steps, values) in head_curves(metrics, "probe/enrichment").items():
        finite = np.isfinite(values)
        steps, values = steps[finite], values[finite]
        if len(values) and values[-1] >= COLLISION_HEAD:
            found[head] = _growth(steps, values)
    return found


def _growth(steps: np.ndarray, values: np.ndarray) -> HeadGrowth:
    compared = compare_growth_laws(steps, values)
    if compared.verdict not in POWER_LAWS:
        return HeadGrowth(compared.verdict, compared.reason)
    try:
        fit = fit_power_law(steps, values)
    except InputError:  # the approach alone is too short
        return HeadGrowth(compared.verdict, compared.reason)
    at = np.geomspace(fit.steps[0], fit.steps[-1], 100)
    return HeadGrowth(compared.verdict, compared.reason, fit.exponent, (at, fit.predict(at)))
