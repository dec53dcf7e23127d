"""The walk with localization alone, against closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from tests.llc.test_basin import estimate, stiff

N_BETA, GAMMA = 800.0, 8.0
SETTINGS = {"n_beta": N_BETA, "localization": GAMMA, "n_chains": 2, "n_draws": 4, "n_burn_in": 0}


@pytest.mark.parametrize("start", [0.0, 0.1])
def test_where_the_curvature_is_known_it_is_the_trace(start):
    """On a slope as well: displacements go both ways."""
    result = estimate(stiff, 3, start=start, **SETTINGS)
    assert result.walk == pytest.approx(N_BETA * 101.01 / (2 * GAMMA), rel=1e-9)
    assert result.walk_mcse < 1e-6 * result.walk


def test_its_error_is_that_of_unknown_curvature():
    """A hundred directions, of which Lanczos finds a few; and quartic ones, whose fourth moment is 3 / gamma^2."""
    h = torch.logspace(1, -1, 100, dtype=torch.float64)
    exact = N_BETA * float(h.sum()) / (2 * GAMMA) + N_BETA * 50 * 3 / GAMMA**2
    found = [
        estimate(lambda w: 0.5 * (h * w[:100] ** 2).sum() + (w[100:] ** 4).sum(), 150, seed=seed, **SETTINGS)
        for seed in range(30)
    ]
    z = np.array([(r.walk - exact) / r.walk_mcse for r in found])
    # Each error is known from eight pairs: Student's t with seven degrees of freedom.
    assert stats.kstest(z, stats.t(7).cdf).pvalue > 0.01, z
    assert max(r.walk_mcse for r in found) < 0.1 * exact


def test_without_localization_it_has_no_end():
    result = estimate(stiff, 3, **SETTINGS | {"localization": 0.0})
    assert math.isnan(result.walk) and math.isnan(result.walk_mcse)
