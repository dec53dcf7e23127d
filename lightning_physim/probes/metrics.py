"""Per-head scores as torchmetrics, exact over ranks: float64 sums that are added up, or all that was seen.

A score is a :class:`HeadMetric` in :data:`SCORES` with a row in :mod:`lightning_physim.keys`; nothing else has to know.
"""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from lightning_physim import keys
from lightning_physim.errors import InputError
from lightning_physim.keys import Key
from lightning_physim.probes.functional import (
    ablation_sums,
    attention_distance_sums,
    collision_score_sums,
    correlation,
    distance_correlation_sums,
    pair_scores,
    partner_score_sums,
    rank_positives,
)
from lightning_physim.probes.sample import ProbeSample


class HeadMetric(Metric):
    """One or several scores of every head, from attention patterns.

    A subclass names its keys in ``scores`` and gives ``update`` and ``compute``. Every rank updates, be it with a
    sample of no systems.

    Args:
        n_layers, n_heads: of the network.
        radius: within which a particle is near, in contact diameters.

    Raises:
        InputError: a radius that is not positive.
    """

    full_state_update = False
    scores: ClassVar[tuple[Key, ...]]

    def __init__(self, n_layers: int, n_heads: int, radius: float = 1.5) -> None:
        super().__init__()
        if not radius > 0:
            raise InputError(f"radius must be positive, in contact diameters; got {radius}: give e.g. 1.5")
        self.heads = (n_layers, n_heads)
        self.radius = radius

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        goals = {key.goal for key in cls.scores}
        cls.higher_is_better = None if goals == {None} else goals == {"maximize"}

    def add_sums(self, **shapes: tuple[int, ...]) -> None:
        """States of these names and shapes: float64 sums that ranks add up."""
        for name, shape in shapes.items():
            self.add_state(name, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, sample: ProbeSample) -> None:
        """Add patterns."""
        raise NotImplementedError

    def compute(self) -> dict[str, Tensor]:
        """Scores ``[layers, heads]``, by :attr:`Key.quantity`; NaN where nothing was seen that they are about."""
        raise NotImplementedError


class NearScores(HeadMetric):
    """Attention to particles within ``radius`` of the query.

    - ``collision_score``: the score of Hitchcock et al. 2025 (arXiv 2504.11830), the attention mass within ``radius``
      of the query, itself included, averaged over queries. That the query itself counts is our reading;
    - ``partner_score``: mass on near particles, self excluded and the rest renormalised, averaged over queries that
      have a near particle;
    - ``enrichment``: partner score over the value that uniform attention over the others would have; 1 is chance.
      This is the score that decides whether a head has become a collision head.

    Of the particles that collide within an interval of ``demo``, 92 % start it within 1.5 contact diameters of each
    other.
    """

    scores = (keys.COLLISION_SCORE, keys.PARTNER_SCORE, keys.ENRICHMENT)
    collision_mass: Tensor
    queries: Tensor
    partner_mass: Tensor
    uniform_mass: Tensor
    queries_with_near: Tensor

    def __init__(self, n_layers: int, n_heads: int, radius: float = 1.5) -> None:
        super().__init__(n_layers, n_heads, radius)
        self.add_sums(collision_mass=self.heads, partner_mass=self.heads)
        self.add_sums(queries=(), uniform_mass=(), queries_with_near=())

    def update(self, sample: ProbeSample) -> None:
        mass, queries = collision_score_sums(sample.attention, sample.distance, self.radius)
        self.collision_mass += mass
        self.queries += queries
        mass, uniform, queries = partner_score_sums(sample.others, sample.distance, self.radius)
        self.partner_mass += mass
        self.uniform_mass += uniform
        self.queries_with_near += queries

    def compute(self) -> dict[str, Tensor]:
        return {
            keys.COLLISION_SCORE.quantity: self.collision_mass / self.queries,
            keys.PARTNER_SCORE.quantity: self.partner_mass / self.queries_with_near,
            keys.ENRICHMENT.quantity: self.partner_mass / self.uniform_mass,
        }


class DistanceCorrelation(HeadMetric):
    """Pearson correlation, over ordered pairs of particles, of the renormalised attention with the distance.

    NaN for a head that attends to all alike.
    """

    scores = (keys.DISTANCE_CORRELATION,)
    sums: Tensor

    def __init__(self, n_layers: int, n_heads: int, radius: float = 1.5) -> None:
        super().__init__(n_layers, n_heads, radius)
        self.add_sums(sums=(6, *self.heads))

    def update(self, sample: ProbeSample) -> None:
        self.sums += distance_correlation_sums(sample.others, sample.distance)

    def compute(self) -> dict[str, Tensor]:
        return {keys.DISTANCE_CORRELATION.quantity: correlation(self.sums)}


