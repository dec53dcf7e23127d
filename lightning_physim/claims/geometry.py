"""Claim (b): emergence goes with degenerate geometry. Three questions, one statistic and one curvature for each."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lightning_physim.claims.evidence import Head, half_rise_step
from lightning_physim.claims.statistics import (
    MIN_FOR_T,
    NO_INTERVAL,
    SIGNIFICANCE,
    Answer,
    Interval,
    bootstrap_within,
    holm,
    interval,
    limit_answer,
    mean_of_known,
    p_text,
    partial_rank_correlation,
    permutation_answer,
    t_answer,
)
from lightning_physim.claims.verdict import MIN_SEEDS, NO_SEED, NOT_SUPPORTED, SUPPORTED, Claim, Study
from lightning_physim.curves import N_FINAL, Curve, final, rise
from lightning_physim.emergence import UNDECIDED
from lightning_physim.llc.diagnostics import MAX_FAILED

GEOMETRY_CLAIM = "Emergence goes with degenerate geometry"
ORDER_MARGIN = 0.1
"""By how much the order of collision heads must lie above that of other heads: quartic directions then make up 5 % more
of the learning coefficient."""
N_GEOMETRY = 2
"""Measurements that a final value of the geometry is the mean of."""
FEWER, MORE = "fewer directions", "more directions"
FLATTER, NOT_FLATTER = "flatter than other heads", "not flatter than other heads"
OWN_TIME = "own time"
OPEN = "open"
"""What the questions can end as."""


@dataclass(frozen=True)
class Numbers:
    """What the rule looks at. A direction of curvature h counts by ``h / (h + c)``, with c of
    :data:`lightning_physim.claims.evidence.RANK_C`.

    Args:
        rank: decimal logarithm of the directions that count of a used collision head at the end, over those of the same
            head at the end on permuted outcomes.
        over_initial, over_others: the same over the head itself at initialisation, and over the heads of its network
            that are no used collision heads.
        order: of used collision heads at the end, sampled at c = 1 or below. Reported, and asked by no rule.
        order_over_others: that order less the one of the other heads of its network; p is of the likelier side of
            :data:`ORDER_MARGIN`, doubled.
        is_flatter: that side is the upper one.
        order_over_permuted: that order less the one of the same heads on permuted outcomes. Reported, and asked by no
            rule.
        timing: decades by which directions and score of one used collision head pass half of their rises nearer to
            each other than those of different ones do; p by permutations within seeds.
        timing_at_half: that effect with every curve cut at half the length of the run.
        failed: share of the estimates of heads that fail their diagnostics.
        directions: median over used collision heads at the end.
        lag: median decades by which directions pass half of their rise after the score.
        which, which_interval: correlation of the ranks of the rises of directions and score over the heads of a
            network, given the rise of the weight norm. Decides nothing.
    """

    rank: Answer
    over_initial: Answer
    over_others: Answer
    order: Answer
    order_over_others: Answer
    is_flatter: bool
    order_over_permuted: Answer
    timing: Answer
    timing_at_half: float
    failed: float
    directions: float
    lag: float
    which: float
    which_interval: Interval

    def adjusted(self) -> dict[str, float]:
        """p of each question by Holm's rule; 1 for one that could not be asked."""
        return holm({"rank": self.rank.p, "order": self.order_over_others.p, "timing": self.timing.p})

    def table(self) -> dict[str, float]:
        """By name, for the page."""
        answers = {
            "directions over those on permuted outcomes, decades": self.rank,
            "directions over those at initialisation, decades": self.over_initial,
            "directions over those of other heads, decades": self.over_others,
            "order": self.order,
            "order less that of other heads": self.order_over_others,
            "order less that on permuted outcomes": self.order_over_permuted,
            "nearness of half-rises, decades": self.timing,
        }
        table: dict[str, float] = {}
        for name, answer in answers.items():
            low, high = answer.interval
            table |= {name: answer.effect, f"{name}, low": low, f"{name}, high": high, f"{name}, seeds": answer.n}
        table |= {f"p of {name}, by Holm": p for name, p in self.adjusted().items()}
        low, high = self.which_interval
        return table | {
            "nearness of half-rises at half the length, decades": self.timing_at_half,
            "share of estimates that fail": self.failed,
            "directions, median": self.directions,
            "lag of directions behind the score, median, decades (below 0 they lead)": self.lag,
            "correlation given the weight norm": self.which,
            "correlation given the weight norm, low": low,
            "correlation given the weight norm, high": high,
        }


