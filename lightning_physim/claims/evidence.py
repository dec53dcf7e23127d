"""What a run logged about its heads, gathered for the claims."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

COLLISION_HEAD = 5.0
"""Enrichment from which a head counts as one that detects collisions."""
ONSET = 3.0
"""Enrichment whose first crossing dates the emergence of a head."""
MIN_EFFECT = 0.05
"""Ablation effect from which a head is used, in units of the loss on colliding particles."""

Curve = tuple[np.ndarray, np.ndarray]
Metrics = Mapping[str, Curve]
"""``{key: (steps, values)}``, as :func:`lightning_physim.tracking.read_metrics` gives them."""

NOTHING: Curve = (np.zeros(0), np.zeros(0))


@dataclass(frozen=True)
class Head:
    """One head of one run. Curves are ``(steps, values)``, of no points where nothing was logged.

    Args:
        name: ``"L{l}H{h}"``.
        score: partner score.
        enrichment: partner score over that of uniform attention.
        effect: final ablation effect over the final loss on colliding particles; NaN where not logged.
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
        """Attends to near particles, and is used (where that was measured)."""
        return final(self.enrichment) >= COLLISION_HEAD and not self.effect < MIN_EFFECT


def heads_of(metrics: Metrics) -> list[Head]:
    """The heads of a run whose scores were logged, in the order of layers and heads."""
    names = [match[1] for key in metrics if (match := re.fullmatch(r"probe/enrichment/(L\d+H\d+)", key))]
    return [_head(metrics, name) for name in sorted(names, key=_place)]


def final(curve: Curve, n: int = 3) -> float:
    """Mean of the last ``n`` values; NaN where there is none."""
    values = curve[1][-n:]
    return float(np.mean(values)) if len(values) else float("nan")


def rise(curve: Curve, n: int) -> float:
    """:func:`final` less the first value; NaN with fewer than two."""
    return final(curve, n) - float(curve[1][0]) if len(curve[1]) > 1 else float("nan")


def half_rise_step(curve: Curve, n: int) -> float:
    """The step at which a curve passes half of its :func:`rise` for good, interpolated in the logarithm of the step.

    NaN where it does not rise, or has risen that far at its first point.
    """
    steps, values = curve
    if not rise(curve, n) > 0:
        return float("nan")
    middle = float(values[0]) + rise(curve, n) / 2
    below = np.flatnonzero(values < middle)
    last = int(below[-1]) if len(below) else -1
    if last < 0 or last + 1 == len(values) or steps[last] <= 0:
        return float("nan")
    share = (middle - values[last]) / (values[last + 1] - values[last])
    return float(steps[last] * (steps[last + 1] / steps[last]) ** share)


def _head(metrics: Metrics, name: str) -> Head:
    mean_steps, mean = metrics.get(f"llc/{name}/mean", NOTHING)
    flags = dict(zip(*metrics.get(f"llc/{name}/converged", NOTHING), strict=True))
    passed = np.array([bool(flags.get(step, 1.0)) for step in mean_steps], dtype=bool) & np.isfinite(mean)
    return Head(
        name=name,
        score=metrics.get(f"probe/partner_score/{name}", NOTHING),
        enrichment=metrics[f"probe/enrichment/{name}"],
        effect=final(metrics.get(f"probe/ablation/{name}", NOTHING))
        / final(metrics.get("val/loss_colliding", NOTHING)),
        llc=(mean_steps[passed], mean[passed]),
        n_estimates=len(mean),
        controls={key: metrics.get(f"llc/{name}/{key}", NOTHING) for key in ("weight_norm", "grad_norm")},
    )


def _place(name: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", name)))
