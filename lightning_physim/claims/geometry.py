"""Claim (b): emergence goes with a change of the loss landscape's geometry, beyond what simpler quantities show."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from scipy.stats import spearmanr

from lightning_physim.claims.evidence import Head, half_rise_step
from lightning_physim.claims.statistics import (
    Interval,
    bootstrap_clusters,
    bootstrap_within,
    interval,
    pooled_rank_correlation,
)
from lightning_physim.claims.verdict import MIN_SEEDS, NOT_SUPPORTED, SUPPORTED, Claim, Study
from lightning_physim.curves import rise
from lightning_physim.emergence import UNDECIDED
from lightning_physim.llc.diagnostics import MAX_FAILED

LLC_RISES = "A head’s learning coefficient and its score rise together"
MIN_HEADS = 12
"""Heads with two estimates that pass, of all seeds together, without which nothing is judged."""
MIN_CORRELATION, WEAK_CORRELATION = 0.3, 0.5
"""The interval of a correlation lies above the first, or reaches zero and lies below the second."""
MAX_LAG = 0.5
"""Decades of steps by which LLC and score may pass half of their rises apart."""
N_LLC, N_SCORE = 2, 3
"""Measurements that a final value is the mean of."""
NO_INTERVAL: Interval = (math.nan, math.nan)


@dataclass(frozen=True)
class Rises:
    """How far the quantities of a head rise from their first value to the last; NaN where not measured."""

    score: float
    llc: float
    weight_norm: float
    grad_norm: float
    effect: float
    """The ablation effect, which is a final value."""

    @classmethod
    def of(cls, head: Head) -> "Rises":
        return cls(
            score=rise(head.score, N_SCORE),
            llc=rise(head.llc, N_LLC),
            weight_norm=rise(head.controls["weight_norm"], N_LLC),
            grad_norm=rise(head.controls["grad_norm"], N_LLC),
            effect=head.effect,
        )


RISE_COLUMNS = {column.name: i for i, column in enumerate(fields(Rises))}
CONTROL_LABELS = {"weight_norm": "weight norm", "grad_norm": "gradient norm"}


@dataclass(frozen=True)
class Numbers:
    """What the rule looks at. Intervals are of 95 %; what could not be computed is NaN.

    Args:
        seeds, heads: with two estimates that pass.
        failed: fraction of the estimates of heads that fail their diagnostics.
        correlation, correlation_interval: rank correlation over the heads of a network of the rises of LLC and score.
        controls: the same correlation of each control, by name.
        leads: interval of the LLC's correlation less that of each control.
        with_effect: correlation of the rise of the LLC with the ablation effect.
        lag, lag_interval: median decades by which the LLC passes half of its rise after the score does.
        in_time: median over heads of the correlation in time, which decides nothing.
    """

    seeds: int
    heads: int
    failed: float
    correlation: float
    correlation_interval: Interval
    controls: dict[str, float]
    leads: dict[str, Interval]
    with_effect: float
    lag: float
    lag_interval: Interval
    in_time: float

    @property
    def is_enough(self) -> bool:
        """Whether there are seeds and heads enough to judge."""
        return self.seeds >= MIN_SEEDS and self.heads >= MIN_HEADS

    def table(self) -> dict[str, float]:
        """By name, for the page."""
        table = {
            "seeds": float(self.seeds),
            "heads": float(self.heads),
            "share of estimates that fail": self.failed,
        }
        if not self.is_enough:
            return table
        low, high = self.correlation_interval
        table |= {"correlation": self.correlation, "correlation, low": low, "correlation, high": high}
        table |= {f"correlation of the {CONTROL_LABELS[name]}": value for name, value in self.controls.items()}
        for name, ends in self.leads.items():
            table |= {
                f"lead over the {CONTROL_LABELS[name]}, {end}": x for end, x in zip(("low", "high"), ends, strict=True)
            }
        return table | {
            "correlation with the ablation effect": self.with_effect,
            "median lag, decades": self.lag,
            "lag, low": self.lag_interval[0],
            "lag, high": self.lag_interval[1],
            "median correlation in time": self.in_time,
        }


def measure(study: Study) -> Numbers:
    """Numbers of the heads of every seed."""
    rows = list(study.heads().values())
    every = [head for row in rows for head in row]
    estimates, passed = sum(head.n_estimates for head in every), sum(len(head.llc[1]) for head in every)
    tables = [known for row in rows if len(known := _table(row)) > 2]
    n_heads = sum(map(len, tables))
    enough = len(tables) >= MIN_SEEDS and n_heads >= MIN_HEADS
    lags = [known for row in rows if len(known := _lags(row))]
    return Numbers(
        seeds=len(tables),
        heads=n_heads,
        failed=1 - passed / estimates if estimates else math.nan,
        correlation=float(_correlation("llc")(tables)) if enough else math.nan,
        correlation_interval=interval(bootstrap_within(_correlation("llc"), tables)) if enough else NO_INTERVAL,
        controls={name: float(_correlation(name)(tables)) for name in CONTROL_LABELS} if enough else {},
        leads={name: interval(bootstrap_within(_lead(name), tables)) for name in CONTROL_LABELS} if enough else {},
        with_effect=float(_correlation("llc", "effect")(tables)) if enough else math.nan,
        lag=float(np.median(np.concatenate(lags))) if lags else math.nan,
        lag_interval=interval(bootstrap_clusters(_median, lags)) if len(lags) >= MIN_SEEDS and enough else NO_INTERVAL,
        in_time=_nanmedian([correlation_in_time(head) for head in every if head.is_used_collision_head]),
    )


def judge(n: Numbers) -> tuple[str, str]:
    """The verdict, and what decided."""
    (low, high), (early, late) = n.correlation_interval, n.lag_interval
    if not n.is_enough:
        return UNDECIDED, "too few heads"
    if n.failed > MAX_FAILED:
        return UNDECIDED, "estimates fail"
    if low <= 0 and high < WEAK_CORRELATION:
        return NOT_SUPPORTED, "correlation"
    if early > MAX_LAG or late < -MAX_LAG:
        return NOT_SUPPORTED, "timing"
    if not (low > MIN_CORRELATION and -MAX_LAG <= early and late <= MAX_LAG):
        return UNDECIDED, "correlation and timing"
    if not all(lead[0] > 0 for lead in n.leads.values()):
        return UNDECIDED, "controls do as well"
    return SUPPORTED, "more than the controls"


def tell(n: Numbers, decided_by: str) -> str:
    """What decided, in a sentence."""
    (low, high), (early, late) = n.correlation_interval, n.lag_interval
    seen = f"over the heads of a network LLC and score correlate by {n.correlation:.2f} ({low:.2f} to {high:.2f})"
    timing = f"the LLC passes half of its rise {n.lag:+.2f} decades after the score ({early:+.2f} to {late:+.2f})"
    beaten = [
        f"the {CONTROL_LABELS[name]} correlates by {n.controls[name]:.2f}"
        for name, lead in n.leads.items()
        if not lead[0] > 0
    ]
    controls = ", ".join(f"{CONTROL_LABELS[name]} {value:.2f}" for name, value in n.controls.items())
    needed = f"it takes {MIN_SEEDS} seeds and {MIN_HEADS} heads with two estimates that pass"
    reasons = {
        "too few heads": [f"{needed}; there are {n.seeds} and {n.heads}"],
        "estimates fail": [f"{100 * n.failed:.0f} % of the estimates of heads fail their diagnostics", seen, timing],
        "correlation": [seen],
        "timing": [timing, seen],
        "correlation and timing": [seen, timing],
        "controls do as well": [
            seen, timing, "but the LLC does not clearly lead its controls: " + ", ".join(beaten),
        ],
        "more than the controls": [seen, f"more than the controls do ({controls})", timing],
    }  # fmt: skip
    return "; ".join(reasons[decided_by])


def llc_rises_with_score(study: Study) -> Claim:
    """Claim (b), judged."""
    numbers = measure(study)
    verdict, decided_by = judge(numbers)
    return Claim(LLC_RISES, verdict, tell(numbers, decided_by), numbers.table())


def lag(head: Head) -> float:
    """Decades by which the LLC passes half of its rise after the score does; NaN where one of them does not."""
    return float(np.log10(half_rise_step(head.llc, N_LLC) / half_rise_step(head.score, N_SCORE)))


def correlation_in_time(head: Head) -> float:
    """Spearman's correlation of LLC and score over the steps at which both are known."""
    steps, llc = head.llc
    at = dict(zip(*head.score, strict=True))
    both = [(at[step], value) for step, value in zip(steps, llc, strict=True) if step in at]
    return float(spearmanr(*zip(*both, strict=True)).statistic) if len(both) > 2 else math.nan


Statistic = Callable[[list[np.ndarray]], np.ndarray]


def _table(heads: list[Head]) -> np.ndarray:
    """:class:`Rises` ``[heads, 5]`` of those heads whose score and LLC are known."""
    rises = [Rises.of(head) for head in heads]
    return np.array(
        [[*vars(row).values()] for row in rises if np.isfinite(row.score) and np.isfinite(row.llc)]
    ).reshape(-1, len(RISE_COLUMNS))


def _lags(heads: list[Head]) -> np.ndarray:
    lags = np.array([lag(head) for head in heads if head.is_used_collision_head])
    return lags[np.isfinite(lags)]


def _correlation(quantity: str, other: str = "score") -> Statistic:
    x, y = RISE_COLUMNS[quantity], RISE_COLUMNS[other]
    return lambda tables: pooled_rank_correlation([(table[..., x], table[..., y]) for table in tables])


def _lead(control: str) -> Statistic:
    """The LLC's correlation less that of a control."""
    return lambda tables: _correlation("llc")(tables) - _correlation(control)(tables)


def _median(sample: np.ndarray) -> float:
    return float(np.median(sample))


def _nanmedian(values: list[float]) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.median(finite)) if finite else math.nan
