"""Claim (b): emergence goes with a change of the loss landscape's geometry, beyond what simpler quantities show."""

from collections.abc import Callable

import numpy as np
from scipy.stats import spearmanr

from lightning_physim.claims.evidence import Head, half_rise_step, rise
from lightning_physim.claims.heads import MIN_SEEDS, NOT_SUPPORTED, SUPPORTED, UNDECIDED, Claim, Numbers, Study
from lightning_physim.claims.statistics import (
    bootstrap_clusters,
    bootstrap_within,
    interval,
    pooled_rank_correlation,
)

MIN_HEADS = 12
MIN_CORRELATION, WEAK_CORRELATION = 0.3, 0.5
MAX_LAG = 0.5
"""Decades of steps."""
MAX_FAILED = 0.2
"""Share of the estimates of heads that fail their diagnostics."""
N_LLC, N_SCORE = 2, 3
"""Measurements that a final value is the mean of."""
SCORE, LLC, WEIGHT, GRADIENT, EFFECT = range(5)
"""Columns of :func:`rises`."""
CONTROLS = {"weight norm": WEIGHT, "gradient norm": GRADIENT}


def rises(head: Head) -> np.ndarray:
    """Rises ``[5]`` of score, LLC, weight norm and gradient norm, and the ablation effect; NaN where not measured."""
    return np.array(
        [
            rise(head.score, N_SCORE),
            rise(head.llc, N_LLC),
            rise(head.controls["weight_norm"], N_LLC),
            rise(head.controls["grad_norm"], N_LLC),
            head.effect,
        ]
    )


def lag(head: Head) -> float:
    """Decades by which the LLC passes half of its rise after the score does; NaN where one of them does not."""
    return float(np.log10(half_rise_step(head.llc, N_LLC) / half_rise_step(head.score, N_SCORE)))


def correlation_in_time(head: Head) -> float:
    """Spearman's correlation of LLC and score over the steps at which both are known."""
    steps, llc = head.llc
    at = dict(zip(*head.score, strict=True))
    both = [(at[step], value) for step, value in zip(steps, llc, strict=True) if step in at]
    return float(spearmanr(*zip(*both, strict=True)).statistic) if len(both) > 2 else float("nan")


def llc_rises_with_score(study: Study) -> Claim:
    """Claim (b): a head's learning coefficient and its score rise together."""
    seeds = study.heads()
    every = [head for row in seeds.values() for head in row]
    estimates, passed = sum(head.n_estimates for head in every), sum(len(head.llc[1]) for head in every)
    failed = 1 - passed / estimates if estimates else float("nan")
    tables = [np.array([rises(head) for head in row]).reshape(-1, 5) for row in seeds.values()]
    tables = [kept for table in tables if len(kept := table[np.isfinite(table[:, [SCORE, LLC]]).all(1)]) > 2]
    numbers: Numbers = {
        "seeds": float(len(tables)),
        "heads": float(sum(map(len, tables))),
        "share of estimates that fail": failed,
    }

    def claim(verdict: str, *reasons: str) -> Claim:
        return Claim("A head’s learning coefficient and its score rise together", verdict, "; ".join(reasons), numbers)

    if len(tables) < MIN_SEEDS or sum(map(len, tables)) < MIN_HEADS:
        needed = f"it takes {MIN_SEEDS} seeds and {MIN_HEADS} heads with two estimates that pass"
        return claim(UNDECIDED, f"{needed}; there are {len(tables)} and {sum(map(len, tables))}")

    value = float(_correlation(LLC)(tables))
    low, high = interval(bootstrap_within(_correlation(LLC), tables))
    leads = {name: interval(bootstrap_within(_lead(column), tables)) for name, column in CONTROLS.items()}
    rivals = {name: float(_correlation(column)(tables)) for name, column in CONTROLS.items()}
    lags = [np.array([lag(head) for head in row if head.is_collision_head]) for row in seeds.values()]
    lags = [row for row in (row[np.isfinite(row)] for row in lags) if len(row)]
    middle = float(np.median(np.concatenate(lags))) if lags else float("nan")
    early, late = (
        interval(bootstrap_clusters(lambda sample: float(np.median(sample)), lags))
        if len(lags) >= MIN_SEEDS
        else (float("nan"),) * 2
    )
    numbers |= {"correlation": value, "correlation, low": low, "correlation, high": high}
    numbers |= {f"correlation of the {name}": rival for name, rival in rivals.items()}
    for name, ends in leads.items():
        numbers |= {f"lead over the {name}, {end}": x for end, x in zip(("low", "high"), ends, strict=True)}
    numbers |= {
        "correlation with the ablation effect": float(_correlation(LLC, EFFECT)(tables)),
        "median lag, decades": middle,
        "lag, low": early,
        "lag, high": late,
        "median correlation in time": _nanmedian(
            [correlation_in_time(head) for head in every if head.is_collision_head]
        ),
    }

    seen = f"over the heads of a network LLC and score correlate by {value:.2f} ({low:.2f} to {high:.2f})"
    timing = f"the LLC passes half of its rise {middle:+.2f} decades after the score ({early:+.2f} to {late:+.2f})"
    beaten = [f"the {name} correlates by {rivals[name]:.2f}" for name, ends in leads.items() if not ends[0] > 0]
    if failed > MAX_FAILED:
        return claim(UNDECIDED, f"{100 * failed:.0f} % of the estimates of heads fail their diagnostics", seen, timing)
    if low <= 0 and high < WEAK_CORRELATION:
        return claim(NOT_SUPPORTED, seen)
    if early > MAX_LAG or late < -MAX_LAG:
        return claim(NOT_SUPPORTED, timing, seen)
    if not (low > MIN_CORRELATION and -MAX_LAG <= early and late <= MAX_LAG):
        return claim(UNDECIDED, seen, timing)
    if beaten:
        return claim(UNDECIDED, seen, timing, "but the LLC does not clearly lead its controls: " + ", ".join(beaten))
    told = ", ".join(f"{name} {rival:.2f}" for name, rival in rivals.items())
    return claim(SUPPORTED, seen, f"more than the controls do ({told})", timing)


Statistic = Callable[[list[np.ndarray]], np.ndarray]


def _correlation(column: int, other: int = SCORE) -> Statistic:
    return lambda tables: pooled_rank_correlation([(table[..., column], table[..., other]) for table in tables])


def _lead(column: int) -> Statistic:
    """The LLC's correlation less that of a control."""
    return lambda tables: _correlation(LLC)(tables) - _correlation(column)(tables)


def _nanmedian(values: list[float]) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.median(finite)) if finite else float("nan")
