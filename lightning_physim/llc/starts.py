"""Where chains start."""

from collections.abc import Callable, Sequence

import torch

from lightning_physim.errors import GivenUp
from lightning_physim.llc.adaptation import adapt
from lightning_physim.llc.basin import Basin
from lightning_physim.llc.chains import Chains
from lightning_physim.llc.config import SGLDConfig
from lightning_physim.llc.leading_directions import MAX_SKETCHED, Sketch
from lightning_physim.llc.minibatches import Minibatches
from lightning_physim.llc.objective import Group
from lightning_physim.llc.sampler import Job, Key, Noise, Replicas
from lightning_physim.llc.walk import Walk

ADAPTED = -1
"""Chain number of the replicas that kernels are adapted for."""


def start_chains(
    jobs: Sequence[Job],
    dealt: Sequence[tuple[Group, Sequence[Key]]],
    config: SGLDConfig,
    minibatches: Minibatches,
    stop: Callable[[], bool] | None = None,
) -> list[Chains]:
    """The chains of each group: those of even number at w*, the others at draws of their basin.

    Chains that start apart agree only once they have forgotten where they started, and R-hat tells until then.

    Args:
        jobs: all jobs.
        dealt: groups, and the chains of each that this rank holds: at least one.
        config: of the sampler.
        minibatches: of the chains.
        stop: asked between groups whether to give up.

    Raises:
        InputError: an automatic step size where there is no curvature at all; residuals without a row for each sample.
        GivenUp: as ``stop`` said so.
        Diverged: the curvature is not finite.
    """
    samples, whole = minibatches.samples(0), minibatches.whole
    started = []
    for group, keys in dealt:
        if stop is not None and stop():
            raise GivenUp
        one_each = Replicas(group, jobs, [(job, ADAPTED) for job in sorted({job for job, _ in keys})])
        residual_fn = group.objective.residual_fn
        sketch = Sketch(group, residual_fn, config.seed) if residual_fn and group.size <= MAX_SKETCHED else None
        if sketch is not None:
            basin = Basin.by_residuals(one_each, whole, samples, sketch, config.seed)
        else:
            basin = Basin.measured(one_each, whole, samples, config.seed)
        kernel = adapt(one_each, basin, sketch is not None, config, minibatches)
        walk = Walk.of(one_each, basin, minibatches, config.seed)
        row_of = {job: row for row, (job, _) in enumerate(one_each.keys)}
        rows = torch.tensor([row_of[job] for job, _ in keys], device=one_each.which.device)
        replicas, own = Replicas(group, jobs, keys), basin.select(rows)
        noise = Noise(replicas, config.seed)
        apart = torch.tensor([[chain % 2 == 1] for _, chain in keys], device=rows.device)
        displacement = torch.where(apart, own.draw(noise.draw(), replicas, samples), 0.0)
        alike = kernel.select(rows), own, walk.select(rows)
        started.append(Chains(replicas, *alike, displacement, noise, config, minibatches))
    return started
