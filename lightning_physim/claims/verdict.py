"""What a claim is, and the trainings that it is judged by.

Each claim is three functions: ``measure`` takes numbers from what the runs have logged, ``judge`` holds the rule of
``docs/claims.md``, ``tell`` says what decided. None of them loads a checkpoint.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from lightning_physim.claims.evidence import Head, heads_of
from lightning_physim.claims.statistics import MIN_FOR_T
from lightning_physim.curves import Metrics

SUPPORTED, NOT_SUPPORTED = "supported", "not supported"
MIN_SEEDS = 3
"""Seeds without which no claim is judged."""
NO_SEED = "no seed was trained for it: --claims=ab trains them"
"""Reason where only gradient flow was asked for."""
NO_FLOW = "no training followed gradient flow at two step sizes: --claims=c trains them"
"""Reason where it was not asked for."""


@dataclass(frozen=True)
class Study:
    """The runs that the claims are judged by; None, or nothing, for one that was not made.

    Args:
        seeds: metrics of the runs that differ in their seed alone, by seed.
        permuted: with permuted outcomes, by seed: each starts from the network of that seed.
        flow, flow_fine: in gradient flow, by seed, in coarse and in fine steps.
        no_attention: of the network without attention.
    """

    seeds: Mapping[int, Metrics]
    permuted: Mapping[int, Metrics] = field(default_factory=dict)
    flow: Mapping[int, Metrics] = field(default_factory=dict)
    flow_fine: Mapping[int, Metrics] = field(default_factory=dict)
    no_attention: Metrics | None = None

    def heads(self) -> dict[int, list[Head]]:
        """The heads of every seed."""
        return {seed: heads_of(metrics) for seed, metrics in self.seeds.items()}

    def flows(self) -> dict[int, tuple[Metrics, Metrics]]:
        """Gradient flow in coarse and in fine steps, of every seed that has both."""
        return {seed: (coarse, self.flow_fine[seed]) for seed, coarse in self.flow.items() if seed in self.flow_fine}

    def permuted_heads(self) -> dict[int, list[Head]]:
        """The heads of every seed on permuted outcomes."""
        return {seed: heads_of(metrics) for seed, metrics in self.permuted.items()}


@dataclass(frozen=True)
class Claim:
    """A claim with its verdict.

    Args:
        statement: of the claim.
        verdict: ``"supported"``, ``"not supported"`` or ``"undecided"``.
        reasons: what decided, a part of a sentence each.
        numbers: everything that the rule looked at, by name; NaN for what was not measured.
    """

    statement: str
    verdict: str
    reasons: tuple[str, ...]
    numbers: dict[str, float]

    @property
    def asked(self) -> bool:
        """Whether anything was trained to judge it."""
        return not {NO_SEED, NO_FLOW} & {*self.reasons}

    @property
    def reason(self) -> str:
        """What decided, in a sentence."""
        return "; ".join(self.reasons)


def undecidable(n_seeds: int, claims: str) -> str:
    """What so few seeds cannot decide of some claims, and what to type; empty where they may decide them all."""
    least = {"a": MIN_SEEDS, "b": MIN_FOR_T, "c": MIN_FOR_T}
    open_ones = [f"({letter}), which takes {least[letter]}" for letter in claims if n_seeds < least[letter]]
    if not open_ones:
        return ""
    enough = max(least[letter] for letter in claims)
    return f"{n_seeds} seeds cannot decide claim {', nor '.join(open_ones)}: --seeds={enough} or more"


def highest(values: Iterable[float]) -> float:
    """The largest value; NaN where there is none, or one of them is NaN: what was not measured may be the largest."""
    known = [*values]
    return float(np.max(known)) if known else math.nan
