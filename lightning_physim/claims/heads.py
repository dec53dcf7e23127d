"""The three claims of Hitchcock et al. 2025 (arXiv 2504.11830), each with a rule that can say no: the first of them.

The rules are written down in ``docs/claims.md``; the constants here and in ``claim_geometry`` and ``claim_growth`` are
their numbers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from lightning_physim.claims.evidence import NOTHING, ONSET, Head, Metrics, final, heads_of

SUPPORTED, NOT_SUPPORTED, UNDECIDED = "supported", "not supported", "undecided"
MIN_SEEDS = 3
MOST, FEW = 0.8, 0.2
"""Shares of the seeds."""
MAX_LOSS_SHARE = 0.5
"""Of a network's loss on colliding particles, relative to one without attention."""

Numbers = dict[str, float]


@dataclass(frozen=True)
class Study:
    """The runs that the claims are judged by; None for one that was not made.

    Args:
        seeds: metrics of the runs that differ in their seed alone, by name.
        sgd: under plain SGD.
        permuted: with permuted outcomes.
        no_attention: of the network without attention.
    """

    seeds: Mapping[str, Metrics]
    sgd: Metrics | None = None
    permuted: Metrics | None = None
    no_attention: Metrics | None = None

    def heads(self) -> dict[str, list[Head]]:
        """The heads of every seed."""
        return {name: heads_of(metrics) for name, metrics in self.seeds.items()}


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
    numbers: Numbers


def collision_heads_exist(study: Study) -> Claim:
    """Claim (a): attention heads emerge that detect collisions."""
    heads = study.heads()
    found = [sum(head.is_collision_head for head in row) for row in heads.values()]
    n, with_head = len(found), sum(count > 0 for count in found)
    untrained = _highest(float(head.enrichment[1][0]) for row in heads.values() for head in row)
    permuted = _highest(final(head.enrichment) for head in heads_of(study.permuted or {}))
    blind = final((study.no_attention or {}).get("val/loss_colliding", NOTHING))
    share = _highest(final(m.get("val/loss_colliding", NOTHING)) / blind for m in study.seeds.values())
    numbers = {
        "seeds": float(n),
        "seeds with a collision head": float(with_head),
        "collision heads": float(sum(found)),
        "heads": float(sum(map(len, heads.values()))),
        "highest enrichment, untrained": untrained,
        "highest enrichment, permuted outcomes": permuted,
        "colliding loss of the worst seed, share of no attention’s": share,
    }
    controls = (
        (untrained < ONSET, untrained, f"untrained heads reach {untrained:.1f} times uniform attention"),
        (permuted < ONSET, permuted, f"heads trained on permuted outcomes reach {permuted:.1f} times uniform"),
        (
            share < MAX_LOSS_SHARE,
            share,
            f"a loss on colliding particles is {100 * share:.0f} % of that without attention",
        ),
    )

    def claim(verdict: str, *reasons: str) -> Claim:
        seen = f"{with_head} of {n} seeds have a collision head"
        return Claim("Attention heads emerge that detect collisions", verdict, "; ".join((seen, *reasons)), numbers)

    if n < MIN_SEEDS:
        return claim(UNDECIDED, f"it takes {MIN_SEEDS} seeds")
    if with_head <= FEW * n:
        return claim(NOT_SUPPORTED)
    if not all(np.isfinite(value) for _, value, _ in controls):
        return claim(UNDECIDED, "a control was not measured: untrained, permuted outcomes, or no attention")
    if failed := [words for passed, _, words in controls if not passed]:
        return claim(UNDECIDED, *failed)
    if with_head < MOST * n:
        return claim(UNDECIDED, f"it takes {100 * MOST:.0f} % of the seeds")
    return claim(SUPPORTED, *(words for _, _, words in controls))


def _highest(values: Iterable[float]) -> float:
    return max(values, default=float("nan"))
