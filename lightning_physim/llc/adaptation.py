"""How chains move: step size and preconditioner, from the curvature where they will live."""

import torch
from torch import Tensor

from lightning_physim.errors import InputError
from lightning_physim.llc.basin import Basin, follow, leading_curvature, potential_product, random_directions
from lightning_physim.llc.config import SGLDConfig
from lightning_physim.llc.curvature import lanczos
from lightning_physim.llc.minibatches import Minibatches
from lightning_physim.llc.objective import Samples
from lightning_physim.llc.preconditioner import TINY, Diagonal, Identity, LowRank, Preconditioner
from lightning_physim.llc.sampler import Job, Kernel, Replicas

CHECK_STEPS = 3
"""Hessian-vector products that look for stiff directions which a preconditioner has missed."""
SQUARES = 30
"""Gradients behind their mean square, each at a draw and over a minibatch of its own."""
DISTANCE_TO_INSTABILITY = 0.1
"""``step_size a_max / 4`` of an automatic step size; chains diverge at 1. With Euler's scheme it is also the relative
bias of the stiffest direction."""


def adapt(replicas: Replicas, basin: Basin, is_exact: bool, config: SGLDConfig, minibatches: Minibatches) -> Kernel:
    """How replicas are to move.

    Curvature is measured at a draw of the basin, where chains are to be expected: a region can be flat at w* and far
    stiffer there.

    Args:
        replicas: one chain of each job.
        basin: of each.
        is_exact: the basin's curvature is that of all directions that count, in place of a few leading ones.
        config: of the sampler.
        minibatches: for gradients.

    Raises:
        InputError: an automatic step size where there is no curvature at all.
        Diverged: the curvature is not finite.
    """
    samples, whole, seed = minibatches.samples(0), minibatches.whole, config.seed
    there = basin.draw(random_directions(replicas, seed, "there"), replicas, samples)
    scale: Preconditioner = Identity()
    if config.preconditioner == "curvature" and is_exact:
        known, leading, share = basin.covariance, basin.covariance.vectors, basin.share
        missed = _missed(replicas, there, samples, known, seed)
        scale = LowRank(leading, known.values * missed[:, None], known.rest * missed)
        largest = torch.ones_like(known.values[:, :1])
    else:
        if config.preconditioner == "rmsprop":
            scale = Diagonal(_mean_square(replicas, basin, minibatches, seed))
        values, leading = leading_curvature(replicas, there, samples, whole, scale, seed)
        rank = range(values.shape[1])
        localization = torch.stack([scale.root(leading[:, i]).square().sum(1) for i in rank], 1) * replicas.gamma
        share = 1 - localization / torch.maximum(values, localization + TINY)
        largest = values[:, :1].clamp_min(0)
        if config.preconditioner == "curvature":
            followed = follow(values, replicas.gamma)
            largest = (largest > 0).to(largest.dtype)
            # What is not among the leading directions should be no stiffer than the last of them.
            missed = _missed(replicas, there, samples, LowRank(leading, followed, followed[:, -1]), seed)
            scale = LowRank(leading, followed, followed[:, -1] * missed)
    step_size = _step_sizes(replicas.jobs, largest)
    return Kernel(
        step_size=step_size,
        preconditioner=scale,
        averages_noise=config.integrator == "leimkuhler_matthews",
        stability=(step_size * largest / 4)[:, 0],
        leading=leading,
        loss_fraction=share,
    )


def _missed(replicas: Replicas, there: Tensor, samples: Samples, scale: Preconditioner, seed: int) -> Tensor:
    """Largest curvature in units of a preconditioner ``[replicas]``, 1 where it has missed none."""
    product = potential_product(replicas, there, samples, scale)
    found, _ = lanczos(product, random_directions(replicas, seed, "missed"), CHECK_STEPS)
    return found[:, 0].clamp_min(1.0)


def _mean_square(replicas: Replicas, basin: Basin, minibatches: Minibatches, seed: int) -> Tensor:
    """Of the gradient of the loss over draws of the basin, ``[replicas, size]``."""
    total = torch.zeros_like(basin.slope)
    for i in range(SQUARES):
        samples = minibatches.samples(i)
        there = basin.draw(random_directions(replicas, seed, "square", i), replicas, samples)
        _, gradient = replicas.group.loss_and_gradient(there, replicas.which, samples)
        total += gradient.square() / SQUARES
    return total


def _step_sizes(jobs: list[Job], largest: Tensor) -> Tensor:
    """``[replicas, 1]``, the automatic ones in units of the inverse of the largest curvature ``[replicas, 1]``."""
    step_size = torch.zeros_like(largest)
    for row, job in enumerate(jobs):
        if job.step_size == "auto" and largest[row] == 0:
            raise InputError(
                f'step_size="auto" needs curvature at w*; region {job.region.name!r} has none: '
                "give a number, or a localization above 0"
            )
        each = 4 * DISTANCE_TO_INSTABILITY / largest[row] if job.step_size == "auto" else float(job.step_size)
        step_size[row] = job.step_factor * each
    return step_size
