"""Statistics over heads that share networks: ranks, permutations and bootstraps within a network, t over networks."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import rankdata, ttest_1samp

N_BOOTSTRAP = 2000
N_PERMUTATIONS = 20_000
MIN_FOR_T = 5
"""Values without which Student's t decides nothing here."""
SIGNIFICANCE = 0.05
"""Of the questions of a claim together, by Holm's rule."""
LEAST_P = 1e-4
"""The smallest p that is told."""
Interval = tuple[float, float]
"""Ends of an interval; NaN where there is none."""
NO_INTERVAL: Interval = (math.nan, math.nan)


@dataclass(frozen=True)
class Answer:
    """To one question.

    Args:
        n: values that it was asked of, one for each seed.
        effect: their mean; NaN without one.
        interval: of 95 %, by Student's t.
        p: probability of such an effect or a larger one by chance; NaN where there is too little to ask of.
    """

    n: int
    effect: float
    interval: Interval
    p: float


def t_answer(values: Sequence[float], against: float = 0.0, alternative: str = "two-sided") -> Answer:
    """Whether the mean of some values, NaN left out, differs from a number, by Student's t.

    Args:
        values: one for each seed.
        against: the number.
        alternative: ``"two-sided"``, ``"less"`` or ``"greater"``, as of scipy.
    """
    known = np.array([value for value in values if math.isfinite(value)])
    effect = float(known.mean()) if len(known) else math.nan
    if len(known) < MIN_FOR_T:
        return Answer(len(known), effect, NO_INTERVAL, math.nan)
    low, high = ttest_1samp(known, against).confidence_interval(0.95)
    p = ttest_1samp(known, against, alternative=alternative).pvalue
    return Answer(len(known), effect, (float(low), float(high)), float(p))


def limit_answer(values: Sequence[float], limit: float) -> tuple[Answer, bool]:
    """On which side of a limit the mean of some values lies, by Student's t; NaN are left out.

    Both sides are asked, so that the smaller p is doubled.

    Args:
        values: one for each seed.
        limit: in units of the values.

    Returns:
        The answer, and whether the smaller p is that of the upper side.
    """
    above, below = (t_answer(values, limit, side).p for side in ("greater", "less"))
    return replace(t_answer(values, limit), p=float(np.minimum(1.0, 2 * min(above, below)))), above < below


def permutation_answer(pairs: Sequence[np.ndarray], seed: int = 0) -> Answer:
    """Whether the two columns of a table lie nearer to each other within rows than rows exchanged do.

    The effect of a table is its mean distance over all pairs of rows, each with itself included, which is the mean
    over permutations, less the mean distance within rows. p is by random permutations of the rows of each table.

    Args:
        pairs: ``[members, 2]`` of each seed; those of one member say nothing and are left out.
        seed: of the permutations.
    """
    tables = [table for table in pairs if len(table) > 1]
    distances = [np.abs(table[:, :1] - table[:, 1]) for table in tables]
    effects = [float(each.mean() - each.diagonal().mean()) for each in distances]
    by_t = t_answer(effects)
    if not tables:
        return by_t
    rng = np.random.default_rng(seed)
    own = np.mean([each.diagonal().mean() for each in distances])
    exchanged = np.mean([_exchanged(each, rng) for each in distances], axis=0)
    # A tie counts against the effect, rounding included.
    p = (1 + int((exchanged <= own + 1e-12).sum())) / (1 + N_PERMUTATIONS)
    return Answer(by_t.n, by_t.effect, by_t.interval, p)


def p_text(p: float) -> str:
    """A p value in words; a very small one as less than a ten-thousandth."""
    return f"p < {LEAST_P:.4f}" if p < LEAST_P else f"p {p:.2g}"


def mean_of_known(values: Iterable[float]) -> float:
    """The mean without what is not finite; NaN where nothing is."""
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p of each of several questions that are asked together (Holm 1979); 1 for one without p.

    The smallest is multiplied by their number, the next by one less, and none falls below the one before it.
    """
    known = {name: p if math.isfinite(p) else 1.0 for name, p in p_values.items()}
    adjusted, highest = {}, 0.0
    for i, name in enumerate(sorted(known, key=known.__getitem__)):
        highest = max(highest, min(1.0, (len(known) - i) * known[name]))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p_values}


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


def partial_rank_correlation(groups: Sequence[np.ndarray]) -> np.ndarray:
    """Correlation of the ranks of two columns within groups, given those of a third, pooled.

    Args:
        groups: ``[..., members, 3]`` of each, the third column last.

    Returns:
        ``[...]``; NaN where a column is constant, or the third decides one of the others.
    """

    def pair(i: int, j: int) -> np.ndarray:
        return pooled_rank_correlation([(group[..., i], group[..., j]) for group in groups])

    xy, xz, yz = pair(0, 1), pair(0, 2), pair(1, 2)
    left = np.sqrt(np.clip((1 - xz**2) * (1 - yz**2), 0, None))
    return np.divide(xy - xz * yz, left, out=np.full_like(left, np.nan), where=left > 1e-9)


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


def _exchanged(distances: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mean distance ``[permutations]`` of rows to others at random, of ``[rows, rows]``."""
    n = len(distances)
    order = np.argsort(rng.random((N_PERMUTATIONS, n)), axis=1)
    return np.asarray(distances[np.arange(n), order].mean(1))
