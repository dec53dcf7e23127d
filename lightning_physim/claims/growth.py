"""Claim (c): heads emerge by a power law, as gradient flow in a degenerate effective potential does."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from lightning_physim.claims.evidence import NOTHING, Curve, Metrics, heads_of
from lightning_physim.claims.heads import MIN_SEEDS, NOT_SUPPORTED, SUPPORTED, UNDECIDED, Claim, Numbers
from lightning_physim.claims.statistics import bootstrap_clusters, interval
from lightning_physim.emergence.forecast import Extrapolation, extrapolate
from lightning_physim.emergence.growth import GrowthComparison, PowerLawFit, compare_growth_laws, fit_power_law
from lightning_physim.errors import InputError

MIN_DECIDED = 0.5
POWER_LAWS = ("power_law", "broken_power_law")
"""The broken one's approach to the plateau is a power law too."""


@dataclass(frozen=True)
class Growth:
    """The growth of one curve of one run.

    Args:
        name: of the run.
        head: ``"L{l}H{h}"``, or ``"loss"`` for the loss on colliding particles.
        comparison: of the laws on all of it.
        extrapolation: from its first third.
        fit: of a power law to its approach; None where that is too short.
    """

    name: str
    head: str
    comparison: GrowthComparison
    extrapolation: Extrapolation
    fit: PowerLawFit | None

    @property
    def is_power_law(self) -> bool:
        return self.comparison.verdict in POWER_LAWS

    @property
    def is_decided(self) -> bool:
        return self.comparison.verdict != UNDECIDED


def growth_of_heads(name: str, metrics: Metrics) -> list[Growth]:
    """Of the partner score of each collision head."""
    return [_growth(name, head.name, head.score) for head in heads_of(metrics) if head.is_collision_head]


def growth_of_loss(name: str, metrics: Metrics) -> list[Growth]:
    """Of the loss on colliding particles, turned about so that it rises; none where it was not logged."""
    steps, values = metrics.get("val/loss_colliding", NOTHING)
    return [_growth(name, "loss", (steps, -values))] if len(steps) else []


def growth_is_power_law(heads: list[Growth], losses: list[Growth], sgd: list[Growth]) -> Claim:
    """Claim (c): the score of collision heads grows by a power law.

    Args:
        heads: of every seed.
        losses: of every seed, the control.
        sgd: collision heads under plain SGD.
    """
    decided = [growth for growth in heads if growth.is_decided]
    by_seed = {growth.name: np.array([g.is_power_law for g in decided if g.name == growth.name]) for growth in decided}
    groups = list(by_seed.values())
    share = float(np.mean([growth.is_power_law for growth in decided])) if decided else float("nan")
    low, high = (
        interval(bootstrap_clusters(lambda sample: float(sample.mean()), groups))
        if len(groups) >= MIN_SEEDS
        else (float("nan"),) * 2
    )
    verdicts = Counter(growth.comparison.verdict for growth in heads)
    wins = Counter(_family(growth.extrapolation.winner) for growth in heads if growth.extrapolation.winner)
    rival = max((count for law, count in wins.items() if law != "power_law"), default=0)
    decided_sgd = [growth for growth in sgd if growth.is_decided]
    numbers: Numbers = {
        "collision heads": float(len(heads)),
        **{f"called {law.replace('_', ' ')}": float(count) for law, count in verdicts.items()},
        "share of power laws among the decided": share,
        "share, low": low,
        "share, high": high,
        **{f"extrapolations won by {law.replace('_', ' ')}": float(count) for law, count in wins.items()},
        "losses called power law": float(sum(growth.is_power_law for growth in losses)),
        "losses": float(len(losses)),
        "collision heads under SGD": float(len(sgd)),
        "of them decided": float(len(decided_sgd)),
        "of these called power law": float(sum(growth.is_power_law for growth in decided_sgd)),
    }

    def claim(verdict: str, *reasons: str) -> Claim:
        return Claim("The score of a collision head grows by a power law", verdict, "; ".join(reasons), numbers)

    seen = f"of {len(heads)} collision heads {len(decided)} have a clear law, {100 * share:.0f} % of them a power law"
    if len(groups) < MIN_SEEDS or len(decided) < MIN_DECIDED * len(heads):
        few = f"of {len(heads)} collision heads {len(decided)} have a clear law, on {len(groups)} seeds"
        return claim(UNDECIDED, f"{few}; it takes half of them, and {MIN_SEEDS} seeds")
    seen += f" ({100 * low:.0f} to {100 * high:.0f})"
    if high < 0.5:
        return claim(NOT_SUPPORTED, seen)
    against = []
    if not low > 0.5:
        against.append("the interval reaches below one half")
    if wins["power_law"] <= rival:
        against.append(
            f"power laws win {wins['power_law']} of {wins.total()} held-out extrapolations, another law {rival}"
        )
    if sum(growth.is_power_law for growth in losses) >= 0.5 * max(len(losses), 1):
        against.append("the loss on colliding particles is a power law too, and scores may inherit its form")
    if sum(growth.is_power_law for growth in decided_sgd) < max(0.5 * len(decided_sgd), 1):
        called = f"{len(decided_sgd)} of {len(sgd)} collision heads have a clear law"
        against.append(f"under SGD {called}, where it takes one, and half of them power laws")
    if against:
        return claim(UNDECIDED, seen, *against)
    return claim(SUPPORTED, seen, f"they win {wins['power_law']} of {wins.total()} held-out extrapolations")


def _growth(name: str, head: str, curve: Curve) -> Growth:
    try:
        fit = fit_power_law(*curve)
    except InputError:
        fit = None
    return Growth(name, head, compare_growth_laws(*curve), extrapolate(*curve), fit)


def _family(law: str) -> str:
    return "power_law" if law in POWER_LAWS else law
