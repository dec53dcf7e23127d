"""Langevin dynamics of many chains in lockstep: a state, a kernel, and a pure step from one state to the next."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_physim.llc.gradients import GradientEstimator
from lightning_physim.llc.objective import Group, Minibatch, Samples
from lightning_physim.llc.preconditioner import Directions, Preconditioner
from lightning_physim.llc.ranks import stream
from lightning_physim.llc.regions import Region

Key = tuple[int, int]
"""Number of a job, number of a chain."""
NOISE_AHEAD = 4096
"""Random numbers that a chain draws at a time, at least those of one step."""
ABSURD = 100.0
"""A chain is dead once n_beta times the rise of its loss exceeds the d/2 of a regular model by this many times
1 + sqrt(d/2), its standard deviation. A chain that is thrown out may come back, and its draws would be believed."""


@dataclass(frozen=True)
class Job:
    """One region at one setting."""

    region: Region
    n_beta: float
    localization: float
    step_size: float | str
    step_factor: float = 1.0


class Replicas:
    """Chains of one group of regions, and the density ``exp(-n_beta L(w) - gamma/2 |w - w*|^2)`` that each samples.

    Args:
        group: of the regions.
        jobs: by number, those of the keys at least.
        keys: job and chain of each replica; the regions of these jobs are in the group.

    Attributes:
        jobs: of each replica.
        which: number of each replica's region in the group, ``[replicas]``.
        row: of each replica, that of its job among those with replicas here, ``[replicas]``.
        rows: number of each such job, ascending.
        which_of_row: number of each such job's region in the group, ``[rows]``.
        n_beta: inverse temperatures, ``[replicas, 1]``.
        gamma: localizations, ``[replicas, 1]``.
    """

    def __init__(self, group: Group, jobs: Sequence[Job] | Mapping[int, Job], keys: Sequence[Key]) -> None:
        self.group = group
        self.keys = list(keys)
        self.jobs = [jobs[job] for job, _ in keys]
        like = group.anchor
        self.rows = sorted({job for job, _ in keys})
        self.row = torch.tensor([self.rows.index(job) for job, _ in keys], device=like.device)
        self.which_of_row = torch.tensor([group.regions.index(jobs[job].region) for job in self.rows]).to(self.row)
        self.which = self.which_of_row[self.row]
        self.n_beta = torch.tensor([[job.n_beta] for job in self.jobs], device=like.device, dtype=like.dtype)
        self.gamma = torch.tensor([[job.localization] for job in self.jobs], device=like.device, dtype=like.dtype)

    def __len__(self) -> int:
        return len(self.keys)

    def select(self, rows: Sequence[int]) -> "Replicas":
        """These of them."""
        jobs = {key[0]: job for key, job in zip(self.keys, self.jobs, strict=True)}
        return Replicas(self.group, jobs, [self.keys[row] for row in rows])

    def potential(self, displacement: Tensor, samples: Samples) -> tuple[Tensor, Tensor]:
        """``n_beta L_B(w) + gamma/2 |w - w*|^2`` ``[replicas]`` and its gradient ``[replicas, size]``."""
        loss, gradient = self.group.loss_and_gradient(displacement, self.which, samples)
        energy = self.n_beta[:, 0] * loss + self.gamma[:, 0] / 2 * displacement.square().sum(1)
        return energy, self.n_beta * gradient + self.gamma * displacement


class Noise:
    """Standard normal numbers ``[replicas, size]``, each replica's from a stream of its own.

    A stream depends on the seed, the region's name, the chain's number and a purpose, not on what else is sampled.
    """

    def __init__(self, replicas: Replicas, seed: int, *purpose: str) -> None:
        self.like = replicas.group.anchor[0]
        self.streams = [
            stream(self.like.device, seed, job.region.name, chain, *purpose)
            for job, (_, chain) in zip(replicas.jobs, replicas.keys, strict=True)
        ]
        self.ahead: list[Tensor] = []

    def draw(self) -> Tensor:
        # Small regions draw for many steps at once: a call for each chain and step would cost more than the step.
        if not self.ahead:
            n = max(1, NOISE_AHEAD // len(self.like))
            draws = torch.stack([normal(generator, n, self.like) for generator in self.streams], 1)
            self.ahead = list(draws.flip(0))
        return self.ahead.pop()

    def select(self, rows: Sequence[int]) -> "Noise":
        """That of these replicas, from here on."""
        chosen = copy.copy(self)
        chosen.streams = [self.streams[row] for row in rows]
        chosen.ahead = [draw[list(rows)] for draw in self.ahead]
        return chosen


@dataclass(frozen=True)
class ChainState:
    """Where the replicas stand.

    Attributes:
        displacement: from w*, ``[replicas, size]``.
        alive: bool ``[replicas]``; a chain that diverged stays dead, at no displacement, and yields NaN.
        velocity: in units of the preconditioner's root, ``[replicas, size]``; of Euler's scheme, which has none, the
            noise of the step before.
    """

    displacement: Tensor
    alive: Tensor
    velocity: Tensor

    @classmethod
    def at(cls, displacement: Tensor, velocity: Tensor) -> "ChainState":
        """All replicas alive, at these displacements."""
        return cls(displacement, torch.ones(len(displacement), dtype=torch.bool, device=displacement.device), velocity)

    def select(self, rows: Tensor) -> "ChainState":
        """That of these replicas."""
        return ChainState(self.displacement[rows], self.alive[rows], self.velocity[rows])


@dataclass(frozen=True)
class Kernel:
    """How the replicas move.

    Attributes:
        step_size: in units of the preconditioner, ``[replicas, 1]``.
        preconditioner: of each replica.
        persistence: fraction of its velocity that a chain keeps from one step to the next, ``[replicas, 1]``: 0 in the
            limit of strong friction. None for Euler's scheme.
        stability: ``step_size a_max / 4`` with the largest curvature a_max, ``[replicas]``.
        leading: directions of largest curvature, in units of the preconditioner.
        loss_fraction: how much of the curvature in these is the loss's; the rest is the localization's.
            ``[replicas, rank]``.
    """

    step_size: Tensor
    preconditioner: Preconditioner
    persistence: Tensor | None
    stability: Tensor
    leading: Directions
    loss_fraction: Tensor

    def select(self, rows: Tensor) -> "Kernel":
        """The kernel of these replicas."""
        return Kernel(
            step_size=self.step_size[rows],
            preconditioner=self.preconditioner.select(rows),
            persistence=None if self.persistence is None else self.persistence[rows],
            stability=self.stability[rows],
            leading=self.leading.select(rows),
            loss_fraction=self.loss_fraction[rows],
        )

    def euler(self, displacement: Tensor, force: Tensor, noise: Tensor) -> Tensor:
        """The displacement one step later, with the gradient ``force`` of the potential."""
        drift = self.step_size / 2 * self.preconditioner.apply(force)
        return displacement - drift + self.step_size.sqrt() * self.preconditioner.root(noise)

    def move(self, state: ChainState, force: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Displacement and velocity one step later, with the gradient ``force`` of the potential.

        BAOAB (Leimkuhler and Matthews 2013, arXiv 1203.5428) with unit mass, from one refreshed velocity to the
        next, so that one gradient makes both kicks. Without persistence it is their method for strong friction.
        """
        if self.persistence is None:
            return self.euler(state.displacement, force, noise), noise
        time = self.step_size.sqrt()
        kicked = state.velocity - time * self.preconditioner.root(force)
        refreshed = self.persistence * kicked + (1 - self.persistence.square()).sqrt() * noise
        return state.displacement + time / 2 * self.preconditioner.root(kicked + refreshed), refreshed


