"""What the metrics are measured in, and which way is better: one table for Weights & Biases."""

from typing import NamedTuple


class Definition(NamedTuple):
    """Of all metrics that ``keys`` matches, a key or the beginning of keys with ``*`` behind it."""

    keys: str
    unit: str
    goal: str | None = None
    """``"minimize"`` or ``"maximize"``; None where neither is better."""


STANDARDISED = "variance of the standardised residual"
DEFINITIONS = (
    Definition("train/loss", STANDARDISED, "minimize"),
    Definition("val/loss*", STANDARDISED, "minimize"),
    Definition("val/floor_*", STANDARDISED),
    Definition("rollout/mse@*", "squared unit of length", "minimize"),
    Definition("rollout/energy_error@*", "share of the true energy", "minimize"),
    Definition("rollout/momentum_error@*", "share of the true momentum", "minimize"),
    Definition("probe/collision_score/*", "share of attention", "maximize"),
    Definition("probe/partner_score/*", "share of attention", "maximize"),
    Definition("probe/enrichment/*", "times uniform attention", "maximize"),
    Definition("probe/best_enrichment", "times uniform attention", "maximize"),
    Definition("probe/distance_correlation/*", "correlation"),
    Definition("probe/auroc/*", "probability", "maximize"),
    Definition("probe/average_precision/*", "precision", "maximize"),
    Definition("probe/ablation/*", STANDARDISED, "maximize"),
    Definition("llc/*", "1 for the coefficient and its error; counts and ratios beside it"),
    Definition("emergence/*", "1 for exponents; optimizer steps for the onset"),
    Definition("time/*", "seconds"),
)
"""They go into the configuration of a run: wandb 0.31 has no place for a unit, and none for a direction that would not
change the summary too."""
