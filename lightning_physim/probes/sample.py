"""What the scores of heads are computed from."""

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from lightning_physim.probes.functional import reduced_distance, without_self


@dataclass(frozen=True, eq=False)
class ProbeSample:
    """Attention patterns on some states, and the particles they look at; what several scores need is computed once.

    Args:
        attention: ``[layers, systems, heads, query, key]``; ``systems`` may be 0.
        positions: ``[systems, particles, 2]`` at the moment that the network saw.
        contact_distance: ``[particles, particles]``, sums of radii.
        contacts: bool ``[systems, query, key]``, which pairs touch in the interval that follows.
    """

    attention: Tensor
    positions: Tensor
    contact_distance: Tensor
    contacts: Tensor

    @cached_property
    def distance(self) -> Tensor:
        """Distances ``[systems, query, key]`` in contact diameters."""
        return reduced_distance(self.positions, self.contact_distance)

    @cached_property
    def others(self) -> Tensor:
        """Attention ``[layers, systems, heads, query, key]``, self excluded and the rest renormalised."""
        return without_self(self.attention)
