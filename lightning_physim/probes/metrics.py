"""Per-head scores as torchmetrics, exact over ranks: float64 sums that are added up, or all that was seen."""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from lightning_physim.errors import InputError
from lightning_physim.probes.functional import (
    ablation_sums,
    attention_distance_sums,
    auroc_and_average_precision,
    collision_score_sums,
    correlation,
    distance_correlation_sums,
    pair_scores,
    partner_score_sums,
    reduced_distance,
    without_self,
)


class HeadScores(Metric):
    """Collision score, partner score, enrichment, and attention against distance of every head.

    - ``collision_score``: the score of Hitchcock et al. 2025 (arXiv 2504.11830), the attention mass within ``radius``
      of the query, itself included, averaged over queries;
    - ``partner_score``: mass on near particles, self excluded and the rest renormalised, averaged over queries that
      have a near particle;
    - ``enrichment``: partner score over the value that uniform attention over the others would have; 1 is chance.
      This is the score that decides whether a head has become a collision head;
    - ``distance_correlation``: Pearson correlation, over ordered pairs of particles, of the renormalised attention with
      the distance; NaN for a head that attends to all alike;
    - ``attention_distance``: mean renormalised attention on one other particle against its distance.

    Args:
        n_layers, n_heads: of the network.
        radius: in contact diameters. Of the particles that collide within an interval of ``demo``, 92 % start it within
            1.5 contact diameters of each other.
        max_distance: upper end of the distance axis, contact diameters.
        n_bins: of the distance axis.

    Raises:
        InputError: a radius, distance or number of bins that is not positive.
    """

    full_state_update = False
    higher_is_better = True
    collision_mass: Tensor
    queries: Tensor
    partner_mass: Tensor
    uniform_mass: Tensor
    queries_with_near: Tensor
    correlation_sums: Tensor
    distance_mass: Tensor
    distance_pairs: Tensor

    def __init__(
        self, n_layers: int, n_heads: int, radius: float = 1.5, max_distance: float = 8.0, n_bins: int = 32
    ) -> None:
        super().__init__()
        for name, value in (("radius", radius), ("max_distance", max_distance), ("n_bins", n_bins)):
            if not value > 0:
                raise InputError(f"{name} must be positive; got {value}")
        self.radius = radius
        self.edges = torch.linspace(0.0, max_distance, n_bins + 1)
        heads = (n_layers, n_heads)
        for state, shape in (
            ("collision_mass", heads),
            ("queries", ()),
            ("partner_mass", heads),
            ("uniform_mass", ()),
            ("queries_with_near", ()),
            ("correlation_sums", (6, *heads)),
            ("distance_mass", (*heads, n_bins)),
            ("distance_pairs", (n_bins,)),
        ):
            self.add_state(state, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, attention: Tensor, positions: Tensor, contact_distance: Tensor) -> None:
        """Add attention patterns; none at all (``systems = 0``) is allowed.

        Args:
            attention: ``[layers, systems, heads, query, key]``.
            positions: ``[systems, particles, 2]`` at the moment the network saw.
            contact_distance: ``[particles, particles]``, sums of radii.
        """
        distance = reduced_distance(positions, contact_distance)
        mass, queries = collision_score_sums(attention, distance, self.radius)
        self.collision_mass += mass
        self.queries += queries
        others = without_self(attention)
        mass, uniform, queries = partner_score_sums(others, distance, self.radius)
        self.partner_mass += mass
        self.uniform_mass += uniform
        self.queries_with_near += queries
        self.correlation_sums += distance_correlation_sums(others, distance)
        mass, pairs = attention_distance_sums(others, distance, self.edges.to(distance.device))
        self.distance_mass += mass
        self.distance_pairs += pairs

    def compute(self) -> dict[str, Tensor]:
        """Scores ``[layers, heads]``, ``attention_distance`` ``[layers, heads, bins]``; NaN where nothing was seen."""
        return {
            "collision_score": self.collision_mass / self.queries,
            "partner_score": self.partner_mass / self.queries_with_near,
            "enrichment": self.partner_mass / self.uniform_mass,
            "distance_correlation": correlation(self.correlation_sums),
            "attention_distance": self.distance_mass / self.distance_pairs,
        }


class ContactClassifier(Metric):
    """Every head's attention as a classifier of the ordered pairs that touch in the interval that follows.

    The score of a pair is the attention of the query on the key, self excluded and the rest renormalised.

    - ``auroc``: the chance that a pair that touches gets more attention than one that does not; 0.5 is chance;
    - ``average_precision``: chance is the share of pairs that touch, a few per cent.

    Both are exact (see :func:`lightning_physim.probes.auroc_and_average_precision`), since ranks gather all scores: a
    number per pair and head, 2 MB for the probe set of ``demo``. Every rank has to update, be it with no systems.

    Args:
        n_layers, n_heads: of the network.
    """

    full_state_update = False
    higher_is_better = True
    scores: list[Tensor]
    touches: list[Tensor]

    def __init__(self, n_layers: int, n_heads: int) -> None:
        super().__init__()
        self.heads = (n_layers, n_heads)
        self.add_state("scores", [], dist_reduce_fx="cat")
        self.add_state("touches", [], dist_reduce_fx="cat")

    def update(self, attention: Tensor, contacts: Tensor) -> None:
        """Add attention patterns; none at all (``systems = 0``) is allowed.

        Args:
            attention: ``[layers, systems, heads, query, key]``.
            contacts: bool ``[systems, query, key]``, which pairs touch.
        """
        scores, touches = pair_scores(without_self(attention), contacts)
        self.scores.append(scores)
        self.touches.append(touches.byte())

    def compute(self) -> dict[str, Tensor]:
        """``auroc`` and ``average_precision`` ``[layers, heads]``; NaN where no pair touched."""
        scores, touches = dim_zero_cat(self.scores), dim_zero_cat(self.touches)
        auroc, precision = auroc_and_average_precision(scores.flatten(1), touches.bool())
        return {"auroc": auroc.view(self.heads), "average_precision": precision.view(self.heads)}


class AblationEffect(Metric):
    """Rise of the loss on colliding particles when a head is made blind to near keys, the rest renormalised.

    Args:
        n_layers, n_heads: of the network.
    """

    full_state_update = False
    higher_is_better = True
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
