import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from lightning_physim.target import ResidualTarget, free_flight


def test_free_flight_solves_the_equation_of_motion():
    gravity, interval = 9.81, 0.3
    start = [0.2, 1.0, -0.7, 2.0]
    exact = solve_ivp(lambda t, s: [s[2], s[3], 0.0, -gravity], (0, interval), start, rtol=1e-12, atol=1e-12).y[:, -1]
    ours = free_flight(torch.tensor(start, dtype=torch.float64), interval, gravity)
    np.testing.assert_allclose(ours.numpy(), exact, atol=1e-10)


def test_statistics_are_those_of_numpy_and_free_flight_has_loss_one():
    rng = np.random.default_rng(0)
    states = rng.normal(size=(13, 6, 5, 4)) * [1.0, 2.0, 3.0, 4.0] + [0.5, 0.0, -1.0, 2.0]
    target = ResidualTarget.fit(states, interval=0.1, gravity=1.0, chunk=4)
    flat = states.reshape(-1, 4)
    np.testing.assert_allclose(target.state_mean, flat.mean(0), rtol=1e-6)
    np.testing.assert_allclose(target.state_std, flat.std(0), rtol=1e-6)
    x = torch.from_numpy(states).float()
    missed = target.residual(x[:, :-1], x[:, 1:])
    np.testing.assert_allclose(missed.square().mean((0, 1, 2)), np.ones(4), rtol=1e-5)


def test_advance_undoes_residual_also_under_another_gravity():
    target = ResidualTarget((0.1, 0.2, 0.3, 0.4), (1, 2, 3, 4), (0.5, 0.6, 0.7, 0.8), interval=0.1, gravity=1.0)
    state, after = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    for gravity in (None, torch.tensor(7.0)):
        torch.testing.assert_close(target.advance(state, target.residual(state, after, gravity), gravity), after)
    assert not torch.allclose(target.free_flight(state), target.free_flight(state, torch.tensor(7.0)))


def test_a_component_that_never_varies_stays_finite():
    states = np.zeros((2, 3, 4, 4))
    target = ResidualTarget.fit(states, interval=0.1, gravity=0.0)
    assert torch.isfinite(target.residual(torch.zeros(1, 1, 4), torch.ones(1, 1, 4))).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_statistics_travel_in_the_checkpoint(dtype):
    target = ResidualTarget((1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12), interval=0.25, gravity=2.0)
    other = ResidualTarget()
    other.load_state_dict(target.state_dict())
    state = torch.randn(2, 3, 4, dtype=dtype)
    torch.testing.assert_close(other.free_flight(state), target.free_flight(state))
    torch.testing.assert_close(other.standardize(state), target.standardize(state))
