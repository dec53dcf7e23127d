"""What a spectral measure says of gradient flow and of susceptibilities, against what scipy solves."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad, solve_ivp
from scipy.linalg import cho_factor, cho_solve, expm, qr

from lightning_physim.llc.curvature import quadratic_fall, spectral_measure, susceptibility

TIMES = torch.tensor([0.0, 0.1, 1.0, 5.0], dtype=torch.float64)


def fall(hessian: np.ndarray, gradient: np.ndarray, n_steps: int, times: torch.Tensor = TIMES) -> np.ndarray:
    matrix = torch.tensor(hessian, dtype=torch.float64)
    measure = spectral_measure(lambda v: v @ matrix, torch.tensor(gradient, dtype=torch.float64)[None], n_steps)
    return quadratic_fall(*measure, times)[0].numpy()


@pytest.mark.parametrize("low", [0.0, -0.4])
def test_the_fall_of_a_quadratic_loss_is_exact_for_curvatures_of_either_sign_and_none(low):
    rng = np.random.default_rng(0)
    turned, _ = qr(rng.normal(size=(12, 12)))
    hessian = turned @ np.diag(np.r_[low, 0.0, np.geomspace(1e-3, 30, 10)]) @ turned.T
    start = rng.normal(size=12)
    gradient = hessian @ start + turned[:, 1]  # the flat direction has a slope
    # The gradient of a quadratic moves by the matrix exponential, and the loss falls by the square of it.
    true = [quad(lambda t: np.sum((expm(-hessian * t) @ gradient) ** 2), 0, float(t))[0] for t in TIMES]
    np.testing.assert_allclose(fall(hessian, gradient, 12), true, rtol=1e-7)
    few = [fall(hessian, gradient, n) for n in (2, 4, 6)]
    for less, more in zip(few, [*few[1:], np.array(true)], strict=True):
        assert (less[1:] < more[1:] + 1e-12).all()


def test_down_a_quartic_it_gives_two_thirds_at_the_end_and_a_known_share_before():
    """``x^4`` from x = 1 falls as ``(1 + 8 t)^-2``; its parabola at 1 has the gradient 4 and the curvature 12."""
    times = np.array([0.01, (np.e - 1) / 8, (np.e**2 - 1) / 8, 1e4])
    path = solve_ivp(lambda _, x: -4 * x**3, (0, 1e4), [1.0], t_eval=times, rtol=1e-10, atol=1e-12).y[0]
    predicted = fall(np.array([[12.0]]), np.array([4.0]), 5, torch.tensor(times))
    share = predicted / (1 - path**4)
    # From an origin of time at x = infinity, 1/8 before: over a factor e, and over e squared.
    assert share == pytest.approx([0.998, 0.767, 0.679, 2 / 3], abs=2e-3)


def test_the_susceptibility_is_that_of_the_solved_system_and_of_draws():
    rng = np.random.default_rng(1)
    root = rng.normal(size=(8, 20))
    matrix, vector = root.T @ root, rng.normal(size=20)
    measure = spectral_measure(lambda v: v @ torch.tensor(matrix), torch.tensor(vector)[None], 20)
    for c in (0.1, 10.0):
        factor = cho_factor(matrix + c * np.eye(20))
        assert float(susceptibility(*measure, c)) == pytest.approx(vector @ cho_solve(factor, vector), rel=1e-9)
    # n_beta times the variance of v'w under exp(-n_beta (w'Hw + c w'w) / 2).
    n_beta = 500.0
    draws = rng.multivariate_normal(np.zeros(20), np.linalg.inv(matrix + 10 * np.eye(20)) / n_beta, size=40_000)
    assert n_beta * np.var(draws @ vector) == pytest.approx(float(susceptibility(*measure, 10.0)), rel=0.03)
