"""Curves like the one that was measured, for intervals: the fitted law with its noise drawn anew."""

import numpy as np
from scipy.optimize import minimize_scalar

from lightning_physim.emergence.fit import Fitter, LawFit, whiten


def resampled(fitter: Fitter, fit: LawFit, values: np.ndarray, n: int, seed: int = 0) -> tuple[np.ndarray, float]:
    """Bootstrap of the innovations of AR(1) noise (Buehlmann 1997, "Sieve bootstrap for time series").

    Residuals are smaller and less correlated than the noise, by what the fit took up. So the correlation is the one of
    highest *restricted* likelihood (Cooper and Thompson 1977), and innovations are scaled by their leverage (Davison and
    Hinkley 1997, section 6.3).

    Args:
        fitter: that made the fit.
        values: ``[points]`` of the fit.
        n: number of curves.

    Returns:
        Curves ``[n, points]``, and the correlation of their noise.
    """
    mean = fit.predict(fitter.steps)
    design, residuals = fitter.jacobian(fit), values - mean
    design = design / np.maximum(np.linalg.norm(design, axis=0), 1e-300)
    correlation = float(
        minimize_scalar(_restricted, args=(design, residuals), bounds=(0.0, 0.95), method="bounded").x
    )
    q, _ = np.linalg.qr(whiten(design.T, correlation).T)
    leverage = np.minimum((q**2).sum(-1), 0.95)
    innovations = whiten(residuals, correlation)
    innovations = (innovations - q @ (q.T @ innovations)) / np.sqrt(1 - leverage)
    rng = np.random.default_rng(seed)
    drawn = rng.choice(innovations - innovations.mean(), (n, len(values)))
    noise = np.empty_like(drawn)
    noise[:, 0] = drawn[:, 0] / np.sqrt(1 - correlation**2)
    for i in range(1, len(values)):
        noise[:, i] = correlation * noise[:, i - 1] + drawn[:, i]
    return mean + noise, correlation


def _restricted(correlation: float, design: np.ndarray, residuals: np.ndarray) -> float:
    """Minus twice the restricted log-likelihood of AR(1) noise, up to a constant."""
    white = whiten(design.T, correlation).T
    q, r = np.linalg.qr(white)
    left = whiten(residuals, correlation)
    left = left - q @ (q.T @ left)
    n, k = design.shape
    determinant = 2 * np.log(np.maximum(np.abs(np.diag(r)), 1e-12)).sum()
    return float((n - k) * np.log(max(left @ left, 1e-300)) + determinant - np.log1p(-(correlation**2)))
