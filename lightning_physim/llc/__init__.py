"""Local learning coefficients by stochastic gradient Langevin dynamics, with error bars."""

from lightning_physim.llc.calibration import Calibration, calibrate
from lightning_physim.llc.config import SGLDConfig
from lightning_physim.llc.diagnostics import LIMITS, diagnose, is_far_off
from lightning_physim.llc.estimator import default_n_beta, estimate_llc
from lightning_physim.llc.gauss_newton import gauss_newton_spectra
from lightning_physim.llc.regions import HeadRegion, head_regions
from lightning_physim.llc.result import LLCResult, RegionResult
from lightning_physim.llc.spectrum import SampledSpectrum, Spectrum

__all__ = [
    "Calibration",
    "HeadRegion",
    "LIMITS",
    "LLCResult",
    "RegionResult",
    "SGLDConfig",
    "SampledSpectrum",
    "Spectrum",
    "calibrate",
    "default_n_beta",
    "diagnose",
    "estimate_llc",
    "gauss_newton_spectra",
    "head_regions",
    "is_far_off",
]
