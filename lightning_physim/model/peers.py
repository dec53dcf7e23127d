"""Networks to compare with: in one particles cannot see each other, another is given the pairs to look at."""

from typing import Any

import torch
from torch import Tensor, nn

from lightning_physim.model.network import NORMS, Embedding, Norm, ParticleNetwork, mlp
from lightning_physim.ranges import check_counts, check_positive

N_PAIR_FEATURES = 5  # relative position, relative velocity, distance


class ParticlewiseNetwork(ParticleNetwork):
    """The transformer's blocks without attention: each particle is mapped by itself.

    What attention would take in parameters goes into the MLP of each block, whose hidden width is
    ``d_mlp + 2 d_model``. At the defaults that makes 19 428 parameters, where the transformer has 19 684. The
    network learns walls, gravity, and what collisions do on average to a particle in a given state, but not whom it
    will hit.

    Args:
        n_layers, d_model, d_mlp, embedding, d_embedding, norm: as of :class:`PhysicsTransformer`.

    Raises:
        InputError: a width or count out of its range.
    """

    label = "no attention"

    def __init__(
        self,
        n_layers: int = 2,
        d_model: int = 32,
        d_mlp: int = 64,
        embedding: Embedding = "mlp",
        d_embedding: int = 64,
        norm: Norm = "layer",
    ) -> None:
        super().__init__(d_model, d_mlp, embedding, d_embedding, norm)
        check_counts(0, n_layers=n_layers)
        self.blocks = nn.ModuleList(
            nn.Sequential(NORMS[norm](d_model), mlp(d_model, d_mlp + 2 * d_model, d_model)) for _ in range(n_layers)
        )
        self.add_readout(d_model, norm)

    def forward(self, state: Tensor) -> Tensor:
        """Standardised residual ``[systems, particles, 4]`` predicted for ``state`` ``[systems, particles, 4]``."""
        x = self.embed(state)
        for block in self.blocks:
            x = x + block(x)
        return self.read(x)


class InteractionNetwork(ParticleNetwork):
    """Messages between particles that are near each other (Battaglia et al. 2016, arXiv 1612.00222), in rounds with
    residuals (Sanchez-Gonzalez et al. 2020, arXiv 2002.09405).

    It is given what the transformer has to find: pairs within ``cutoff``, and their relative position, relative
    velocity and distance. Walls and gravity it knows from each particle's own standardised state. Within a round
    ``m_i = sum_j MLP(x_i, x_j, pair)`` over the pairs of i, then ``x_i += MLP(x_i, m_i)``; 22 116 parameters at the
    defaults.

    Args:
        n_layers: rounds. After k of them a particle knows of others k cutoffs away.
        d_model: width of a particle's vector, of messages, and of the second MLP's hidden layer.
        d_mlp: hidden width of the MLP of a pair.
        embedding, d_embedding, norm: as of :class:`PhysicsTransformer`.
        cutoff: distance within which two particles exchange messages, in contact diameters of the largest pair. Far
            enough for all that can meet within an interval: 2.5 in ``demo``.

    Attributes:
        contact_distance: the largest sum of two radii, units of length; a buffer, taken from the training data.

    Raises:
        InputError: a width, count or cutoff out of its range.
    """

    label = "interaction network"
    contact_distance: Tensor

    def __init__(
        self,
        n_layers: int = 2,
        d_model: int = 32,
        d_mlp: int = 64,
        embedding: Embedding = "mlp",
        d_embedding: int = 64,
        norm: Norm = "layer",
        cutoff: float = 2.5,
    ) -> None:
        super().__init__(d_model, d_mlp, embedding, d_embedding, norm)
        check_counts(n_layers=n_layers)
        check_positive("contact diameters", cutoff=cutoff)
        self.cutoff = cutoff
        self.register_buffer("contact_distance", torch.tensor(1.0))
        self.rounds = nn.ModuleList(Round(d_model, d_mlp, norm) for _ in range(n_layers))
        self.add_readout(d_model, norm)

    def forward(self, state: Tensor) -> Tensor:
        """Standardised residual ``[systems, particles, 4]`` predicted for ``state`` ``[systems, particles, 4]``."""
        x = self.embed(state).flatten(0, 1)
        receiver, sender, features = self.pairs(state)
        for layer in self.rounds:
            x = layer(x, receiver, sender, features)
        return self.read(x).view_as(state)

    def take_statistics(self, data: Any) -> None:
        super().take_statistics(data)
        self.contact_distance.copy_(data.contact_distance.max())

    def pairs(self, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Ordered pairs of different particles of one system within the cutoff.

        Returns:
            Receivers and senders ``[pairs]``, indices into ``state.flatten(0, 1)``, and their features ``[pairs, 5]``:
            position and velocity of the sender relative to the receiver, and their distance, in contact
            diameters and units of the spread of velocities.
        """
        n = state.shape[1]
        reach = self.cutoff * self.contact_distance
        positions = state[..., :2]
        near = (positions.unsqueeze(2) - positions.unsqueeze(1)).square().sum(-1) < reach.square()
        near = near & ~torch.eye(n, dtype=torch.bool, device=state.device)
        system, query, key = near.nonzero(as_tuple=True)
        receiver, sender = system * n + query, system * n + key
        flat = state.flatten(0, 1)
        offset, velocity = (flat[sender] - flat[receiver]).split(2, dim=-1)
        offset = offset / self.contact_distance
        velocity = velocity / self.target.state_std[2:].square().mean().sqrt()  # one scale for both axes
        return receiver, sender, torch.cat((offset, velocity, offset.norm(dim=-1, keepdim=True)), -1)


class Round(nn.Module):
    """One exchange of messages, added to the particles' vectors ``[systems x particles, d_model]``."""

    def __init__(self, d_model: int, d_mlp: int, norm: Norm) -> None:
        super().__init__()
        self.norm = NORMS[norm](d_model)
        self.message = mlp(2 * d_model + N_PAIR_FEATURES, d_mlp, d_model)
        self.update = mlp(2 * d_model, d_model, d_model)

    def forward(self, x: Tensor, receiver: Tensor, sender: Tensor, features: Tensor) -> Tensor:
        normed = self.norm(x)
        messages = self.message(torch.cat((normed[receiver], normed[sender], features), -1))
        received = torch.zeros_like(x).index_add(0, receiver, messages)
        return x + self.update(torch.cat((normed, received), -1))
