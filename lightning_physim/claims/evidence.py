"""What a run logged about its heads, gathered for the claims."""

from dataclasses import dataclass

import numpy as np

from lightning_physim import keys
from lightning_physim.curves import (
    NOTHING,
    Curve,
    Metrics,
    ablation_effect,
    crossing_step,
    head_curves,
    is_collision_head,
    is_used,
    rise,
    values_at,
)

RANK_C = "c0p1"
"""Curvature, of :data:`lightning_physim.keys.CURVATURES`, above which directions count for the rank."""
MAX_ORDER_C = 1.0
"""Curvature c = localization / n_beta up to which an order is believed: at c = 10 five hundred quartic directions
beside a learning coefficient of 1 change it by 0.03."""


@dataclass(frozen=True)
class Head:
    """One head of one run. Curves are ``(steps, values)``, of no points where nothing was logged.

    Args:
        name: ``"L{l}H{h}"``.
        score: partner score.
        enrichment: partner score over that of uniform attention.
        effect: of :func:`lightning_physim.curves.ablation_effect`.
        llc: learning coefficients that passed their diagnostics.
        n_estimates: of the learning coefficient, failed ones included.
        order: of the potential, where the learning coefficient passed, is above three of its standard errors, and was
            sampled at :data:`MAX_ORDER_C` or below.
        d_eff: directions that count at :data:`RANK_C`.
        weight_norm: of the head's weights.
    """

    name: str
    score: Curve
    enrichment: Curve
    effect: float
    llc: Curve
    n_estimates: int
    order: Curve = NOTHING
    d_eff: Curve = NOTHING
    weight_norm: Curve = NOTHING

    @property
    def uniform(self) -> float:
        """Partner score of uniform attention, which is what the enrichment is over."""
        return float(self.score[1][-1] / self.enrichment[1][-1])

    @property
    def is_collision_head(self) -> bool:
        """By :func:`lightning_physim.curves.is_collision_head`."""
        return is_collision_head(self.enrichment)

    @property
    def is_used_collision_head(self) -> bool:
        """A collision head that the network uses: what the claims are about."""
        return self.is_collision_head and is_used(self.effect)


def heads_of(metrics: Metrics) -> list[Head]:
    """The heads of a run whose scores were logged, in the order of layers and heads."""
    return [_head(metrics, name) for name in sorted(head_curves(metrics, keys.ENRICHMENT), key=keys.head_place)]


def half_rise_step(curve: Curve, n: int) -> float:
    """The step at which a curve passes half of its :func:`rise` for good; NaN where it does not rise.

    See :func:`lightning_physim.curves.crossing_step`.
    """
    if not rise(curve, n) > 0:
        return float("nan")
    return crossing_step(curve, float(curve[1][0]) + rise(curve, n) / 2)


def _head(metrics: Metrics, name: str) -> Head:
    steps, mean = metrics.get(keys.LLC_MEAN.of(region=name), NOTHING)
    names = keys.LLC_CONVERGED, keys.LLC_LOCALIZATION, keys.LLC_N_BETA, keys.LLC_ORDER, keys.LLC_ORDER_LO
    converged, localization, n_beta, order, low = (
        values_at(metrics.get(key.of(region=name), NOTHING), steps) for key in names
    )
    passed = (converged != 0) & np.isfinite(mean)  # where no flag was logged, every finite one counts
    told = passed & (localization <= MAX_ORDER_C * n_beta) & np.isfinite(order) & np.isfinite(low)
    return Head(
        name=name,
        score=metrics.get(keys.PARTNER_SCORE.of(head=name), NOTHING),
        enrichment=metrics[keys.ENRICHMENT.of(head=name)],
        effect=ablation_effect(metrics, name),
        llc=(steps[passed], mean[passed]),
        n_estimates=len(mean),
        order=(steps[told], order[told]),
        d_eff=metrics.get(keys.GEOMETRY[f"d_eff/{RANK_C}"].of(region=name), NOTHING),
        weight_norm=metrics.get(keys.LLC_WEIGHT_NORM.of(region=name), NOTHING),
    )
