"""The network applied to its own output: a simulator."""

import torch
from torch import Tensor

from lightning_physim.model.network import ParticleNetwork


@torch.no_grad()
def rollout(network: ParticleNetwork, state: Tensor, n_intervals: int, gravity: Tensor | None = None) -> Tensor:
    """Apply ``network`` ``n_intervals`` times to ``state`` ``[systems, particles, 4]``.

    Args:
        gravity: acceleration along ``-y``; None for that of the data the network was trained on.

    Returns:
        States ``[systems, n_intervals + 1, particles, 4]``; the first is ``state`` itself. A rollout that diverges is
        returned as it is, infinities included.
    """
    states = [state]
    for _ in range(n_intervals):
        states.append(network.step(states[-1], gravity))
    return torch.stack(states, dim=1)
