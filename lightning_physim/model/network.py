"""What the networks have in common: their target, the embedding of a particle, and the step of a simulator."""

from typing import Literal

from torch import Tensor, nn

from lightning_physim.errors import InputError
from lightning_physim.target import ResidualTarget

N_FEATURES = 4  # x, y, v_x, v_y
NORMS: dict[str, type[nn.Module]] = {"layer": nn.LayerNorm, "rms": nn.RMSNorm, "none": nn.Identity}
Embedding = Literal["mlp", "linear"]
Norm = Literal["layer", "rms", "none"]


class ParticleNetwork(nn.Module):
    """A map from the state ``[systems, particles, 4]`` to the standardised residual of free flight, of the same shape.

    A subclass gives ``forward``. Its maps are permutation-equivariant and take any number of particles.
    """

    def __init__(self) -> None:
        super().__init__()
        self.target = ResidualTarget()

    def step(self, state: Tensor, gravity: Tensor | None = None) -> Tensor:
        """The state one interval later, ``[systems, particles, 4]``; ``gravity`` defaults to the training data's."""
        return self.target.advance(state, self(state), gravity)


def embed(d_model: int, d_mlp: int, embedding: Embedding, d_embedding: int, norm: Norm) -> nn.Module:
    """The map from a particle's standardised state to its latent vector, of ``d_model``.

    Raises:
        InputError: a width below 1, or an embedding or norm that does not exist.
    """
    for name, value in (("d_model", d_model), ("d_mlp", d_mlp), ("d_embedding", d_embedding)):
        if value < 1:
            raise InputError(f"{name} must be at least 1; got {value}")
    if embedding not in ("mlp", "linear"):
        raise InputError(f'embedding must be "mlp" or "linear"; got {embedding!r}')
    if norm not in NORMS:
        raise InputError(f"norm must be one of {', '.join(NORMS)}; got {norm!r}")
    # Drawn in either case: the weights of what comes next depend on it, and seeds are to keep the runs they had.
    linear = nn.Linear(N_FEATURES, d_model)
    return linear if embedding == "linear" else mlp(N_FEATURES, d_embedding, d_model)


def mlp(d_in: int, d_hidden: int, d_out: int) -> nn.Sequential:
    """One hidden layer."""
    return nn.Sequential(nn.Linear(d_in, d_hidden), nn.GELU(), nn.Linear(d_hidden, d_out))
