"""Statistics over heads that share networks: ranks within a network, and bootstraps that keep networks together."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import rankdata

N_BOOTSTRAP = 2000


def pooled_rank_correlation(groups: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Spearman's correlation within groups, pooled: both columns become ranks in their group, centred.

    With one group it is Spearman's rank correlation; with several, differences between groups play no part.

    Args:
        groups: ``(x, y)`` of each, ``[..., members]``; leading axes are samples of their own, the same in all groups.

    Returns:
        ``[...]`` in [-1, 1]; NaN where a value is NaN, or a column constant in every group.
    """
    x, y = (
        np.concatenate(
            [rankdata(g[i], axis=-1, nan_policy="propagate") - (g[i].shape[-1] + 1) / 2 for g in groups], axis=-1
        )
        for i in (0, 1)
    )
    norm = np.sqrt((x**2).sum(-1) * (y**2).sum(-1))
    return np.divide((x * y).sum(-1), norm, out=np.full_like(norm, np.nan), where=norm > 0)


def bootstrap_within(
    statistic: Callable[[list[np.ndarray]], np.ndarray], groups: Sequence[np.ndarray], seed: int = 0
) -> np.ndarray:
    """``statistic`` of resamples: every group is kept, its members are drawn anew.

    Args:
        statistic: of a list of groups ``[2000, members, ...]``, ``[2000]``.
        groups: the sample, ``[members, ...]`` each.
    """
    rng = np.random.default_rng(seed)
    return statistic([g[rng.integers(len(g), size=(N_BOOTSTRAP, len(g)))] for g in groups])


def bootstrap_clusters(
    statistic: Callable[[np.ndarray], float], groups: Sequence[np.ndarray], seed: int = 0
) -> np.ndarray:
    """``statistic`` of resamples: groups are drawn anew, and then the members of each.

    Args:
        statistic: of the members of all groups together, ``[members]``.
        groups: the sample, ``[members]`` each.

    Returns:
        ``[2000]``.
    """
    rng = np.random.default_rng(seed)
    n = len(groups)
    draws = (np.concatenate([_redrawn(groups[i], rng) for i in rng.integers(n, size=n)]) for _ in range(N_BOOTSTRAP))
    return np.array([statistic(drawn) for drawn in draws])


Interval = tuple[float, float]
"""Ends of an interval; NaN where there is none."""


def interval(samples: np.ndarray, level: float = 0.95) -> Interval:
    """Percentile interval; NaN where the statistic was not defined in more than a tenth of the resamples."""
    finite = samples[np.isfinite(samples)]
    if len(finite) < 0.9 * len(samples):
        return float("nan"), float("nan")
    tail = 50 * (1 - level)
    lo, hi = np.percentile(finite, [tail, 100 - tail])
    return float(lo), float(hi)


def _redrawn(members: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return members[rng.integers(len(members), size=len(members))]
