"""How chains move: step size and preconditioner, from the curvature where they will live."""

from itertools import cycle

import torch
from torch import Tensor

from lightning_physim.errors import InputError
from lightning_physim.llc.basin import (
    Basin,
    Product,
    follow,
    leading_curvature,
    least_followed,
    potential_product,
    random_directions,
    unit,
)
from lightning_physim.llc.config import SGLDConfig
from lightning_physim.llc.curvature import lanczos
from lightning_physim.llc.minibatches import Minibatches
from lightning_physim.llc.preconditioner import TINY, Diagonal, Identity, LowRank, Preconditioner
from lightning_physim.llc.sampler import Job, Kernel, Replicas

CHECK_STEPS, CHECK_DRAWS = 3, 4
"""Steps of Lanczos that look for stiff directions which a preconditioner has missed, in the mean over so many draws."""
MAX_PERSISTENCE = 0.9
"""Fraction of its velocity that a chain keeps at most. In a direction without curvature critical friction is none."""
SQUARES = 30
"""Gradients behind their mean square, each at a draw and over a minibatch of its own."""
DISTANCE_TO_INSTABILITY = 0.1
"""``step_size a_max / 4`` of an automatic step size; chains diverge at 1."""
BIAS_OF_EULER = 0.02
"""The same with Euler's scheme, where it is the relative bias of the stiffest direction."""


def adapt(replicas: Replicas, basin: Basin, by_residuals: bool, config: SGLDConfig, minibatches: Minibatches) -> Kernel:
    """How replicas are to move.

    Curvature is measured at draws of the basin, where chains are to be expected: a region can be flat at w* and far
    stiffer there.

    Args:
        replicas: one chain of each job.
        basin: of each.
        by_residuals: the basin has the directions where chains will live, in place of the few stiffest at w*.
        config: of the sampler.
        minibatches: for gradients.

    Raises:
        InputError: an automatic step size where there is no curvature at all.
        Diverged: the curvature is not finite.
    """
    samples, whole, seed = minibatches.samples(0), minibatches.whole, config.seed
    scale: Preconditioner = Identity()
    if config.preconditioner == "curvature" and by_residuals:
        known, leading, share = basin.covariance, basin.covariance.directions, basin.share
        missed = _missed(replicas, basin, minibatches, known, seed)
        scale = LowRank(leading, known.values * missed[:, None], known.rest * missed)
        largest = torch.ones_like(known.values[:, :1])
        softest = largest / missed[:, None]
        if leading.vectors.shape[1] < replicas.group.size:
            # The others are taken to be as stiff as the last that is known, and may be as soft as localization alone.
            softest = softest * (least_followed(known.values, replicas.gamma)[:, 0] / known.rest)[:, None]
    else:
        if config.preconditioner == "rmsprop":
            scale = Diagonal(_mean_square(replicas, basin, minibatches, seed))
        there = basin.draw(random_directions(replicas, seed, "there"), replicas, samples)
        values, leading = leading_curvature(replicas, there, samples, whole, scale, seed)
        each = (scale.root(vectors).square().sum(1) for vectors in leading.vectors.unbind(1))
        localization = torch.stack(list(each), 1) * replicas.gamma
        share = 1 - localization / torch.maximum(values, localization + TINY)
        followed = follow(values, replicas.gamma)
        largest, softest = values[:, :1].clamp_min(0), followed[:, -1:]
        if config.preconditioner == "curvature":
            largest = (largest > 0).to(largest.dtype)
            # What is not among the leading directions should be no stiffer than the last of them.
            missed = _missed(replicas, basin, minibatches, LowRank(leading, followed, followed[:, -1]), seed)
            scale = LowRank(leading, followed, followed[:, -1] * missed)
            softest = largest / missed[:, None]
    stability = BIAS_OF_EULER if config.integrator == "euler" else DISTANCE_TO_INSTABILITY
    step_size = _step_sizes(replicas.jobs, largest, stability)
    return Kernel(
        step_size=step_size,
        preconditioner=scale,
        persistence=_persistence(config, step_size, softest),
        stability=(step_size * largest / 4)[:, 0],
        leading=leading,
        loss_fraction=share,
    )


def _missed(replicas: Replicas, basin: Basin, minibatches: Minibatches, scale: Preconditioner, seed: int) -> Tensor:
    """Largest curvature in units of a preconditioner ``[replicas]``, 1 where it has missed none.

    Of the mean Hessian over draws, each with another minibatch. Single samples can be very stiff at single draws, and
    steps that such a one scales down would be too small everywhere else.
    """
    products: list[Product] = []
    start = unit(random_directions(replicas, seed, "missed"))
    for i, minibatch in zip(range(CHECK_DRAWS), cycle(minibatches.different(CHECK_DRAWS)), strict=False):
        there = basin.draw(random_directions(replicas, seed, "check", i), replicas, minibatches.samples(0))
        products.append(potential_product(replicas, there, minibatch.samples, scale))
        # The force at a draw lies in the stiff directions; a random vector hardly does, among many.
        _, force = replicas.potential(there, minibatch.samples)
        start = start + unit(scale.root(force))

    def mean(vector: Tensor) -> Tensor:
        return torch.stack([product(vector) for product in products]).mean(0)

    found, _ = lanczos(mean, start, CHECK_STEPS)
    return found[:, 0].clamp_min(1)


def _persistence(config: SGLDConfig, step_size: Tensor, softest: Tensor) -> Tensor | None:
    """Fraction of its velocity that a chain keeps at a step, ``[replicas, 1]``. None for Euler's scheme.

    Friction is what damps a direction of the softest curvature ``[replicas, 1]`` critically. That direction then
    relaxes fastest, in a time that grows as the root of the condition number. Without inertia it grows as the number.
    """
    if config.integrator == "euler":
        return None
    if config.integrator == "leimkuhler_matthews":
        return torch.zeros_like(step_size)
    return torch.exp(-2 * (step_size * softest).sqrt()).clamp_max(MAX_PERSISTENCE)


def _mean_square(replicas: Replicas, basin: Basin, minibatches: Minibatches, seed: int) -> Tensor:
    """Of the gradient of the loss over draws of the basin, ``[replicas, size]``."""
    total = torch.zeros_like(basin.slope)
    for i in range(SQUARES):
        samples = minibatches.samples(i)
        there = basin.draw(random_directions(replicas, seed, "square", i), replicas, samples)
        _, gradient = replicas.group.loss_and_gradient(there, replicas.which, samples)
        total += gradient.square() / SQUARES
    return total


def _step_sizes(jobs: list[Job], largest: Tensor, stability: float) -> Tensor:
    """``[replicas, 1]``, the automatic ones in units of the inverse of the largest curvature ``[replicas, 1]``."""
    step_size = torch.zeros_like(largest)
    for row, job in enumerate(jobs):
        if job.step_size == "auto" and largest[row] == 0:
            raise InputError(
                f'step_size="auto" needs curvature at w*; region {job.region.name!r} has none: '
                "give a number, or a localization above 0"
            )
        each = 4 * stability / largest[row] if job.step_size == "auto" else float(job.step_size)
        step_size[row] = job.step_factor * each
    return step_size
