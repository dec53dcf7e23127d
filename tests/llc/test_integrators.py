"""How chains move, against the equations of motion that scipy solves and the time that theory says."""

import math

import pytest
import torch
from scipy.integrate import solve_ivp
from torch import nn

from lightning_physim.llc import SGLDConfig, estimate_llc
from lightning_physim.llc.preconditioner import Directions, Identity
from lightning_physim.llc.sampler import ChainState, Kernel


@pytest.mark.parametrize("curvature, friction", [(1.0, 2.0), (4.0, 1.0), (1.0, 8.0)])
def test_a_chain_without_noise_moves_as_a_damped_oscillator_does(curvature, friction):
    time, steps = 0.01, 300
    kernel = Kernel(
        step_size=torch.full((1, 1), time**2, dtype=torch.float64), preconditioner=Identity(),
        persistence=torch.full((1, 1), math.exp(-friction * time), dtype=torch.float64),
        stability=torch.zeros(1), leading=Directions.of_each(torch.zeros(1, 0, 1)), loss_fraction=torch.zeros(1, 0),
    )  # fmt: skip
    state, still = ChainState.at(torch.ones(1, 1).double(), torch.zeros(1, 1).double()), torch.zeros(1, 1).double()
    for _ in range(steps):
        displacement, velocity = kernel.move(state, curvature * state.displacement, still)
        state = ChainState(displacement, state.alive, velocity)
    motion = solve_ivp(
        lambda t, y: [y[1], -curvature * y[0] - friction * y[1]], (0, time * steps), [1.0, 0.0], rtol=1e-9, atol=1e-12
    )
    assert float(state.displacement) == pytest.approx(motion.y[0, -1], abs=2e-3)
    assert 0.01 < abs(motion.y[0, -1]) < 0.9


def quadratic(integrator: str, condition: float):
    """Of two directions, whose curvatures differ by a factor that no preconditioner takes away; exactly 1."""
    weights = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(weights.weight)
    curvature = torch.tensor([1.0, 1 / condition])
    config = SGLDConfig(
        n_beta=1000.0, integrator=integrator, n_chains=32, n_draws=600, n_burn_in=300, batch_size=None
    )  # fmt: skip
    result = estimate_llc(
        weights, lambda module, batch: 0.5 * (curvature * module.weight[0].square()).sum(), (torch.zeros(4, 1),),
        config=config,
    )  # fmt: skip
    return result["model"]


def test_with_inertia_chains_forget_in_the_root_of_the_time():
    slow, fast = quadratic("leimkuhler_matthews", 100.0), quadratic("baoab", 100.0)
    for found in (slow, fast):
        assert found.mean == pytest.approx(1.0, abs=4 * found.mcse) and not found.failures
    # In units of steps the soft direction takes 2 condition / step without inertia, and 2 sqrt(condition / step) with.
    assert fast.ess > 2.5 * slow.ess
