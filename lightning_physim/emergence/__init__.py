"""How heads emerge: growth laws of their scores, with intervals, and when not to believe them."""

from lightning_physim.emergence.curve import approach
from lightning_physim.emergence.dynamics import (
    GrowthEquation,
    Velocity,
    collapse,
    growth_order,
    shape_ratio,
    velocity,
)
from lightning_physim.emergence.forecast import (
    MIN_FORECAST,
    NO_DISCREPANCY,
    OF_HEADS,
    Discrepancy,
    Extrapolation,
    Forecast,
    extrapolate,
    forecast,
    forecast_of,
)
from lightning_physim.emergence.growth import (
    UNDECIDED,
    GrowthComparison,
    PowerLawFit,
    best_fit,
    compare_fits,
    compare_growth_laws,
    fit_laws,
    fit_power_law,
)
from lightning_physim.emergence.heads import Growth, growth_of_collision_heads, growth_of_head, growth_of_loss
from lightning_physim.emergence.laws import LAWS, Law, Shape, is_power_law, label
from lightning_physim.emergence.onset import (
    DEPARTURE,
    Onset,
    baseline,
    emergence_threshold,
    emerging,
    ends_of_rise,
    onset_step,
)
from lightning_physim.emergence.relaxation import Relaxation, relaxation

__all__ = [
    "DEPARTURE",
    "Discrepancy",
    "Extrapolation",
    "Forecast",
    "Growth",
    "GrowthComparison",
    "GrowthEquation",
    "LAWS",
    "Law",
    "MIN_FORECAST",
    "NO_DISCREPANCY",
    "OF_HEADS",
    "Onset",
    "PowerLawFit",
    "Relaxation",
    "Shape",
    "UNDECIDED",
    "Velocity",
    "approach",
    "baseline",
    "best_fit",
    "collapse",
    "compare_fits",
    "compare_growth_laws",
    "emergence_threshold",
    "emerging",
    "ends_of_rise",
    "extrapolate",
    "fit_laws",
    "fit_power_law",
    "forecast",
    "forecast_of",
    "growth_of_collision_heads",
    "growth_of_head",
    "growth_of_loss",
    "growth_order",
    "is_power_law",
    "label",
    "onset_step",
    "relaxation",
    "shape_ratio",
    "velocity",
]
