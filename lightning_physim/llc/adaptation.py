"""Step size and preconditioner from the curvature where the chains stand."""

from functools import partial

import torch
from torch import Tensor

from lightning_physim.errors import InputError
from lightning_physim.llc.config import SGLDConfig
from lightning_physim.llc.curvature import lanczos
from lightning_physim.llc.objective import Minibatch, Samples
from lightning_physim.llc.preconditioner import Diagonal, Identity, LowRank, Preconditioner
from lightning_physim.llc.ranks import stream
from lightning_physim.llc.sampler import Job, Kernel, Replicas, normal

CURVATURE_STEPS = 10
"""Hessian-vector products behind a step size; half of the Ritz pairs, the converged ones, are used."""
PILOT_CURVATURE_STEPS = 5
"""The same for a pilot chain, whose steps are half as large for it."""
CHECK_STEPS = 3
"""Hessian-vector products that look for stiff directions which a preconditioner has missed."""
CURVATURE_SAMPLES = 256
DISTANCE_TO_INSTABILITY = 0.1
"""``step_size a_max / 4`` of an automatic step size; chains diverge at 1. With Euler's scheme it is also the relative
bias of the stiffest direction."""
SOFTEST = 1e-6
"""Smallest curvature that a preconditioner follows, of the largest."""
TINY = 1e-30


def adapt(
    replicas: Replicas,
    displacement: Tensor,
    samples: Samples,
    whole: Minibatch,
    config: SGLDConfig,
    mean_square: Tensor | None = None,
    roughly: bool = False,
) -> Kernel:
    """How the replicas are to move where they stand.

    Args:
        replicas: one chain of each job.
        displacement: from w*, ``[replicas, size]``.
        samples: for the curvature.
        whole: the estimation set, with gradients at w*.
        config: of the sampler.
        mean_square: of the gradient of the loss, ``[replicas, size]``, for ``"rmsprop"``.
        roughly: good enough for a pilot chain.

    Raises:
        InputError: an automatic step size where there is no curvature at all.
    """
    scale: Preconditioner = Identity() if mean_square is None else Diagonal(mean_square)
    samples = tuple(tensor[:CURVATURE_SAMPLES] for tensor in samples)

    def product(scale: Preconditioner, v: Tensor) -> Tensor:
        along = scale.root(v)
        curved = replicas.group.hessian_product(displacement, replicas.which, along, samples)
        return scale.root(replicas.n_beta * curved + replicas.gamma * along)

    generators = [stream(displacement.device, config.seed, job.region.name, "lanczos") for job in replicas.jobs]
    n_steps = PILOT_CURVATURE_STEPS if roughly else CURVATURE_STEPS
    # The gradient at w* lies in the stiff directions; the random part is for a w* that has none.
    gradients = replicas.group.gather(whole.gradients).to(displacement.dtype)[replicas.which]
    start = [
        _unit(normal(generator, 1, displacement[0])[0]) + _unit(gradient)
        for generator, gradient in zip(generators, gradients, strict=True)
    ]
    values, vectors = lanczos(partial(product, scale), torch.stack(start), n_steps)
    rank = (values.shape[1] + 1) // 2
    leading, leading_values = vectors[:, :rank], values[:, :rank]
    localization = torch.stack([scale.root(leading[:, i]).square().sum(1) for i in range(rank)], 1) * replicas.gamma
    loss_fraction = 1 - localization / torch.maximum(leading_values, localization + TINY)
    largest = values[:, :1].clamp_min(0)
    if config.preconditioner == "curvature":
        followed = torch.maximum(leading_values, torch.maximum(replicas.gamma, SOFTEST * largest))
        scale = LowRank(leading, followed, followed[:, -1])
        largest = (largest > 0).to(largest.dtype)
        if not roughly:
            # What is not among the leading directions should be no stiffer than the last of them.
            noise = torch.cat([normal(generator, 1, displacement[0]) for generator in generators])
            missed, _ = lanczos(partial(product, scale), noise, CHECK_STEPS)
            scale = LowRank(leading, followed, followed[:, -1] * missed[:, 0].clamp_min(1.0))
    step_size = _step_sizes(replicas.jobs, largest, (2 if roughly else 4) * DISTANCE_TO_INSTABILITY)
    return Kernel(
        step_size=step_size,
        preconditioner=scale,
        averages_noise=config.integrator == "leimkuhler_matthews",
        stability=(step_size * largest / 4)[:, 0],
        leading=leading,
        loss_fraction=loss_fraction,
    )


def _step_sizes(jobs: list[Job], largest: Tensor, automatic: float) -> Tensor:
    """``[replicas, 1]``, the automatic ones in units of the inverse of the largest curvature ``[replicas, 1]``."""
    step_size = torch.zeros_like(largest)
    for row, job in enumerate(jobs):
        if job.step_size == "auto" and largest[row] == 0:
            raise InputError(
                f'step_size="auto" needs curvature at w*; region {job.region.name!r} has none: '
                "give a number, or a localization above 0"
            )
        each = automatic / largest[row] if job.step_size == "auto" else float(job.step_size)
        step_size[row] = job.step_factor * each
    return step_size


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.norm().clamp_min(TINY)