class Draw(NamedTuple):
    """What is seen of the replicas where they stand.

    Attributes:
        value: n_beta times the rise of the loss beyond its slope, ``[replicas]``; NaN for dead chains.
        gradient: n_beta times the estimated gradient of the loss, ``[replicas, size]``.
    """

    value: Tensor
    gradient: Tensor


def step(
    state: ChainState,
    minibatch: Minibatch,
    noise: Tensor,
    replicas: Replicas,
    estimator: GradientEstimator,
    kernel: Kernel,
) -> tuple[ChainState, Draw]:
    """The state after one step, and the draw before it.

    Args:
        state: before the step.
        minibatch: of the gradient.
        noise: standard normal, ``[replicas, size]``.
        replicas: what is sampled.
        estimator: of the gradient.
        kernel: how the replicas move.
    """
    u, size = state.displacement, replicas.group.size
    rise, gradient = estimator.rise_and_gradient(u, replicas.row, minibatch)
    value = replicas.n_beta[:, 0] * rise.beyond_slope(u)
    gradient = replicas.n_beta * gradient
    limit = size / 2 + ABSURD * (1 + (size / 2) ** 0.5)
    alive = state.alive & torch.isfinite(value) & (value < limit) & torch.isfinite(gradient).all(1)
    force = gradient + replicas.gamma * u
    displacement, velocity = (torch.where(alive[:, None], each, 0.0) for each in kernel.move(state, force, noise))
    return ChainState(displacement, alive, velocity), Draw(torch.where(alive, value, torch.nan), gradient)