def measure(study: Study) -> Numbers:
    """Numbers of the heads of every seed, and of the same heads on permuted outcomes."""
    every = study.heads()
    used = {seed: [head for head in heads if head.is_used_collision_head] for seed, heads in every.items()}
    others = {seed: [head for head in heads if not head.is_used_collision_head] for seed, heads in every.items()}
    permuted = {seed: {head.name: head for head in heads} for seed, heads in study.permuted_heads().items()}
    rank = {
        seed: [_directions(head) - _directions(permuted.get(seed, {}).get(head.name)) for head in heads]
        for seed, heads in used.items()
    }
    over_initial = {seed: [_directions(head) - _at_first(head) for head in heads] for seed, heads in used.items()}
    over_others = [log_directions(used[seed]) - log_directions(others[seed]) for seed in every]
    orders = {seed: mean_of_known(map(_order, heads)) for seed, heads in used.items()}
    order_over_others, is_flatter = limit_answer(
        [orders[seed] - mean_of_known(map(_order, others[seed])) for seed in every], ORDER_MARGIN
    )
    order_over_permuted = {
        seed: [_order(head) - _order(permuted.get(seed, {}).get(head.name)) for head in heads]
        for seed, heads in used.items()
    }
    half_ways = [half_rises(heads) for heads in used.values()]
    tables = [known for heads in every.values() if len(known := _rises(heads)) > 3]
    estimates = sum(head.n_estimates for heads in every.values() for head in heads)
    passed = sum(len(head.llc[1]) for heads in every.values() for head in heads)
    enough = len(tables) >= MIN_SEEDS
    return Numbers(
        rank=t_answer([*map(mean_of_known, rank.values())]),
        over_initial=t_answer([*map(mean_of_known, over_initial.values())]),
        over_others=t_answer(over_others),
        order=t_answer([*orders.values()]),
        order_over_others=order_over_others,
        is_flatter=is_flatter,
        order_over_permuted=t_answer([*map(mean_of_known, order_over_permuted.values())]),
        timing=permutation_answer(half_ways),
        timing_at_half=permutation_answer([half_rises(heads, 0.5) for heads in used.values()]).effect,
        failed=1 - passed / estimates if estimates else math.nan,
        directions=10 ** _median(_directions(head) for heads in used.values() for head in heads),
        lag=_median(pair[0] - pair[1] for pairs in half_ways for pair in pairs),
        which=float(partial_rank_correlation(tables)) if enough else math.nan,
        which_interval=interval(bootstrap_within(partial_rank_correlation, tables)) if enough else NO_INTERVAL,
    )


def answers(n: Numbers) -> dict[str, str]:
    """What each question ends as."""
    decided = {question for question, p in n.adjusted().items() if p < SIGNIFICANCE}
    found = dict.fromkeys(("rank", "order", "timing"), OPEN)
    if "rank" in decided:
        found["rank"] = FEWER if n.rank.effect < 0 else MORE
    if "order" in decided and n.failed <= MAX_FAILED:
        found["order"] = FLATTER if n.is_flatter else NOT_FLATTER
    if "timing" in decided and n.timing.n >= MIN_SEEDS and n.timing.effect > 0 and n.timing_at_half > 0:
        found["timing"] = OWN_TIME
    return found


def judge(n: Numbers) -> str:
    """The verdict."""
    found = answers(n)
    if found["rank"] == MORE and found["order"] == NOT_FLATTER:
        return NOT_SUPPORTED
    if found["timing"] == OWN_TIME and (found["rank"] == FEWER or found["order"] == FLATTER):
        return SUPPORTED
    return UNDECIDED


