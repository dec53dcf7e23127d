"""Claim (c): heads emerge by a power law, as gradient flow in a degenerate effective potential does."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lightning_physim.claims.evidence import heads_of
from lightning_physim.claims.statistics import Interval, bootstrap_clusters, interval
from lightning_physim.claims.verdict import MIN_SEEDS, NOT_SUPPORTED, SUPPORTED, Claim
from lightning_physim.curves import Metrics
from lightning_physim.emergence import UNDECIDED, Growth, growth_of_head, is_power_law, label

GROWS_BY_POWER_LAW = "The score of a collision head grows by a power law"
MIN_DECIDED = 0.5
"""Fraction of the heads that must have a clear law."""
MAJORITY = 0.5
POWER_LAW = "power_law"


@dataclass(frozen=True)
class Numbers:
    """What the rule looks at.

    Args:
        heads: collision heads that are used, of every seed.
        decided: of them, those with a clear law.
        seeds: with a decided head.
        fraction, fraction_interval: of power laws among the decided, with its 95 % interval.
        verdicts: heads by verdict.
        wins: held-out extrapolations by the law that wins them, power laws of any form counted as one.
        losses, losses_power_law: losses on colliding particles, the control.
        sgd, sgd_decided, sgd_power_law: collision heads that are used, under plain SGD.
    """

    heads: int
    decided: int
    seeds: int
    fraction: float
    fraction_interval: Interval
    verdicts: Counter[str]
    wins: Counter[str]
    losses: int
    losses_power_law: int
    sgd: int
    sgd_decided: int
    sgd_power_law: int

    @property
    def rival(self) -> int:
        """Extrapolations that the best other law wins."""
        return max((count for law, count in self.wins.items() if law != POWER_LAW), default=0)

    def table(self) -> dict[str, float]:
        """By name, for the page."""
        return {
            "collision heads that are used": float(self.heads),
            **{f"called {label(law)}": float(count) for law, count in self.verdicts.items()},
            "share of power laws among the decided": self.fraction,
            "share, low": self.fraction_interval[0],
            "share, high": self.fraction_interval[1],
            **{f"extrapolations won by {label(law)}": float(count) for law, count in self.wins.items()},
            "losses called power law": float(self.losses_power_law),
            "losses": float(self.losses),
            "collision heads that are used, under SGD": float(self.sgd),
            "of them decided": float(self.sgd_decided),
            "of these called power law": float(self.sgd_power_law),
        }


def growth_of_used_heads(run: str, metrics: Metrics) -> list[Growth]:
    """Of the partner score of each collision head that is used."""
    return [growth_of_head(metrics, head.name, run) for head in heads_of(metrics) if head.is_used_collision_head]


def measure(heads: Sequence[Growth], losses: Sequence[Growth], sgd: Sequence[Growth]) -> Numbers:
    """Numbers of heads, losses and heads under SGD."""
    decided = [growth for growth in heads if growth.is_decided]
    runs = dict.fromkeys(growth.run for growth in decided)
    groups = [np.array([growth.is_power_law for growth in decided if growth.run == run]) for run in runs]
    return Numbers(
        heads=len(heads),
        decided=len(decided),
        seeds=len(groups),
        fraction=float(np.mean([growth.is_power_law for growth in decided])) if decided else math.nan,
        fraction_interval=(
            interval(bootstrap_clusters(lambda sample: float(sample.mean()), groups))
            if len(groups) >= MIN_SEEDS
            else (math.nan, math.nan)
        ),
        verdicts=Counter(growth.verdict for growth in heads),
        wins=Counter(_kind(winner) for growth in heads if (winner := growth.extrapolation.winner)),
        losses=len(losses),
        losses_power_law=sum(growth.is_power_law for growth in losses),
        sgd=len(sgd),
        sgd_decided=sum(growth.is_decided for growth in sgd),
        sgd_power_law=sum(growth.is_power_law for growth in sgd),
    )


def judge(n: Numbers) -> tuple[str, list[str]]:
    """The verdict, and what decided."""
    low, high = n.fraction_interval
    if n.seeds < MIN_SEEDS or n.decided < MIN_DECIDED * n.heads:
        return UNDECIDED, ["too few are decided"]
    if high < MAJORITY:
        return NOT_SUPPORTED, []
    against = {
        "interval": not low > MAJORITY,
        "extrapolation": n.wins[POWER_LAW] <= n.rival,
        "loss": n.losses_power_law >= 0.5 * max(n.losses, 1),
        "SGD": n.sgd_power_law < max(0.5 * n.sgd_decided, 1),
    }
    return (UNDECIDED, [name for name, holds in against.items() if holds]) if any(against.values()) else (SUPPORTED, [])


def tell(n: Numbers, verdict: str, decided_by: list[str]) -> str:
    """What decided, in a sentence."""
    low, high = n.fraction_interval
    if "too few are decided" in decided_by:
        few = f"of {n.heads} collision heads that are used {n.decided} have a clear law, on {n.seeds} seeds"
        return f"{few}; it takes half of them, and {MIN_SEEDS} seeds"
    seen = f"of {n.heads} collision heads that are used {n.decided} have a clear law, "
    seen += f"{100 * n.fraction:.0f} % of them a power law ({100 * low:.0f} to {100 * high:.0f})"
    won = f"win {n.wins[POWER_LAW]} of {n.wins.total()} held-out extrapolations"
    sgd = f"{n.sgd_decided} of {n.sgd} collision heads that are used have a clear law"
    against = {
        "interval": "the interval reaches below one half",
        "extrapolation": f"power laws {won}, another law {n.rival}",
        "loss": "the loss on colliding particles is a power law too, and scores may inherit its form",
        "SGD": f"under SGD {sgd}, where it takes one, and half of them power laws",
    }
    closing = [f"they {won}"] if verdict == SUPPORTED else [against[name] for name in decided_by]
    return "; ".join([seen, *closing])


def growth_is_power_law(heads: Sequence[Growth], losses: Sequence[Growth], sgd: Sequence[Growth]) -> Claim:
    """Claim (c), judged.

    Args:
        heads: of every seed.
        losses: of every seed, the control.
        sgd: collision heads that are used, under plain SGD.
    """
    numbers = measure(heads, losses, sgd)
    verdict, decided_by = judge(numbers)
    return Claim(GROWS_BY_POWER_LAW, verdict, tell(numbers, verdict, decided_by), numbers.table())


def _kind(law: str) -> str:
    return POWER_LAW if is_power_law(law) else law
