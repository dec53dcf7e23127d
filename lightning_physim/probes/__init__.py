"""Per-head scores of attention patterns: pure functions, and torchmetrics over them."""

from lightning_physim.probes.functional import (
    attention_distance_sums,
    collision_score_sums,
    partner_score_sums,
    reduced_distance,
    without_self,
)
from lightning_physim.probes.metrics import HeadScores

__all__ = [
    "HeadScores",
    "attention_distance_sums",
    "collision_score_sums",
    "partner_score_sums",
    "reduced_distance",
    "without_self",
]