def tell(n: Numbers) -> tuple[str, ...]:
    """What the questions ended as, a part of a sentence each."""
    found, adjusted = answers(n), n.adjusted()

    def ended(question: str, answer: Answer) -> str:
        if not math.isfinite(answer.p):
            return f"{found[question]}, as it was measured on {answer.n} seeds and takes {MIN_FOR_T}"
        return f"on {answer.n} seeds: {found[question]}, {p_text(adjusted[question])} by Holm"

    rank = (
        f"collision heads that are used end with {10**n.rank.effect:.3g} times{_between(n.rank, '.3g', 10)} the "
        f"directions that count of the same heads on permuted outcomes, {ended('rank', n.rank)}"
    )
    order = f"their order is {n.order.effect:.2f}{_between(n.order, '.2f')}"
    others = {"other heads": n.order_over_others, "the same heads on permuted outcomes": n.order_over_permuted}
    for words, other in others.items():
        if math.isfinite(other.effect):
            order += f", {other.effect:+z.2f}{_between(other, '+z.2f')} from that of {words}"
    order += f", {ended('order', n.order_over_others)}"
    if n.failed > MAX_FAILED:
        order += f", as {100 * n.failed:.0f} % of the estimates of heads fail their diagnostics"
    timing = (
        f"directions and score of one head pass half of their rises {n.timing.effect:.2f} decades"
        f"{_between(n.timing, '.2f')} nearer to each other than those of different heads, {n.timing_at_half:.2f} at "
        f"half the length of the run, {ended('timing', n.timing)}"
    )
    return rank, order, timing


def emergence_goes_with_degeneracy(study: Study) -> Claim:
    """Claim (b), judged."""
    numbers = measure(study)
    return Claim(GEOMETRY_CLAIM, judge(numbers), tell(numbers) if study.seeds else (NO_SEED,), numbers.table())


def log_directions(heads: Iterable[Head]) -> float:
    """Decimal logarithm of the directions that count of a head at the end, mean over heads; NaN without any."""
    return mean_of_known(map(_directions, heads))


def half_rises(heads: Sequence[Head], until: float = 1.0) -> np.ndarray:
    """Decimal logarithms of the steps at which directions and score pass half of their rises, ``[heads, 2]``.

    Args:
        heads: one row for each that has both.
        until: share of the run that is looked at.
    """
    pairs = [
        [half_rise_step(_until(head.d_eff, until), N_GEOMETRY), half_rise_step(_until(head.score, until), N_FINAL)]
        for head in heads
    ]
    steps = np.log10(np.array(pairs).reshape(-1, 2))
    return steps[np.isfinite(steps).all(1)]


def _between(answer: Answer, digits: str, base: float | None = None) -> str:
    """The interval in brackets, of powers of a base where there is one; nothing without an interval."""
    low, high = answer.interval if base is None else (base**end for end in answer.interval)
    return f" ({low:{digits}} to {high:{digits}})" if math.isfinite(low) else ""


def _until(curve: Curve, share: float) -> Curve:
    steps, values = curve
    kept = steps <= share * (steps[-1] if len(steps) else 0)
    return steps[kept], values[kept]


def _directions(head: Head | None) -> float:
    """Decimal logarithm of the directions that count at the end."""
    return math.nan if head is None else _log10(final(head.d_eff, N_GEOMETRY))


def _order(head: Head | None) -> float:
    """Of the potential at the end."""
    return math.nan if head is None else final(head.order, N_GEOMETRY)


def _at_first(head: Head) -> float:
    return _log10(head.d_eff[1][0]) if len(head.d_eff[1]) else math.nan


def _log10(directions: float) -> float:
    """NaN of none at all, as a head without curvature has."""
    return math.log10(directions) if directions > 0 else math.nan


def _rises(heads: Sequence[Head]) -> np.ndarray:
    """Of directions, score and weight norm, ``[heads, 3]``, where all are known."""
    rows = [[rise(head.d_eff, N_GEOMETRY), rise(head.score), rise(head.weight_norm, N_GEOMETRY)] for head in heads]
    table = np.array(rows).reshape(-1, 3)
    return table[np.isfinite(table).all(1)]


def _median(values: Iterable[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.median(finite)) if finite else math.nan