class ContactClassifier(HeadMetric):
    """Every head's attention as a classifier of the ordered pairs that touch in the interval that follows.

    The score of a pair is the attention of the query on the key, self excluded and the rest renormalised.

    - ``auroc``: the chance that a pair that touches gets more attention than one that does not; 0.5 is chance;
    - ``average_precision``: chance is the fraction of pairs that touch, a few per cent.

    Both are exact (see :func:`lightning_physim.probes.auroc_and_average_precision`), since ranks gather all scores: a
    number per pair and head, 2 MB for the probe set of ``demo``, 130 MB for 128 particles.
    """

    scores = (keys.AUROC, keys.AVERAGE_PRECISION)
    attention: list[Tensor]
    touches: list[Tensor]

    def __init__(self, n_layers: int, n_heads: int, radius: float = 1.5) -> None:
        super().__init__(n_layers, n_heads, radius)
        self.add_state("attention", [], dist_reduce_fx="cat")
        self.add_state("touches", [], dist_reduce_fx="cat")

    def update(self, sample: ProbeSample) -> None:
        attention, touches = pair_scores(sample.others, sample.contacts)
        self.attention.append(attention)
        self.touches.append(touches.byte())

    def compute(self) -> dict[str, Tensor]:
        # A list before ranks have been put together, a tensor after. One head at a time, in the same place.
        parts = self.attention if isinstance(self.attention, list) else [self.attention]
        patterns = [part.cpu().numpy() for part in parts]
        positives = np.flatnonzero(dim_zero_cat(self.touches).cpu().numpy())
        scores = np.empty((sum(map(len, patterns)), patterns[0].shape[-1]), np.float32)
        found = torch.empty(*self.heads, 2, dtype=torch.float64)
        for layer, head in np.ndindex(self.heads):
            np.concatenate([part[:, layer, head] for part in patterns], out=scores)
            found[layer, head] = torch.tensor(rank_positives(scores.reshape(-1), positives), dtype=torch.float64)
        auroc, precision = found.unbind(-1)
        return {
            keys.AUROC.quantity: auroc,
            keys.AVERAGE_PRECISION.quantity: precision,
        }


SCORES: tuple[type[HeadMetric], ...] = (NearScores, DistanceCorrelation, ContactClassifier)
"""What :class:`lightning_physim.callbacks.CollisionProbe` computes from attention patterns."""


class AttentionDistance(Metric):
    """Mean renormalised attention on one other particle against its distance: a curve, not a score.

    Args:
        n_layers, n_heads: of the network.
        max_distance: upper end of the distance axis, contact diameters.
        n_bins: of the distance axis.

    Raises:
        InputError: a distance or number of bins that is not positive.
    """

    full_state_update = False
    higher_is_better = None
    mass: Tensor
    pairs: Tensor

    def __init__(self, n_layers: int, n_heads: int, max_distance: float = 8.0, n_bins: int = 32) -> None:
        super().__init__()
        for name, value in (("max_distance", max_distance), ("n_bins", n_bins)):
            if not value > 0:
                raise InputError(f"{name} must be positive; got {value}")
        self.edges = torch.linspace(0.0, max_distance, n_bins + 1)
        self.add_state("mass", torch.zeros(n_layers, n_heads, n_bins, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("pairs", torch.zeros(n_bins, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, sample: ProbeSample) -> None:
        """Add patterns."""
        mass, pairs = attention_distance_sums(sample.others, sample.distance, self.edges.to(sample.distance.device))
        self.mass += mass
        self.pairs += pairs

    def compute(self) -> Tensor:
        """``[layers, heads, bins]``; NaN in a bin without pairs."""
        return self.mass / self.pairs


class AblationEffect(Metric):
    """Rise of the loss on colliding particles when a head is made blind to near keys, the rest renormalised.

    Args:
        n_layers, n_heads: of the network.
    """

    full_state_update = False
    higher_is_better = keys.ABLATION.goal == "maximize"
    rise: Tensor
    particles: Tensor

    def __init__(self, n_layers: int, n_heads: int) -> None:
        super().__init__()
        self.add_state("rise", torch.zeros(n_layers, n_heads, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("particles", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, intact: Tensor, ablated: Tensor, targets: Tensor, contacts: Tensor) -> None:
        """Add predictions; see :func:`lightning_physim.probes.ablation_sums`."""
        rise, particles = ablation_sums(intact, ablated, targets, contacts)
        self.rise += rise
        self.particles += particles

    def compute(self) -> Tensor:
        """``[layers, heads]``; NaN where no particle collided."""
        return self.rise / self.particles
