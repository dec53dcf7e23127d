"""How a head of a run has grown: the law of its partner score, and the power law of its approach."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lightning_physim import keys
from lightning_physim.curves import NOTHING, Curve, Metrics, collision_heads
from lightning_physim.emergence.forecast import Extrapolation, extrapolate
from lightning_physim.emergence.growth import (
    UNDECIDED,
    GrowthComparison,
    PowerLawFit,
    compare_growth_laws,
    fit_power_law,
)
from lightning_physim.emergence.laws import is_power_law, label
from lightning_physim.errors import InputError


@dataclass(frozen=True, eq=False)
class Growth:
    """The growth of one curve.

    Args:
        run: name of the run.
        name: of the curve: ``"L{l}H{h}"``, or ``"loss"`` for the loss on colliding particles.
        curve: what was fitted.
    """

    run: str
    name: str
    curve: Curve

    @cached_property
    def comparison(self) -> GrowthComparison:
        """The laws on all of the curve."""
        return compare_growth_laws(*self.curve)

    @cached_property
    def extrapolation(self) -> Extrapolation:
        """The laws on its first third, and what they make of the rest."""
        return extrapolate(*self.curve)

    @cached_property
    def fit(self) -> PowerLawFit | None:
        """A power law of its approach; None where that is too short."""
        try:
            return fit_power_law(*self.curve)
        except InputError:
            return None

    @property
    def verdict(self) -> str:
        return self.comparison.verdict

    @property
    def is_decided(self) -> bool:
        """Whether the comparison names a law."""
        return self.verdict != UNDECIDED

    @property
    def is_power_law(self) -> bool:
        """Whether the law that it names approaches its plateau by a power law."""
        return is_power_law(self.verdict)

    @property
    def text(self) -> str:
        """The verdict in words, with the exponent of a power law."""
        words = label(self.verdict)
        return f"{words}, α {self.fit.exponent:.2g}" if self.is_power_law and self.fit is not None else words

    def line(self, n: int = 100) -> Curve | None:
        """The fitted power law at ``n`` steps; None unless a power law is the verdict."""
        if not self.is_power_law or self.fit is None:
            return None
        at = np.geomspace(self.fit.steps[0], self.fit.steps[-1], n)
        return at, self.fit.predict(at)


def growth_of_head(metrics: Metrics, head: str, run: str = "") -> Growth:
    """The growth of a head's partner score. Enrichment is the same but for a factor, and has the same law."""
    steps, values = metrics.get(keys.PARTNER_SCORE.of(head=head), NOTHING)
    finite = np.isfinite(values)
    return Growth(run, head, (steps[finite], values[finite]))


def growth_of_collision_heads(metrics: Metrics, run: str = "") -> dict[str, Growth]:
    """The growth of every collision head, by name; fitted when it is looked at, a fifth of a second each."""
    return {head: growth_of_head(metrics, head, run) for head in collision_heads(metrics)}


def growth_of_loss(metrics: Metrics, run: str = "") -> Growth | None:
    """The growth of the loss on colliding particles, turned about so that it rises; None where it was not logged."""
    steps, values = metrics.get(keys.VAL_LOSS_COLLIDING, NOTHING)
    return Growth(run, "loss", (steps, -values)) if len(steps) else None
