"""Pilots: one chain of each job goes ahead, and step size and preconditioner are adapted to where it ends."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lightning_physim.errors import GivenUp
from lightning_physim.llc.adaptation import adapt
from lightning_physim.llc.chains import Chains
from lightning_physim.llc.config import SGLDConfig
from lightning_physim.llc.minibatches import Minibatches
from lightning_physim.llc.objective import Group, Minibatch
from lightning_physim.llc.sampler import Job, Key, Replicas

PILOT = -1
"""Chain number of pilots."""


def pilot_steps(config: SGLDConfig) -> int:
    """Steps of a pilot: half of the burn-in where something is adapted, else none."""
    return config.n_burn_in // 2 if config.step_size == "auto" or config.preconditioner else 0


def start_chains(
    jobs: Sequence[Job],
    dealt: Sequence[tuple[Group, Sequence[Key]]],
    config: SGLDConfig,
    minibatches: Minibatches,
    stop: Callable[[], bool] | None = None,
) -> list[Chains]:
    """The chains of each group, each where the pilot of its job ended and with the kernel that was adapted there.

    Args:
        jobs: all jobs.
        dealt: groups, and the chains of each that this rank holds: at least one.
        config: of the sampler.
        minibatches: of the pilots' steps; the chains go on where these end.
        stop: asked between steps whether to give up.

    Raises:
        InputError: an automatic step size where there is no curvature at all.
        GivenUp: as ``stop`` said so.
    """
    n_steps = pilot_steps(config)
    first, last = minibatches.samples(0), minibatches.samples(n_steps)
    pilots = []
    for group, keys in dealt:
        replicas = Replicas(group, jobs, [(job, PILOT) for job in sorted({job for job, _ in keys})])
        origin = torch.zeros(len(replicas), group.size, device=group.anchor.device, dtype=group.anchor.dtype)
        square = torch.zeros_like(origin) if config.preconditioner == "rmsprop" else None
        kernel = adapt(replicas, origin, first, minibatches.whole, config, square, roughly=n_steps > 0)
        pilots.append(Pilot(Chains(replicas, kernel, origin, config, minibatches), square))
    for t in range(n_steps):
        if stop is not None and stop():
            raise GivenUp
        minibatch = minibatches[t]
        for pilot in pilots:
            pilot.step(minibatch)
    started = []
    for pilot, (group, keys) in zip(pilots, dealt, strict=True):
        kernel, replicas = pilot.chains.kernel, pilot.chains.replicas
        displacement = pilot.chains.state.displacement
        if n_steps:
            kernel = adapt(replicas, displacement, last, minibatches.whole, config, pilot.mean_square(n_steps))
        row_of = {job: row for row, (job, _) in enumerate(replicas.keys)}
        rows = torch.tensor([row_of[job] for job, _ in keys], device=displacement.device)
        started.append(
            Chains(Replicas(group, jobs, keys), kernel.select(rows), displacement[rows], config, minibatches)
        )
    return started


class Pilot:
    """One chain of each job, which goes ahead to where the others start; nothing is recorded of it but gradients.

    Args:
        chains: to move.
        square: sum of squared gradients of the loss, ``[replicas, size]``; None where nobody needs it.
    """

    def __init__(self, chains: Chains, square: Tensor | None) -> None:
        self.chains, self.square = chains, square

    def step(self, minibatch: Minibatch) -> None:
        """Move by one step."""
        draw = self.chains.step(minibatch, record=False)
        if self.square is not None:
            alive, n_beta = self.chains.state.alive, self.chains.replicas.n_beta
            self.square = self.square + torch.where(alive[:, None], (draw.gradient / n_beta).square(), 0.0)

    def mean_square(self, n_steps: int) -> Tensor | None:
        """Mean squared gradient over so many steps."""
        return None if self.square is None else self.square / n_steps
