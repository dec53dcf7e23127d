"""Pairs of states that differ in one particle, and the simulator's answer for each."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_physim.physics import Integrator, ParticleSystem, simulate
from lightning_physim.probes import about_to_touch, reduced_distance
from lightning_physim.target import ResidualTarget

N_PLACES = 128
"""Places that are tried for a particle that is put out of the way."""


@dataclass(frozen=True)
class Simulator:
    """The exact answer over one interval, in the units of the network's target.

    Args:
        system: the particles.
        target: statistics of the training data.
        integrator, dt: as of :func:`lightning_physim.physics.simulate`.
    """

    system: ParticleSystem
    target: ResidualTarget
    integrator: Integrator = "averaged"
    dt: float | None = None

    def __call__(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Standardised residuals of states ``[n, particles, 4]``, and which pairs touch, ``[n, particles, particles]``.

        Discs of a state may overlap a little, as those of a trajectory do.

        Raises:
            InputError: discs that go through each other.
        """
        if not len(states):
            return torch.zeros_like(states), torch.zeros(*states.shape[:2], states.shape[1], dtype=torch.bool)
        positions, velocities = states.double().cpu().split(2, dim=-1)
        path = simulate(
            self.system, positions.numpy(), velocities.numpy(), 1, self.integrator, self.dt, check_overlap=False
        )
        after = torch.cat([torch.from_numpy(x[:, 1]) for x in (path.positions, path.velocities)], -1)
        residuals = self.target.residual(states.cpu().double(), after, torch.tensor(self.system.gravity))
        return residuals.float(), torch.from_numpy(path.contacts[:, 0])


class Cases(NamedTuple):
    """Colliding particles, each with the one that it meets.

    Attributes:
        states: ``[n, particles, 4]``.
        query: the colliding particle, ``[n]``.
        partner: the particle that it touches within the interval and does not touch yet, ``[n]``.
        group: number of the probe state that the case is from, ``[n]``: cases of one are not independent.
    """

    states: Tensor
    query: Tensor
    partner: Tensor
    group: Tensor

    def of_query(self, values: Tensor) -> Tensor:
        """Values ``[..., n, particles, d]`` of the queries alone, ``[..., n, d]``."""
        return values[..., torch.arange(len(self.query)), self.query, :]

    def where(self, chosen: Tensor) -> "Cases":
        """Some of them, bool ``[n]``."""
        return Cases(*(part[chosen] for part in self))


def colliding_cases(states: Tensor, contacts: Tensor, contact_distance: Tensor, n: int) -> Cases:
    """At most ``n`` cases out of probe states, spread evenly over all.

    Args:
        states: ``[systems, particles, 4]``.
        contacts: bool ``[systems, particles, particles]``, which pairs touch in the interval that follows.
        contact_distance: ``[particles, particles]``, sums of radii.
    """
    found = about_to_touch(states, contacts, contact_distance).nonzero()
    if len(found) > n:
        found = found[torch.linspace(0, len(found) - 1, n).round().long()]
    group, query, partner = found.unbind(-1)
    return Cases(states[group], query, partner, group)


def put_away(states: Tensor, particle: Tensor, system: ParticleSystem, seed: int = 0) -> Tensor:
    """States ``[n, particles, 4]`` with one particle each, ``[n]``, at the loneliest of some random places.

    Its velocity stays, and so does everybody else.
    """
    radii, box = torch.from_numpy(system.radii).to(states), torch.tensor(system.box).to(states)
    n, rows = len(states), torch.arange(len(states))
    places = torch.rand(n, N_PLACES, 2, generator=torch.Generator().manual_seed(seed)).to(states)
    own = radii[particle][:, None, None]
    places = own + places * (box - 2 * own)
    gaps = torch.cdist(places, states[..., :2]) - radii
    gaps[rows, :, particle] = torch.inf
    result = states.clone()
    result[rows, particle, :2] = places[rows, gaps.amin(-1).argmax(-1)]
    return result


def shifted(cases: Cases, key: Tensor, contact_distance: Tensor, fraction: float) -> Tensor:
    """States with one key each, ``[n]``, moved away from the query, to its left and to its right.

    Args:
        fraction: how far, in contact diameters.

    Returns:
        ``[3, n, particles, 4]``; left and right are as seen by the query, across the line of centres.
    """
    rows = torch.arange(len(key))
    line = cases.states[rows, key, :2] - cases.states[rows, cases.query, :2]
    step = line / line.norm(dim=-1, keepdim=True) * fraction * contact_distance[cases.query, key][:, None]
    left = torch.stack((-step[:, 1], step[:, 0]), -1)
    result = cases.states.expand(3, *cases.states.shape).clone()
    for states, move in zip(result, (step, left, -left), strict=True):
        states[rows, key, :2] += move
    return result


def is_clear(states: Tensor, particle: Tensor, contact_distance: Tensor, box: tuple[float, float] | None) -> Tensor:
    """Whether one particle each, ``[n]``, overlaps no other and no wall: bool ``[n]``.

    Args:
        states: ``[n, particles, 4]``.
        box: None where there are no walls.
    """
    rows = torch.arange(len(states))
    gap = reduced_distance(states[..., :2], contact_distance)[rows, particle]
    gap[rows, particle] = torch.inf
    clear = gap.amin(-1) >= 1
    if box is None:
        return clear
    place, radius = states[rows, particle, :2], contact_distance.diagonal()[particle][:, None] / 2
    return clear & ((place >= radius) & (place <= torch.tensor(box).to(place) - radius)).all(-1)
