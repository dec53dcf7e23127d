"""How heads emerge: growth laws of their scores, with intervals, and when not to believe them."""

from lightning_physim.emergence.growth import (
    GrowthComparison,
    PowerLawFit,
    approach,
    compare_growth_laws,
    fit_power_law,
)

__all__ = ["GrowthComparison", "PowerLawFit", "approach", "compare_growth_laws", "fit_power_law"]
