"""What a claim is, and the trainings that it is judged by.

Each claim is three functions: ``measure`` takes numbers from what the runs have logged, ``judge`` holds the rule of
``docs/claims.md``, ``tell`` says what decided. None of them loads a checkpoint.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lightning_physim.claims.evidence import Head, heads_of
from lightning_physim.claims.statistics import MIN_FOR_T
from lightning_physim.curves import Metrics

SUPPORTED, NOT_SUPPORTED = "supported", "not supported"
MIN_SEEDS = 3
"""Seeds without which no claim is judged."""


@dataclass(frozen=True)
class Study:
    """The runs that the claims are judged by; None, or nothing, for one that was not made.

    Args:
        seeds: metrics of the runs that differ in their seed alone, by seed.
        permuted: with permuted outcomes, by seed: each starts from the network of that seed.
        sgd: under plain SGD.
        no_attention: of the network without attention.
    """

    seeds: Mapping[int, Metrics]
    permuted: Mapping[int, Metrics] = field(default_factory=dict)
    sgd: Metrics | None = None
    no_attention: Metrics | None = None

    def heads(self) -> dict[int, list[Head]]:
        """The heads of every seed."""
        return {seed: heads_of(metrics) for seed, metrics in self.seeds.items()}

    def permuted_heads(self) -> dict[int, list[Head]]:
        """The heads of every seed on permuted outcomes."""
        return {seed: heads_of(metrics) for seed, metrics in self.permuted.items()}


@dataclass(frozen=True)
class Claim:
    """A claim with its verdict.

    Args:
        statement: of the claim.
        verdict: ``"supported"``, ``"not supported"`` or ``"undecided"``.
        reason: what decided, in a sentence.
        numbers: everything that the rule looked at, by name; NaN for what was not measured.
    """

    statement: str
    verdict: str
    reason: str
    numbers: dict[str, float]


def undecidable(n_seeds: int) -> str:
    """What so few seeds cannot decide, and what to type; empty where they may decide everything."""
    if n_seeds < MIN_SEEDS:
        return f"{n_seeds} seeds decide no claim, {MIN_SEEDS} may decide (a) and (c): --seeds={MIN_SEEDS} or more"
    if n_seeds < MIN_FOR_T:
        return f"{n_seeds} seeds cannot decide claim (b), which takes {MIN_FOR_T}: --seeds={MIN_FOR_T} or more"
    return ""


def highest(values: Iterable[float]) -> float:
    """The largest value; NaN where there is none."""
    return max(values, default=float("nan"))
