"""Draws against the integral that they stand for, summed over a grid."""

import numpy as np
import pytest

from lightning_physim.emergence.fit import Fitter
from lightning_physim.emergence.noise import CORRELATION
from lightning_physim.emergence.posterior import _random


def test_draws_of_an_exponential_spread_as_the_integral_over_a_grid():
    steps = np.array([10.0, 15, 20, 30, 40, 60, 80, 110, 150, 200])
    t, n = steps - 10.0, len(steps)
    values = 0.9 - 0.8 * np.exp(-t / 50) + np.random.default_rng(2).normal(0, 0.2, n)
    fit = Fitter("exponential", steps).fit(values)

    lags = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    at_fit = np.linalg.inv(fit.correlation**lags)
    log_times = np.linspace(np.log(1e-4 * t[-1]), np.log(10 * t[-1]), 161)
    edges = np.linspace(*CORRELATION, 31)
    correlations = (edges[1:] + edges[:-1]) / 2
    grid = np.stack(np.meshgrid(*2 * [np.linspace(-10, 10, 31)]), axis=-1).reshape(-1, 2)
    density = np.zeros((len(log_times), len(correlations)))
    for j, rho in enumerate(correlations):
        covariance = rho**lags
        precision, size = np.linalg.inv(covariance), np.linalg.det(covariance)
        for i, time in enumerate(np.exp(log_times)):
            left = np.exp(-t / time)
            linear = np.stack([np.ones(n), -left], axis=1)
            # Plateau and amplitude on a grid that is as wide and as slanted as the points allow.
            covered = np.linalg.inv(linear.T @ precision @ linear)
            middle = covered @ linear.T @ precision @ values
            rest = values - linear @ middle
            scale = np.linalg.cholesky(covered) * np.sqrt(rest @ precision @ rest / (n - 2))
            plateau, amplitude = (middle + grid @ scale.T).T
            residuals = values - plateau[:, None] + amplitude[:, None] * left
            squares = ((residuals @ precision) * residuals).sum(1)
            # Jeffreys' measure of plateau, amplitude and log time is proportional to the amplitude.
            slopes = np.column_stack([linear, -left * t / time])
            volume = np.sqrt(max(np.linalg.det(slopes.T @ at_fit @ slopes), 0.0))
            # The integral of the likelihood, and of 1 / noise, over the noise.
            likelihood = size**-0.5 * squares ** (-n / 2)
            inside = np.maximum(amplitude, 0.0) * likelihood
            density[i, j] = volume * np.linalg.det(scale) * inside.sum()

    for name, axis, share in (("time", log_times, density.sum(1)), ("correlation", correlations, density.sum(0))):
        below = (np.cumsum(share) - 0.5 * share) / share.sum()
        drawn = np.log(fit.draws["time"]) if name == "time" else fit.draws[name]
        for level in (0.5, 0.8, 0.95):
            ends = np.interp(fit.draws.interval(drawn, level), axis, below)
            # Four standard errors of a share among as many draws.
            error = np.sqrt((1 - level**2) / 4 / fit.draws.ess)
            np.testing.assert_allclose(ends, [(1 - level) / 2, (1 + level) / 2], atol=4 * error, err_msg=name)


def test_the_noise_has_as_many_degrees_of_freedom_as_points_beyond_plateau_and_amplitude():
    for n in (8, 20):
        assert _random(3, n)[2].mean() == pytest.approx(n - 2, rel=0.03)