def noise_ratio(
    state: ChainState,
    minibatches: Sequence[Minibatch],
    replicas: Replicas,
    estimator: GradientEstimator,
    kernel: Kernel,
) -> Tensor:
    """Relative rise of the estimate ``[replicas]`` by the noise of minibatch gradients, where the chains stand.

    In a quadratic direction i it is step_size n_beta^2 Var_i(grad L_B) / 4, times (1 + p) / (1 - p) for chains of
    persistence p, which are cooled by less; the mean over the leading directions, weighted by what each contributes to
    the estimate. 0 for the whole data set.
    """
    if len(minibatches) < 2:
        return torch.zeros_like(kernel.stability)
    along = []
    for minibatch in minibatches:
        _, gradient = estimator.rise_and_gradient(state.displacement, replicas.row, minibatch)
        along.append(kernel.leading.along(kernel.preconditioner.root(replicas.n_beta * gradient)))
    ratio = kernel.step_size * torch.stack(along).var(0) / 4
    if kernel.persistence is not None:
        ratio = ratio * (1 + kernel.persistence) / (1 - kernel.persistence)
    return (ratio * kernel.loss_fraction).sum(1) / kernel.loss_fraction.sum(1)


def acceptance(state: ChainState, samples: Samples, noise: Tensor, replicas: Replicas, kernel: Kernel) -> Tensor:
    """Probability ``[replicas]`` that Metropolis would accept a step from here, both energies on ``samples``.

    A check of the step size: near 1 for a small one. NaN for another integrator than Euler's, which gets averages
    right by steps that Metropolis would refuse.
    """
    if kernel.persistence is not None:
        return torch.full_like(kernel.stability, torch.nan)
    energy, force = replicas.potential(state.displacement, samples)
    energy_there, force_there = replicas.potential(kernel.euler(state.displacement, force, noise), samples)
    # The noise that would lead back, up to its sign.
    back = noise - kernel.step_size.sqrt() / 2 * kernel.preconditioner.root(force + force_there)
    log_ratio = energy - energy_there + (noise.square() - back.square()).sum(1) / 2
    return torch.nan_to_num(log_ratio, nan=-torch.inf).clamp_max(0).exp()


def normal(generator: torch.Generator, n: int, like: Tensor) -> Tensor:
    """Standard normal numbers ``[n, size]`` of the type of ``like`` ``[size]``."""
    return torch.randn(n, len(like), generator=generator, device=like.device, dtype=like.dtype)
