"""Three heads built by hand, uniform, nearest neighbour and next collision partner, in a network of known answers."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from lightning_physim.physics import ParticleSystem, simulate
from lightning_physim.target import ResidualTarget

UNIFORM, NEAREST, PARTNER = range(3)
FREE_SPACE = ParticleSystem(
    n_particles=6,
    box=(1.0, 1.0),
    radius=0.06,
    stiffness=50000.0,
    restitution=0.9,
    gravity=0.0,
    interval=0.05,
    walls=False,
)
"""What two particles do to each other does not depend on the others, unless three meet."""
TARGET = ResidualTarget(residual_rms=(0.01, 0.01, 0.3, 0.3), interval=FREE_SPACE.interval)
SHARP = 400.0


class HandMade(nn.Module):
    """One layer of three heads. What a key says to a query is the exact effect that it would have on it alone, so that
    the prediction is the sum over heads of that effect, weighted by their attention."""

    def logits(self, states: Tensor) -> Tensor:
        offset, velocity = (x.unsqueeze(1) - x.unsqueeze(2) for x in states.split(2, dim=-1))
        distance = offset.norm(dim=-1)
        kinds = torch.zeros_like(distance), -SHARP * distance.square(), -SHARP * time_to_contact(offset, velocity)
        scores = torch.stack(kinds, 1)
        scores.diagonal(dim1=-2, dim2=-1).fill_(-torch.inf)
        return scores.unsqueeze(0)

    def attention(self, states: Tensor) -> Tensor:
        return self.logits(states).softmax(-1)

    def heads(self, states: Tensor) -> Tensor:
        """Outputs ``[systems, heads, particles, 4]``."""
        return torch.einsum("shqk,sqkd->shqd", self.attention(states)[0], pair_effects(states))

    def forward(self, states: Tensor) -> Tensor:
        return TARGET.advance(states, self.heads(states).sum(1))

    def patch(self, states: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        here, there = self.heads(states), self.heads(others)
        intact = here.sum(1)
        return intact, (intact.unsqueeze(1) + there - here).transpose(0, 1).unsqueeze(0)


def time_to_contact(offset: Tensor, velocity: Tensor) -> Tensor:
    """When two discs on straight paths touch, ``[..., 2]`` to ``[...]``; 1 where they do not within a time of 1."""
    reach = 2 * float(FREE_SPACE.radii[0])
    closing = -(offset * velocity).sum(-1)
    speed = velocity.square().sum(-1).clamp_min(1e-12)
    root = closing.square() - speed * (offset.square().sum(-1) - reach**2)
    time = (closing - root.clamp_min(0).sqrt()) / speed
    return time.where((root > 0) & (closing > 0), 1.0).clamp(0, 1)


def pair_effects(states: Tensor) -> Tensor:
    """Exact standardised residual of a query alone with a key, ``[systems, query, key, 4]``."""
    n = states.shape[1]
    first, second = torch.triu_indices(n, n, offset=1)
    pairs = torch.stack((states[:, first], states[:, second]), 2).flatten(0, 1)
    positions, velocities = (x.double().numpy() for x in pairs.split(2, dim=-1))
    path = simulate(replace(FREE_SPACE, n_particles=2), positions, velocities, 1, check_overlap=False)
    after = torch.from_numpy(np.concatenate([path.positions[:, 1], path.velocities[:, 1]], -1))
    residuals = TARGET.residual(pairs.double(), after).float().unflatten(0, (len(states), -1))
    effects = torch.zeros(len(states), n, n, 4)
    effects[:, first, second], effects[:, second, first] = residuals.unbind(2)
    return effects
