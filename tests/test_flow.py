"""Gradient flow by a Runge-Kutta-Chebyshev method."""

import copy

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.special import eval_chebyt

from lightning_physim.errors import InputError
from lightning_physim.flow import DAMPING, RungeKuttaChebyshev


def descend(weights: torch.Tensor, loss, optimizer, steps: int) -> np.ndarray:
    """The path of some weights, ``[steps + 1, weights]``."""
    path = [weights.detach().clone()]
    for _ in range(steps):
        optimizer.zero_grad()
        loss(weights).backward()
        optimizer.step()
        path.append(weights.detach().clone())
    return torch.stack(path).numpy()


def parameter(*values: float) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.tensor(values, dtype=torch.float64))


@pytest.mark.parametrize("stages", [1, 2, 5, 12])
def test_every_stage_is_the_damped_chebyshev_polynomial(stages):
    curvatures, lr = torch.tensor([0.0, 0.3, 2.0, 20.0, 200.0], dtype=torch.float64), 0.25
    weights = parameter(*[1.0] * 5)
    path = descend(
        weights, lambda w: 0.5 * (curvatures * w**2).sum(), RungeKuttaChebyshev([weights], lr, stages), 2 * stages
    )
    centre = 1 + DAMPING / stages**2
    # T' by differences: the method's own is that of numpy.
    slope = (eval_chebyt(stages, centre + 1e-6) - eval_chebyt(stages, centre - 1e-6)) / 2e-6
    stretch = eval_chebyt(stages, centre) / slope
    for stage in range(1, stages + 1):
        shrunk = eval_chebyt(stage, centre - stretch * lr * curvatures.numpy()) / eval_chebyt(stage, centre)
        assert path[stage] == pytest.approx(shrunk, rel=1e-6, abs=1e-9)
    assert path[2 * stages] == pytest.approx(shrunk**2, rel=1e-6, abs=1e-9)


def test_it_follows_gradient_flow_to_first_order():
    def loss(w):
        return (w[0] ** 2 - 1) ** 2 + 3 * (w[1] - w[0] ** 2) ** 2

    def slope(_, point):
        w = parameter(*point)
        loss(w).backward()
        return -w.grad.numpy()

    exact = solve_ivp(slope, (0, 1), [0.2, -1.0], rtol=1e-10, atol=1e-12).y[:, -1]
    errors = []
    for lr in (0.01, 0.005):
        weights = parameter(0.2, -1.0)
        path = descend(weights, loss, RungeKuttaChebyshev([weights], lr, 4), round(4 / lr))
        errors.append(np.abs(path[-1] - exact).max())
    assert errors[0] < 0.01 and errors[0] / errors[1] == pytest.approx(2, abs=0.2)


def test_it_is_stable_where_gradient_descent_at_its_price_is_not():
    stages, lr = 12, 0.25
    stiff = 0.97 * 1.87 * stages**2 / lr
    assert lr / stages * stiff > 2
    weights = parameter(1.0, 1.0)
    curvatures = torch.tensor([0.1, stiff], dtype=torch.float64)
    path = descend(
        weights, lambda w: 0.5 * (curvatures * w**2).sum(), RungeKuttaChebyshev([weights], lr, stages), 100 * stages
    )
    assert np.abs(path[:, 1]).max() <= 1 + 1e-9 and abs(path[-1, 1]) < 1e-3
    assert path[-1, 0] == pytest.approx(np.exp(-2.5), rel=0.25 * 0.1**2 * 25 / 2)  # as (1 - h lr)^n falls short


def test_noise_is_that_of_gradient_descent_at_a_smaller_rate():
    stages, lr, flat = 12, 0.3, 0.05
    draws = torch.randn(40 * stages, 4000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weights = parameter(*[0.0] * 4000)
    optimizer = RungeKuttaChebyshev([weights], lr, stages)
    for noise in draws:
        weights.grad = flat * weights.detach() + noise
        optimizer.step()
    rate, n = 4 / 3 * lr / stages, 40 * stages
    time = 40 * lr  # variance of an Ornstein-Uhlenbeck process of that temperature
    expected = rate / (2 * flat) * (1 - np.exp(-2 * flat * time))
    assert len(draws) == n and float(weights.detach().var()) == pytest.approx(expected, rel=0.1)


def test_one_stage_is_gradient_descent():
    ours, theirs = parameter(1.0, -2.0), parameter(1.0, -2.0)
    paths = [
        descend(weights, lambda w: (w**4).sum(), optimizer, 5)
        for weights, optimizer in (
            (ours, RungeKuttaChebyshev([ours], 0.01, 1)),
            (theirs, torch.optim.SGD([theirs], lr=0.01)),
        )
    ]
    assert paths[0] == pytest.approx(paths[1], rel=1e-12)


def test_a_resume_in_the_midst_of_a_cycle_is_exact():
    def loss(w):
        return (w**4).sum() + w.prod()

    whole, parted = parameter(1.0, -2.0), parameter(1.0, -2.0)
    optimizer = RungeKuttaChebyshev([whole], 0.1, 5)
    path = descend(whole, loss, optimizer, 13)
    first = RungeKuttaChebyshev([parted], 0.1, 5)
    descend(parted, loss, first, 7)
    second = RungeKuttaChebyshev([parted], 0.1, 5)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert (descend(parted, loss, second, 6)[-1] == path[-1]).all()


def test_a_closure_and_frozen_weights():
    weights, frozen = parameter(1.0), torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = RungeKuttaChebyshev([weights, frozen], 0.1, 1)

    def closure():
        optimizer.zero_grad()
        loss = (weights**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 1
    assert weights.item() == pytest.approx(0.8) and frozen.item() == 1


@pytest.mark.parametrize(
    "lr, stages, words", [(0.0, 4, "lr must be positive"), (0.1, 0, "stages must be at least 1; got 0")]
)
def test_what_cannot_be_is_refused(lr, stages, words):
    with pytest.raises(InputError, match=words):
        RungeKuttaChebyshev([parameter(1.0)], lr, stages)
