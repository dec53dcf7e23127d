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

CHECK_STEPS, CHECK_DRAWS = 3, 4
"""Hessian-vector products that look for stiff directions which a preconditioner has missed, at each of so many draws:
curvature differs from draw to draw."""
MAX_PERSISTENCE = 0.9
"""Fraction of its velocity that a chain keeps at most. In a direction without curvature critical friction is none."""
SQUARES = 30
"""Gradients behind their mean square, each at a draw and over a minibatch of its own."""
DISTANCE_TO_INSTABILITY = 0.1
"""``step_size a_max / 4`` of an automatic step size; chains diverge at 1. With Euler's scheme it is also the relative
bias of the stiffest direction."""


def adapt(replicas: Replicas, basin: Basin, is_exact: bool, config: SGLDConfig, minibatches: Minibatches) -> Kernel:
    """How replicas are to move.

    Curvature is measured at draws of the basin, where chains are to be expected: a region can be flat at w* and far
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
    scale: Preconditioner = Identity()
    if config.preconditioner == "curvature" and is_exact:
        known, leading, share = basin.covariance, basin.covariance.directions, basin.share
        missed = _missed(replicas, basin, samples, known, seed)
        scale = LowRank(leading, known.values * missed[:, None], known.rest * missed)
        largest = torch.ones_like(known.values[:, :1])
        softest = largest / missed[:, None]
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
            missed = _missed(replicas, basin, samples, LowRank(leading, followed, followed[:, -1]), seed)
            scale = LowRank(leading, followed, followed[:, -1] * missed)
            softest = largest / missed[:, None]
    step_size = _step_sizes(replicas.jobs, largest)
    return Kernel(
        step_size=step_size,
        preconditioner=scale,
        persistence=_persistence(config, step_size, softest),
        stability=(step_size * largest / 4)[:, 0],
        leading=leading,
        loss_fraction=share,
    )


def _missed(replicas: Replicas, basin: Basin, samples: Samples, scale: Preconditioner, seed: int) -> Tensor:
    """Largest curvature in units of a preconditioner ``[replicas]``, 1 where it has missed none."""
    missed = torch.ones_like(replicas.gamma[:, 0])
    for i in range(CHECK_DRAWS):
        there = basin.draw(random_directions(replicas, seed, "check", i), replicas, samples)
        product = potential_product(replicas, there, samples, scale)
        found, _ = lanczos(product, random_directions(replicas, seed, "missed", i), CHECK_STEPS)
        missed = torch.maximum(missed, found[:, 0])
    return missed


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
