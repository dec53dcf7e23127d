"""The quadratic approximation of what chains sample: where they start, and which directions count."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_physim.llc.curvature import lanczos
from lightning_physim.llc.leading_directions import Sketch
from lightning_physim.llc.objective import Minibatch, Samples
from lightning_physim.llc.preconditioner import TINY, Directions, Identity, LowRank, Preconditioner
from lightning_physim.llc.ranks import stream
from lightning_physim.llc.sampler import Replicas, normal

Product = Callable[[Tensor], Tensor]
LANCZOS_STEPS = 10
"""Hessian-vector products behind the leading curvature; half of the Ritz pairs, the converged ones, are used."""
CURVATURE_SAMPLES = 256
CURVATURE_DRAWS = 16
"""Draws of the basin at w* whose curvature is averaged."""
SOFTEST = 1e-6
"""Smallest curvature that is followed, of the largest."""
HALVINGS = 8
"""Times that a start is moved half way back to w*, at most, before it is w*."""


@dataclass(frozen=True)
class Basin:
    """A quadratic potential in place of ``U = n_beta L + gamma/2 |w - w*|^2`` of each replica: its slope at w*, and its
    curvature there or in the mean over where chains are to be expected.

    Attributes:
        slope: gradient of U at w*, ``[replicas, size]``.
        covariance: inverse of that curvature.
        share: of the loss in the curvature of each leading direction, ``f = n_beta h / (n_beta h + gamma)``
            ``[replicas, rank]``. Half their sum is the learning coefficient of a quadratic loss.
    """

    slope: Tensor
    covariance: LowRank
    share: Tensor

    @classmethod
    def of(cls, replicas: Replicas, whole: Minibatch, curvature: Tensor, directions: Directions) -> "Basin":
        """By the leading curvature of U that is known.

        Args:
            replicas: what is sampled.
            whole: the estimation set, with gradients at w*.
            curvature: ``[replicas, rank]``, descending.
            directions: of these.
        """
        slope = replicas.n_beta * replicas.group.gather(whole.gradients).to(curvature.dtype)[replicas.which]
        followed = follow(curvature, replicas.gamma)
        return cls(
            slope,
            LowRank(directions, followed, followed[:, -1]),
            ((curvature - replicas.gamma).clamp_min(0) / followed).clamp_max(1),
        )

    @classmethod
    def measured(cls, replicas: Replicas, whole: Minibatch, samples: Samples, seed: int) -> "Basin":
        """By Hessian-vector products at w* over some samples.

        Raises:
            Diverged: the curvature is not finite.
        """
        origin = torch.zeros(len(replicas), replicas.group.size).to(replicas.group.anchor)
        return cls.of(replicas, whole, *leading_curvature(replicas, origin, samples, whole, Identity(), seed))

    @classmethod
    def by_residuals(cls, replicas: Replicas, whole: Minibatch, samples: Samples, sketch: Sketch, seed: int) -> "Basin":
        """By the mean Gauss-Newton matrix over draws of the basin at w*, where chains are to be expected.

        A region can be flat at w*, and stiff in other directions at every draw.

        Raises:
            Diverged: a derivative is not finite.
        """

        def of(found: list[tuple[Tensor, Tensor]], which: Tensor) -> "Basin":
            values, vectors = (torch.stack(each) for each in zip(*found, strict=True))
            return cls.of(replicas, whole, replicas.n_beta * values[which] + replicas.gamma, Directions(vectors, which))

        origin = torch.zeros(1, replicas.group.size).to(replicas.gamma)
        regions = range(len(replicas.group.regions))
        basin = of([sketch.leading(region, origin) for region in regions], replicas.which)
        noises = (random_directions(replicas, seed, "curvature", i) for i in range(CURVATURE_DRAWS))
        draws = torch.stack([basin.draw(noise, replicas, samples) for noise in noises], 1)
        where_chains_live = [sketch.leading(int(region), u) for region, u in zip(replicas.which, draws, strict=True)]
        return of(where_chains_live, torch.arange(len(replicas)).to(replicas.which))

    def select(self, rows: Tensor) -> "Basin":
        """The basins of these replicas."""
        return Basin(self.slope[rows], self.covariance.select(rows), self.share[rows])

    def slope_control(self, of_loss: Tensor, slope: Tensor, gamma: Tensor) -> Tensor:
        """``a = C (l - B G/2)`` ``[replicas, size]`` with the covariance C and the loss's share B of the curvature.

        ``a . grad U`` takes out what the slopes l of ``n_beta L`` and G of U at a point add to draws that lack the
        virial about this point, in directions that the loss or the localization holds.
        """
        known, directions = self.covariance, self.covariance.directions
        half = of_loss - directions.combine(self.share * directions.along(slope)) / 2
        # Both shares make up the curvature, where it is not the least that is followed.
        values = torch.where(self.share + gamma / known.values > 0.5, known.values, torch.inf)
        rest = torch.where(gamma[:, 0] > 0, known.rest, torch.inf)
        return LowRank(directions, values, rest).apply(half)

    def draw(self, noise: Tensor, replicas: Replicas, samples: Samples) -> Tensor:
        """Displacements ``[replicas, size]`` drawn from the Gaussian, by standard normal noise of that shape.

        In flat directions of a singular model the Gaussian reaches far beyond the density. A draw goes back half way
        to w* until its potential, over some samples, is one that a regular model would have.
        """
        size, which = noise.shape[1], replicas.which
        limit = size / 2 + 3 * (size / 2) ** 0.5
        curved = self.covariance.values[:, :1] > TINY
        draw = torch.where(curved, self.covariance.root(noise) - self.covariance.apply(self.slope), 0.0)
        base = replicas.group.values(torch.zeros_like(draw), which, samples)
        for _ in range(HALVINGS):
            rise = replicas.group.values(draw, which, samples) - base
            energy = replicas.n_beta[:, 0] * rise + replicas.gamma[:, 0] / 2 * draw.square().sum(1)
            high = ~(energy <= limit)  # as is what is not finite
            if not high.any():
                return draw
            draw = torch.where(high[:, None], draw / 2, draw)
        return torch.where(high[:, None], 0.0, draw)


def leading_curvature(
    replicas: Replicas, displacement: Tensor, samples: Samples, whole: Minibatch, scale: Preconditioner, seed: int
) -> tuple[Tensor, Directions]:
    """Leading eigenvalues of the Hessian of U, in units of a preconditioner, and their directions.

    Args:
        replicas: one chain of each job.
        displacement: from w*, where; ``[replicas, size]``.
        samples: for the curvature.
        whole: the estimation set, with gradients at w*.
        scale: the preconditioner.
        seed: of the sampler.

    Returns:
        ``[replicas, rank]``, descending, and their directions.

    Raises:
        Diverged: the curvature is not finite.
    """
    # The gradient at w* lies in the stiff directions; the random part is for a w* that has none. Of a single coordinate
    # two parts of one length could cancel.
    gradients = replicas.group.gather(whole.gradients).to(displacement.dtype)[replicas.which]
    start = 0.5 * unit(random_directions(replicas, seed)) + unit(gradients)
    values, vectors = lanczos(potential_product(replicas, displacement, samples, scale), start, LANCZOS_STEPS)
    n_steps = values.shape[1]
    rank = n_steps if n_steps == replicas.group.size else (n_steps + 1) // 2  # of all coordinates all are exact
    return values[:, :rank], Directions.of_each(vectors[:, :rank])


def potential_product(replicas: Replicas, displacement: Tensor, samples: Samples, scale: Preconditioner) -> Product:
    """The Hessian of U at displacements, in units of a preconditioner, as a product with ``[replicas, size]``."""
    samples = tuple(tensor[:CURVATURE_SAMPLES] for tensor in samples)

    def product(vector: Tensor) -> Tensor:
        along = scale.root(vector)
        curved = replicas.group.hessian_product(displacement, replicas.which, along, samples)
        return scale.root(replicas.n_beta * curved + replicas.gamma * along)

    return product


def random_directions(replicas: Replicas, seed: int, *purpose: str | int) -> Tensor:
    """Standard normal ``[replicas, size]``, for what is found about curvature; those of a region are its own."""
    like = replicas.group.anchor[0]
    names = [job.region.name for job in replicas.jobs]
    return torch.cat([normal(stream(like.device, seed, name, "lanczos", *purpose), 1, like) for name in names])


def follow(curvature: Tensor, gamma: Tensor) -> Tensor:
    """Positive curvatures ``[replicas, rank]``, none softer than the localization ``[replicas, 1]``."""
    return torch.maximum(curvature, least_followed(curvature, gamma))


def least_followed(curvature: Tensor, gamma: Tensor) -> Tensor:
    """The smallest curvature that is followed, ``[replicas, 1]``."""
    return torch.maximum(gamma, SOFTEST * curvature[:, :1].clamp_min(0)).clamp_min(TINY)


def unit(vectors: Tensor) -> Tensor:
    """Vectors ``[replicas, size]`` of length 1."""
    return vectors / vectors.norm(dim=1, keepdim=True).clamp_min(TINY)
