"""The paper's three claims, each with a rule that can say no."""

from lightning_physim.claims.evidence import COLLISION_HEAD, ONSET, Head, Metrics, final, heads_of
from lightning_physim.claims.geometry import llc_rises_with_score
from lightning_physim.claims.growth import POWER_LAWS, Growth, growth_is_power_law, growth_of_heads, growth_of_loss
from lightning_physim.claims.heads import Claim, Study, collision_heads_exist

__all__ = [
    "COLLISION_HEAD",
    "Claim",
    "Growth",
    "Head",
    "Metrics",
    "ONSET",
    "POWER_LAWS",
    "Study",
    "collision_heads_exist",
    "final",
    "growth_is_power_law",
    "growth_of_heads",
    "growth_of_loss",
    "heads_of",
    "llc_rises_with_score",
]
