"""What the networks have in common: their target, the embedding of a particle, and the step of a simulator."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

from torch import Tensor, nn

from lightning_physim.ranges import check_choice, check_counts
from lightning_physim.target import ResidualTarget

N_FEATURES = 4  # x, y, v_x, v_y
NORMS: dict[str, type[nn.Module]] = {"layer": nn.LayerNorm, "rms": nn.RMSNorm, "none": nn.Identity}
Embedding = Literal["mlp", "linear"]
Norm = Literal["layer", "rms", "none"]


class ParticleNetwork(nn.Module):
    """A map from the state ``[systems, particles, 4]`` to the standardised residual of free flight, of the same shape.

    A subclass makes its own layers between ``super().__init__`` and :meth:`add_readout`, and gives ``forward``. Its map
    is permutation-equivariant and takes any number of particles.

    Args:
        d_model: width of a particle's latent vector.
        d_mlp: hidden width of an MLP between layers.
        embedding: ``"mlp"`` (one hidden layer) or ``"linear"``, from the standardised state to ``d_model``.
        d_embedding: hidden width of the MLP embedding.
        norm: ``"layer"``, ``"rms"`` or ``"none"``.

    Attributes:
        label: what a network of this class is called where networks are compared.
        target: the standardised residual of free flight, with the statistics of the training data.

    Raises:
        InputError: a width below 1, or an embedding or norm that does not exist.
    """

    label: ClassVar[str]

    def __init__(self, d_model: int, d_mlp: int, embedding: Embedding, d_embedding: int, norm: Norm) -> None:
        super().__init__()
        check_counts(d_model=d_model, d_mlp=d_mlp, d_embedding=d_embedding)
        check_choice(get_args(Embedding), embedding=embedding)
        check_choice(NORMS, norm=norm)
        self.target = ResidualTarget()
        # Drawn in either case: the weights of what comes next depend on it, and seeds are to keep the runs they had.
        linear = nn.Linear(N_FEATURES, d_model)
        self.embedding = linear if embedding == "linear" else mlp(N_FEATURES, d_embedding, d_model)

    def add_readout(self, d_model: int, norm: Norm) -> None:
        """The last layers, from the latent vector to the residual."""
        self.norm = NORMS[norm](d_model)
        self.readout = nn.Linear(d_model, N_FEATURES)

    def embed(self, state: Tensor) -> Tensor:
        """Latent vectors ``[systems, particles, d_model]`` of ``state`` ``[systems, particles, 4]``."""
        return self.embedding(self.target.standardize(state))

    def read(self, x: Tensor) -> Tensor:
        """Standardised residuals ``[..., 4]`` of latent vectors ``[..., d_model]``."""
        return self.readout(self.norm(x))

    def take_statistics(self, data: Any) -> None:
        """Take what belongs to the training data from a set-up :class:`lightning_physim.data.ParticleDataModule`."""
        self.target.load_state_dict(data.target.state_dict())

    @classmethod
    def describe(cls, hparams: Mapping[str, Any]) -> str:
        """A network with these hyperparameters in a few words."""
        return cls.label

    def step(self, state: Tensor, gravity: Tensor | None = None) -> Tensor:
        """The state one interval later, ``[systems, particles, 4]``; ``gravity`` defaults to the training data's."""
        return self.target.advance(state, self(state), gravity)


def mlp(d_in: int, d_hidden: int, d_out: int) -> nn.Sequential:
    """One hidden layer."""
    return nn.Sequential(nn.Linear(d_in, d_hidden), nn.GELU(), nn.Linear(d_hidden, d_out))
