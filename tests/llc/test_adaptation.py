"""Kernels of a quadratic loss whose curvature is known only in part, against what is known of the rest."""

import math

import pytest
import torch
from torch import nn

from lightning_physim.llc import SGLDConfig
from lightning_physim.llc.adaptation import MAX_PERSISTENCE, adapt
from lightning_physim.llc.basin import Basin
from lightning_physim.llc.minibatches import Minibatches
from lightning_physim.llc.objective import Group, Objective
from lightning_physim.llc.preconditioner import Directions, LowRank
from lightning_physim.llc.regions import Region
from lightning_physim.llc.sampler import Job, Kernel, Replicas

GAMMA, N_BETA = 2.0, 10.0


class Weights(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(size, dtype=torch.float64))


def kernel_of(curvatures: torch.Tensor, n_known: int, stiff_samples: float = 1.0, **settings) -> tuple[Kernel, Basin]:
    """Of ``sum h w^2 / 2`` with the first directions known; h is larger by a factor in one of four minibatches."""
    factors = torch.ones(8, dtype=torch.float64)
    factors[0] = stiff_samples
    objective = Objective(
        Weights(len(curvatures)), lambda m, b: 0.5 * b[0].mean() * (curvatures * m.w.square()).sum(), (factors,)
    )
    group = Group(objective, [Region("all", None, objective.frozen)], 16)
    minibatches = Minibatches(objective, ["w"], 2, 0)
    replicas = Replicas(group, [Job(group.regions[0], N_BETA, GAMMA, 1.0)], [(0, -1)])
    known = Directions.of_each(torch.eye(len(curvatures), dtype=torch.float64)[None, :n_known])
    values = N_BETA * curvatures[None, :n_known] + GAMMA
    basin = Basin.of(replicas, minibatches.whole, values, known)
    config = SGLDConfig(n_beta=N_BETA, localization=GAMMA, preconditioner="curvature", **settings)
    return adapt(replicas, basin, True, config, minibatches), basin


def missed_by(kernel: Kernel, basin: Basin) -> float:
    assert isinstance(kernel.preconditioner, LowRank)
    return float(kernel.preconditioner.rest / basin.covariance.rest)


def test_one_stiff_direction_among_thousands_is_found():
    curvatures = torch.linspace(5.0, 0.0, 4000, dtype=torch.float64)
    curvatures[:3], curvatures[7] = torch.tensor([50.0, 20.0, 5.0]), 60.0
    exact = (N_BETA * 60 + GAMMA) / (N_BETA * 5 + GAMMA)
    assert missed_by(*kernel_of(curvatures, 3)) == pytest.approx(exact, rel=0.02)


def test_what_is_known_is_not_missed():
    curvatures = torch.linspace(5.0, 1.0, 40, dtype=torch.float64)
    assert missed_by(*kernel_of(curvatures, 12)) == pytest.approx(1.0, abs=1e-6)


def test_samples_that_are_stiff_alone_count_as_the_share_that_they_are():
    curvatures = torch.full((40,), 5.0, dtype=torch.float64)
    # Half of one of four minibatches is a hundred times as stiff, and chains see it at every fourth step.
    exact = (N_BETA * 5 * (3 + (1 + 100) / 2) / 4 + GAMMA) / (N_BETA * 5 + GAMMA)
    assert missed_by(*kernel_of(curvatures, 12, stiff_samples=100.0)) == pytest.approx(exact, rel=1e-4)


def test_friction_is_for_the_softest_direction_there_can_be():
    curvatures = torch.linspace(4.0, 0.0, 9, dtype=torch.float64)
    some, basin = kernel_of(curvatures, 3, integrator="baoab")
    assert float(some.persistence) == pytest.approx(math.exp(-2 * (GAMMA / float(basin.covariance.rest)) ** 0.5))
    every, _ = kernel_of(curvatures, 9, integrator="baoab")
    assert float(every.persistence) == pytest.approx(math.exp(-2)) and math.exp(-2) < MAX_PERSISTENCE
