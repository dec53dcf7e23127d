"""Claim (a): attention heads emerge that detect collisions."""

import math
from dataclasses import dataclass

from lightning_physim import keys
from lightning_physim.claims.verdict import MIN_SEEDS, NO_SEED, NOT_SUPPORTED, SUPPORTED, Claim, Study, highest
from lightning_physim.curves import NOTHING, ONSET, final
from lightning_physim.emergence import UNDECIDED

HEADS_EXIST = "Attention heads emerge that detect collisions"
MOST, FEW = 0.8, 0.2
"""Fractions of the seeds from which, and up to which, a claim about seeds holds or fails."""
MAX_RELATIVE_LOSS = 0.5
"""Loss on colliding particles below which a network must use its neighbours, over that of one without attention."""


@dataclass(frozen=True)
class Numbers:
    """What the rule looks at.

    Args:
        seeds: how many there are.
        with_head: seeds with a collision head that is used.
        collision_heads, used, heads: of all seeds together.
        untrained, permuted: highest enrichment of an untrained head, and of one trained on permuted outcomes.
        loss: of the worst seed on colliding particles, over that of the network without attention.
    """

    seeds: int
    with_head: int
    collision_heads: int
    used: int
    heads: int
    untrained: float
    permuted: float
    loss: float

    def table(self) -> dict[str, float]:
        """By name, for the page."""
        return {
            "seeds": float(self.seeds),
            "seeds with a collision head that is used": float(self.with_head),
            "collision heads": float(self.collision_heads),
            "collision heads that are used": float(self.used),
            "heads": float(self.heads),
            "highest enrichment, untrained": self.untrained,
            "highest enrichment, permuted outcomes": self.permuted,
            "colliding loss of the worst seed, over no attention’s": self.loss,
        }


def measure(study: Study) -> Numbers:
    """Numbers of the heads of every seed and of the controls."""
    heads = study.heads()
    every = [head for row in heads.values() for head in row]
    blind = final((study.no_attention or {}).get(keys.VAL_LOSS_COLLIDING, NOTHING))
    return Numbers(
        seeds=len(heads),
        with_head=sum(any(head.is_used_collision_head for head in row) for row in heads.values()),
        collision_heads=sum(head.is_collision_head for head in every),
        used=sum(head.is_used_collision_head for head in every),
        heads=len(every),
        untrained=highest(float(head.enrichment[1][0]) for head in every),
        permuted=highest(final(head.enrichment) for row in study.permuted_heads().values() for head in row),
        loss=highest(final(m.get(keys.VAL_LOSS_COLLIDING, NOTHING)) / blind for m in study.seeds.values()),
    )


def judge(n: Numbers) -> tuple[str, str]:
    """The verdict, and what decided."""
    if n.seeds < MIN_SEEDS:
        return UNDECIDED, "too few seeds"
    if n.with_head <= FEW * n.seeds:
        return NOT_SUPPORTED, "heads are missing"
    if not all(map(math.isfinite, (n.untrained, n.permuted, n.loss))):
        return UNDECIDED, "a control is missing"
    if not (n.untrained < ONSET and n.permuted < ONSET and n.loss < MAX_RELATIVE_LOSS):
        return UNDECIDED, "a control fails"
    if n.with_head < MOST * n.seeds:
        return UNDECIDED, "too few seeds have a head"
    return SUPPORTED, "heads and controls"


def tell(n: Numbers, decided_by: str) -> tuple[str, ...]:
    """What decided, a part of a sentence each."""
    if not n.seeds:
        return (NO_SEED,)
    untrained = f"untrained heads reach {n.untrained:.1f} times uniform attention"
    permuted = f"heads trained on permuted outcomes reach {n.permuted:.1f} times uniform"
    loss = f"the worst seed’s loss on colliding particles is {100 * n.loss:.0f} % of that without attention"
    failed = [(n.untrained < ONSET, untrained), (n.permuted < ONSET, permuted), (n.loss < MAX_RELATIVE_LOSS, loss)]
    reasons = {
        "too few seeds": [f"it takes {MIN_SEEDS} seeds"],
        "heads are missing": [],
        "a control is missing": ["a control was not measured: untrained, permuted outcomes, or no attention"],
        "a control fails": [words for passed, words in failed if not passed],
        "too few seeds have a head": [f"it takes {100 * MOST:.0f} % of the seeds"],
        "heads and controls": [untrained, permuted, loss],
    }
    return f"{n.with_head} of {n.seeds} seeds have a collision head that is used", *reasons[decided_by]


def collision_heads_exist(study: Study) -> Claim:
    """Claim (a), judged."""
    numbers = measure(study)
    verdict, decided_by = judge(numbers)
    return Claim(HEADS_EXIST, verdict, tell(numbers, decided_by), numbers.table())
