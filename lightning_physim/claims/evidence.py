"""What a run logged about its heads, gathered for the claims."""

from dataclasses import dataclass, field

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
)

CONTROLS = {"weight_norm": keys.LLC_WEIGHT_NORM, "grad_norm": keys.LLC_GRAD_NORM}
"""Simpler quantities of a head's weights, that an LLC has to tell more than."""


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
        controls: ``weight_norm`` and ``grad_norm`` of the head's weights.
    """

    name: str
    score: Curve
    enrichment: Curve
    effect: float
    llc: Curve
    n_estimates: int
    controls: dict[str, Curve] = field(default_factory=dict)

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
    mean_steps, mean = metrics.get(keys.LLC_MEAN.of(region=name), NOTHING)
    flags = dict(zip(*metrics.get(keys.LLC_CONVERGED.of(region=name), NOTHING), strict=True))
    passed = np.array([bool(flags.get(step, 1.0)) for step in mean_steps], dtype=bool) & np.isfinite(mean)
    return Head(
        name=name,
        score=metrics.get(keys.PARTNER_SCORE.of(head=name), NOTHING),
        enrichment=metrics[keys.ENRICHMENT.of(head=name)],
        effect=ablation_effect(metrics, name),
        llc=(mean_steps[passed], mean[passed]),
        n_estimates=len(mean),
        controls={control: metrics.get(key.of(region=name), NOTHING) for control, key in CONTROLS.items()},
    )
