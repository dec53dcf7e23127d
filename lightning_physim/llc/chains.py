"""Chains on their way, and what is recorded of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_physim.llc.config import SGLDConfig
from lightning_physim.llc.gradients import ControlVariate, GradientEstimator, PlainGradient, rise_over_all
from lightning_physim.llc.minibatches import Minibatches
from lightning_physim.llc.objective import Minibatch
from lightning_physim.llc.sampler import ChainState, Draw, Kernel, Key, Noise, Replicas, acceptance, noise_ratio, step

KEPT_ENTRIES = 2**27
"""Coordinates of draws that are kept, at most, to take what cancels out of their errors: 0.5 GB."""


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
        shift: n_beta times the rise of the loss, over the whole estimation set, at the centre: the mean over the draws
            of all living chains of its job.
        own_shift: n_beta times the rise from there to the mean over its own draws beyond the tangent, on a few
            minibatches.
    """

    trace: Trace
    step_size: float
    step_stability: float
    noise_ratio: float
    acceptance: float
    localization_share: float
    shift: float
    own_shift: float


@dataclass(frozen=True)
class Centres:
    """Means over the draws of all living chains of a job, a row for each job that has replicas here.

    Attributes:
        displacement: from w*, ``[rows, size]``.
        which: number of the region in the group, ``[rows]``.
        n_beta: ``[rows]``.
        row: of each replica, ``[replicas]``.
    """

    displacement: Tensor
    which: Tensor
    n_beta: Tensor
    row: Tensor

    @classmethod
    def of(cls, replicas: Replicas, centres: Mapping[int, Tensor]) -> "Centres":
        """Those of the jobs of some replicas.

        Args:
            replicas: the replicas.
            centres: mean displacement of each job, ``[size]``.
        """
        jobs = [job for job, _ in replicas.keys]
        rows = sorted(set(jobs))
        first = torch.tensor([jobs.index(job) for job in rows], device=replicas.which.device)
        return cls(
            torch.stack([centres[job] for job in rows]),
            replicas.which[first],
            replicas.n_beta[first, 0],
            torch.tensor([rows.index(job) for job in jobs], device=replicas.which.device),
        )


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
        controlled = config.control_variate and not minibatches.full
        self.estimator = ControlVariate(plain, group, minibatches.whole) if controlled else plain
        self.minibatches = minibatches
        self.values: list[Tensor] = []
        self.virials: list[Tensor] = []
        self.displacements: list[Tensor] = []
        self.keeps = config.about == "centre" and displacement.numel() * config.n_draws <= KEPT_ENTRIES
        self.sum_displacement = torch.zeros_like(displacement)
        self.sum_localization = torch.zeros_like(displacement[:, 0])

    def step(self, minibatch: Minibatch, record: bool) -> Draw:
        """Move by one step; the draw before it, which is recorded or not."""
        u = self.state.displacement
        self.state, draw = step(self.state, minibatch, self.noise.draw(), self.replicas, self.estimator, self.kernel)
        if record:
            self.sum_displacement += u
            if self.keeps:
                self.displacements.append(u)
            self.sum_localization += self.replicas.gamma[:, 0] * u.square().mean(1)
            self.values.append(draw.value)
            self.virials.append(draw.virial)
        return draw

    def mean_displacement(self) -> Tensor:
        """Mean of the recorded draws, ``[replicas, size]``."""
        return self.sum_displacement / len(self.values)

    def traces(self, centres: Centres | None = None, drawn: Sequence[int] = ()) -> dict[Key, Trace]:
        """The recorded draws of each chain.

        Args:
            centres: for draws about them.
            drawn: numbers of the minibatches of the draws, for the same.
        """
        values, virials = (torch.stack(draws, 1) for draws in (self.values, self.virials))
        if centres is not None:
            values = values - self._at_centres(centres, drawn)
        values, virials = values.double().cpu(), virials.double().cpu()
        return {key: Trace(values[row], virials[row]) for row, key in enumerate(self.replicas.keys)}

    def _at_centres(self, centres: Centres, drawn: Sequence[int]) -> Tensor:
        """What to take from each draw ``[replicas, draws]``, for it to be about the centre of its job.

        The tangent at the centre of the draw's own minibatch. Its slope averages out over the draws of all chains, and
        would count as an error of each until then. What is left is ``n_beta (L_B(w) - L_B(c) - grad L_B(c) (w - c))``,
        which no minibatch makes negative where the loss is convex.
        """
        taken = []
        for i, t in enumerate(drawn):
            if i == 0 or not self.minibatches.full:
                value, slope = self._tangent(centres, self.minibatches[t])
            along = (slope * (self.displacements[i] - centres.displacement[centres.row])).sum(1) if self.keeps else 0.0
            taken.append(self.replicas.n_beta[:, 0] * (value + along))
        return torch.stack(taken, 1)

    def _tangent(self, centres: Centres, minibatch: Minibatch) -> tuple[Tensor, Tensor]:
        """Rise and slope at each replica's centre ``[replicas]``, ``[replicas, size]``, beyond the slope at w*."""
        rise, gradient = self.estimator.rise_and_gradient(centres.displacement, centres.which, minibatch)
        slope = gradient - self.slope[centres.which]
        return rise.beyond_slope(centres.displacement)[centres.row], slope[centres.row]

    def _own_rise(self, centres: Centres, minibatches: Sequence[Minibatch]) -> Tensor:
        """Rise of the loss from the centre to the mean of each replica's draws beyond the tangent, ``[replicas]``."""
        own = self.mean_displacement()
        total = torch.zeros_like(own[:, 0])
        for minibatch in minibatches:
            value, slope = self._tangent(centres, minibatch)
            there = self.estimator.rise(own, self.replicas.which, minibatch).beyond_slope(own)
            beyond = there - value - (slope * (own - centres.displacement[centres.row])).sum(1)
            total += len(minibatch) / sum(map(len, minibatches)) * beyond
        return total

    def records(
        self, centres: Mapping[int, Tensor], drawn: Sequence[int], upcoming: Sequence[Minibatch], about_centre: bool
    ) -> dict[Key, ChainRecord]:
        """What is known of each chain at its end.

        Args:
            centres: mean displacement of each job, ``[size]``.
            drawn: numbers of the minibatches of the draws.
            upcoming: minibatches with gradients, behind the last one that moved the chains.
            about_centre: whether draws are about the centre, in place of w*.
        """
        middle = Centres.of(self.replicas, centres)
        noise = noise_ratio(self.state, upcoming, self.replicas, self.estimator, self.kernel)
        accepted = acceptance(self.state, upcoming[0].samples, self.noise.draw(), self.replicas, self.kernel)
        shift = middle.n_beta * rise_over_all(self.replicas.group, middle.displacement, middle.which, self.minibatches)
        own_rise = self._own_rise(middle, upcoming)
        return {
            key: ChainRecord(
                trace=trace,
                step_size=float(self.kernel.step_size[row, 0]),
                step_stability=float(self.kernel.stability[row]),
                noise_ratio=float(noise[row]),
                acceptance=float(accepted[row]),
                localization_share=float(self.sum_localization[row] / len(self.values)),
                shift=float(shift[middle.row[row]]),
                own_shift=float(self.replicas.n_beta[row, 0] * own_rise[row]),
            )
            for row, (key, trace) in enumerate(self.traces(middle if about_centre else None, drawn).items())
        }
