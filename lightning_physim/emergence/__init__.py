"""How heads emerge: growth laws of their scores, with intervals, and when not to believe them."""

from lightning_physim.emergence.curve import approach
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
    "Extrapolation",
    "Forecast",
    "GrowthComparison",
    "Onset",
    "PowerLawFit",
    "approach",
    "best_fit",
    "compare_fits",
    "compare_growth_laws",
    "emergence_threshold",
    "emerging",
    "extrapolate",
    "fit_laws",
    "fit_power_law",
    "forecast",
    "forecast_of",
    "onset_step",
]
