"""Chains on their way, and what is recorded of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_physim.llc.config import SGLDConfig
from lightning_physim.llc.gradients import ControlVariate, GradientEstimator, PlainGradient, mean_rise
from lightning_physim.llc.minibatches import Minibatches
from lightning_physim.llc.objective import Minibatch
from lightning_physim.llc.sampler import ChainState, Draw, Kernel, Key, Noise, Replicas, acceptance, noise_ratio, step


@dataclass(frozen=True)
class Trace:
    """Draws of one chain, float64 ``[draws]``; NaN once it has died.

    Attributes:
        values, virials: as of :class:`lightning_physim.llc.sampler.Draw`.
    """

    values: Tensor
    virials: Tensor


@dataclass(frozen=True)
class ChainRecord:
    """What every rank has to know of a chain at its end.

    Attributes:
        trace: its draws.
        step_size, step_stability: of its kernel.
        noise_ratio, acceptance: where it ended.
        localization_share: localization |w - w*|^2 / d, mean over draws.
        rise_at_own_centre: rise of the loss at the mean of its draws, beyond the slope.
        rise_at_centre: the same at the mean over the draws of all living chains of its job.
        slope_at_centre: rise along the slope at that mean.
    """

    trace: Trace
    step_size: float
    step_stability: float
    noise_ratio: float
    acceptance: float
    localization_share: float
    rise_at_own_centre: float
    rise_at_centre: float
    slope_at_centre: float


class Chains:
    """Replicas that move by one kernel, with sums over their draws.

    Args:
        replicas: what is sampled.
        kernel: how the replicas move.
        displacement: from w* where they start, ``[replicas, size]``.
        config: of the sampler.
        minibatches: for the gradients at w*.
    """

    def __init__(
        self, replicas: Replicas, kernel: Kernel, displacement: Tensor, config: SGLDConfig, minibatches: Minibatches
    ) -> None:
        group = replicas.group
        self.replicas, self.kernel = replicas, kernel
        self.noise = Noise(replicas, config.seed)
        self.state = ChainState.at(displacement, self.noise.draw())
        gradient = group.gather(minibatches.whole.gradients).to(displacement.dtype)
        self.slope = gradient if config.about == "centre" else torch.zeros_like(gradient)
        plain: GradientEstimator = PlainGradient(group, self.slope)
        self.controlled = plain if minibatches.full else ControlVariate(plain, group, minibatches.whole)
        self.estimator = self.controlled if config.control_variate else plain
        self.values: list[Tensor] = []
        self.virials: list[Tensor] = []
        self.sum_displacement = torch.zeros_like(displacement)
        self.sum_localization = torch.zeros_like(displacement[:, 0])

    def step(self, minibatch: Minibatch, record: bool) -> Draw:
        """Move by one step; the draw before it, which is recorded or not."""
        u = self.state.displacement
        self.state, draw = step(self.state, minibatch, self.noise.draw(), self.replicas, self.estimator, self.kernel)
        if record:
            self.sum_displacement += u
            self.sum_localization += self.replicas.gamma[:, 0] * u.square().mean(1)
            self.values.append(draw.value)
            self.virials.append(draw.virial)
        return draw

    def mean_displacement(self) -> Tensor:
        """Mean of the recorded draws, ``[replicas, size]``."""
        return self.sum_displacement / len(self.values)

    def traces(self) -> dict[Key, Trace]:
        """The recorded draws of each chain."""
        values, virials = (torch.stack(draws, 1).double().cpu() for draws in (self.values, self.virials))
        return {key: Trace(values[row], virials[row]) for row, key in enumerate(self.replicas.keys)}

    def records(self, centres: Mapping[int, Tensor], upcoming: Sequence[Minibatch]) -> dict[Key, ChainRecord]:
        """What is known of each chain at its end.

        Args:
            centres: mean displacement of each job, ``[size]``.
            upcoming: minibatches with gradients, behind the last one that moved the chains.
        """
        jobs = [job for job, _ in self.replicas.keys]
        row_of = {job: jobs.index(job) for job in sorted(set(jobs))}
        first = torch.tensor(list(row_of.values()), device=self.slope.device)
        each = torch.tensor([list(row_of).index(job) for job in jobs], device=self.slope.device)
        centre, which = torch.stack([centres[job] for job in row_of]), self.replicas.which
        noise = noise_ratio(self.state, upcoming, self.replicas, self.estimator, self.kernel)
        accepted = acceptance(self.state, upcoming[0].samples, self.noise.draw(), self.replicas, self.kernel)
        own = mean_rise(self.controlled, self.mean_displacement(), which, upcoming)
        shared = mean_rise(self.controlled, centre, which[first], upcoming)[each]
        sloping = (self.slope[which] * centre[each]).sum(1)
        return {
            key: ChainRecord(
                trace=trace,
                step_size=float(self.kernel.step_size[row, 0]),
                step_stability=float(self.kernel.stability[row]),
                noise_ratio=float(noise[row]),
                acceptance=float(accepted[row]),
                localization_share=float(self.sum_localization[row] / len(self.values)),
                rise_at_own_centre=float(own[row]),
                rise_at_centre=float(shared[row]),
                slope_at_centre=float(sloping[row]),
            )
            for row, (key, trace) in enumerate(self.traces().items())
        }
