"""How heads emerge: growth laws of their scores, with intervals, and when not to believe them."""

from lightning_physim.emergence.claim_geometry import llc_rises_with_score
from lightning_physim.emergence.claim_growth import (
    POWER_LAWS,
    Growth,
    growth_is_power_law,
    growth_of_heads,
    growth_of_loss,
)
from lightning_physim.emergence.claims import Claim, Study, collision_heads_exist
from lightning_physim.emergence.curve import approach
from lightning_physim.emergence.evidence import COLLISION_HEAD, ONSET, Head, Metrics, final, heads_of
from lightning_physim.emergence.forecast import Extrapolation, Forecast, extrapolate, forecast, forecast_of
from lightning_physim.emergence.growth import (
    GrowthComparison,
    PowerLawFit,
    best_fit,
    compare_fits,
    compare_growth_laws,
    fit_laws,
    fit_power_law,
)
from lightning_physim.emergence.onset import Onset, emergence_threshold, emerging, onset_step

__all__ = [
    "COLLISION_HEAD",
    "Claim",
    "Extrapolation",
    "Forecast",
    "Growth",
    "GrowthComparison",
    "Head",
    "Metrics",
    "ONSET",
    "Onset",
    "POWER_LAWS",
    "PowerLawFit",
    "Study",
    "approach",
    "best_fit",
    "collision_heads_exist",
    "compare_fits",
    "compare_growth_laws",
    "emergence_threshold",
    "emerging",
    "extrapolate",
    "final",
    "fit_laws",
    "fit_power_law",
    "forecast",
    "forecast_of",
    "growth_is_power_law",
    "growth_of_heads",
    "growth_of_loss",
    "heads_of",
    "llc_rises_with_score",
    "onset_step",
]
