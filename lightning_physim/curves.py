"""Curves over training steps: their last and final values, when they cross a level, and what a collision head is.

Everything that judges or shows a head takes its definitions from here.
"""

from collections.abc import Mapping

import numpy as np

from lightning_physim import keys
from lightning_physim.keys import Key

COLLISION_HEAD = 5.0
"""Final enrichment from which a head is a *collision head*."""
ONSET = 3.0
"""Enrichment whose first crossing is the *onset* of a head."""
USED = 0.05
"""Ablation effect from which a head is *used*, as a fraction of the loss on colliding particles."""
N_FINAL = 3
"""Measurements that a final value is the mean of, if so many lie in the second half of all steps."""

Curve = tuple[np.ndarray, np.ndarray]
"""Steps ``[n]``, ascending, and values ``[n]``."""
Metrics = Mapping[str, Curve]
"""``{key: curve}``, as :func:`lightning_physim.tracking.read_metrics` gives them."""
NOTHING: Curve = (np.zeros(0), np.zeros(0))
"""The curve of what was not logged."""


def last(metrics: Metrics, key: str) -> float:
    """The last value of a curve; NaN where there is none."""
    values = metrics.get(key, NOTHING)[1]
    return float(values[-1]) if len(values) else float("nan")


def values_at(curve: Curve, steps: np.ndarray) -> np.ndarray:
    """The values ``[n]`` of a curve at steps ``[n]``, NaN where it has none."""
    known = dict(zip(*curve, strict=True))
    return np.array([known.get(step, np.nan) for step in steps], dtype=float)


def final(curve: Curve, n: int | None = None) -> float:
    """Mean of the last ``n`` values, or of as many as there are; NaN where there is none.

    Args:
        curve: steps and values ``[n]``.
        n: None for :data:`N_FINAL`, and for none from the first half of all steps: where few were measured, as at the
            checkpoints of a run, the mean would be over decades of training.
    """
    steps, values = curve
    if n is None:
        n, values = N_FINAL, values[2 * steps >= steps[-1:]]
    values = values[-n:]
    return float(np.mean(values)) if len(values) else float("nan")


def rise(curve: Curve, n: int | None = None) -> float:
    """:func:`final` less the first value; NaN with fewer than two values."""
    return final(curve, n) - float(curve[1][0]) if len(curve[1]) > 1 else float("nan")


def first_step(curve: Curve, level: float) -> int | None:
    """The first measured step with a value of at least ``level``; None where there is none."""
    steps, values = curve
    reached = steps[values >= level]
    return int(reached[0]) if len(reached) else None


def crossing_step(curve: Curve, level: float, if_above: float = float("nan")) -> float:
    """The step at which a curve passes ``level`` upwards for good, interpolated in the logarithm of the step.

    A value that equals the level has not passed it yet. Step 0 has no logarithm, so that a crossing right after it
    gives NaN.

    Args:
        curve: steps and values ``[n]``.
        level: to be passed.
        if_above: the result where all values lie above the level: the curve has passed it before the first one.

    Returns:
        In steps; NaN where the curve has no points, or its last value does not lie above the level.
    """
    steps, values = curve
    below = np.flatnonzero(values <= level)
    if not len(below):
        return if_above if len(values) else float("nan")
    i = below[-1]
    if i + 1 == len(values) or steps[i] <= 0:
        return float("nan")
    fraction = (level - values[i]) / (values[i + 1] - values[i])
    return float(np.exp((1 - fraction) * np.log(steps[i]) + fraction * np.log(steps[i + 1])))


def head_curves(metrics: Metrics, key: Key) -> dict[str, Curve]:
    """The curves of all heads under a key with the field ``head``, highest last value first."""
    curves = {head: curve for name, curve in metrics.items() if (head := key.match(name)) is not None}
    return dict(sorted(curves.items(), key=lambda item: np.nan_to_num(item[1][1][-1], nan=-np.inf), reverse=True))


def is_collision_head(enrichment: Curve) -> bool:
    """Whether a head puts at least :data:`COLLISION_HEAD` times the uniform attention on near particles at the end."""
    return final(enrichment) >= COLLISION_HEAD


def collision_heads(metrics: Metrics) -> list[str]:
    """The collision heads of a run, in the order of :func:`head_curves`."""
    return [head for head, curve in head_curves(metrics, keys.ENRICHMENT).items() if is_collision_head(curve)]


def first_collision_step(metrics: Metrics) -> float:
    """The first measured step at which one of the :func:`collision_heads` was beyond the threshold; NaN without one."""
    curves = head_curves(metrics, keys.ENRICHMENT)
    steps = [first_step(curves[head], COLLISION_HEAD) for head in collision_heads(metrics)]
    return float(min((step for step in steps if step is not None), default=np.nan))


def ablation_effect(metrics: Metrics, head: str) -> float:
    """Final ablation effect over the final loss on colliding particles; NaN where one was not logged."""
    effect = final(metrics.get(keys.ABLATION.of(head=head), NOTHING))
    return effect / final(metrics.get(keys.VAL_LOSS_COLLIDING, NOTHING))


def is_used(effect: float) -> bool:
    """Whether the network uses a head, by its :func:`ablation_effect`; one that was not measured counts as used."""
    return not effect < USED
