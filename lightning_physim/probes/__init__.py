"""Per-head scores of attention patterns: pure functions, and torchmetrics over them."""

from lightning_physim.probes.functional import (
    ablation_sums,
    about_to_touch,
    attention_distance_sums,
    auroc_and_average_precision,
    collision_score_sums,
    correlation,
    distance_correlation_sums,
    near_others,
    pair_scores,
    partner_score_sums,
    reduced_distance,
    without_self,
)
from lightning_physim.probes.matching import HeadMatch, match_heads
from lightning_physim.probes.metrics import (
    SCORES,
    AblationEffect,
    AttentionDistance,
    ContactClassifier,
    DistanceCorrelation,
    HeadMetric,
    NearScores,
)
from lightning_physim.probes.patterns import attention_patterns, has_attention
from lightning_physim.probes.sample import ProbeSample

__all__ = [
    "AblationEffect",
    "AttentionDistance",
    "ContactClassifier",
    "DistanceCorrelation",
    "HeadMatch",
    "HeadMetric",
    "NearScores",
    "ProbeSample",
    "SCORES",
    "ablation_sums",
    "about_to_touch",
    "attention_distance_sums",
    "attention_patterns",
    "auroc_and_average_precision",
    "collision_score_sums",
    "correlation",
    "distance_correlation_sums",
    "has_attention",
    "match_heads",
    "near_others",
    "pair_scores",
    "partner_score_sums",
    "reduced_distance",
    "without_self",
]
