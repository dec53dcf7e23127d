"""Chains on their way, and what is recorded of them."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_physim.llc.basin import Basin
from lightning_physim.llc.config import SGLDConfig
from lightning_physim.llc.gradients import ControlVariate, GradientEstimator, PlainGradient, over_all
from lightning_physim.llc.minibatches import Minibatches
from lightning_physim.llc.objective import Minibatch
from lightning_physim.llc.sampler import ChainState, Kernel, Key, Noise, Replicas, acceptance, noise_ratio, step
from lightning_physim.llc.walk import Walk

KEPT_ENTRIES = 2**27
"""Coordinates of draws and gradients that are kept, at most, to hold them against the centre of all: 0.5 GB."""


Mean = tuple[Tensor, Tensor]
"""Displacement and n_beta times the gradient ``[2, size]``, over draws of all living chains of a job; their number."""


class Quantities(NamedTuple):
    """What is told of a draw, or of a mean over draws ``m``, against the centre c of all living chains of its job.

    Attributes:
        value: n_beta times the rise of the loss. About the anchor, from w*. About the centre, from the tangent there.
        virial: ``((w - c) . B (grad U - g) - tr B)/2`` with the Hessian's share ``B = sum f v v'`` of the loss, and g
            the mean of grad U. Partial integration makes its mean zero under ``exp(-U)``.
        plain_virial: the same with ``B = 1``: all directions alike.
        equipartition: ``(w - c) . (n_beta grad L - g)/2``.
        control: what ``zero_variance`` takes out a share of; its mean is zero as well. About the centre the virial.
            About the anchor ``((w - p) . B grad U - tr B)/2 + a . grad U`` with the centre p of the job's other chains,
            ``a = C (l - B G/2)``, their mean slopes l of n_beta L and G of U, and the covariance C of the basin. These
            are fixed for the chain, so that no error of a centre is in its mean. On a quadratic loss whose curvature is
            known the value less this is constant, wherever p lies.
    """

    value: Tensor
    virial: Tensor
    plain_virial: Tensor
    equipartition: Tensor
    control: Tensor


@dataclass(frozen=True)
class ChainRecord:
    """What every rank has to know of a chain.

    Attributes:
        draws: of the chain, float64 ``[draws]``; NaN once it has died.
        own: what the mean of its own draws adds to each, float64 scalars: as many times more than the centre of all is
            off adds as there are chains.
        step_size, step_stability: of its kernel.
        noise_ratio, acceptance: where it ended.
        away: squared distance of the mean of its draws from the centre of all; of each half, where it is alone.
        within: mean squared distance of these draws from their mean; NaN where draws could not be kept.
        localization_share: localization |w - w*|^2 / d, mean over draws.
        shift: n_beta times the rise of the loss, over the whole estimation set, at the centre: the mean over the draws
            of all living chains of its job.
        walk, walk_mcse: of its job (:class:`lightning_physim.llc.walk.Walk`).
        covered: half the trace of B: the learning coefficient of a quadratic loss with the curvature that is known.
    """

    draws: Quantities
    own: Quantities
    step_size: float
    step_stability: float
    noise_ratio: float
    acceptance: float
    away: list[float]
    within: list[float]
    localization_share: float
    shift: float
    walk: float
    walk_mcse: float
    covered: float


@dataclass(frozen=True)
class Centres:
    """Means over the draws of all living chains of a job, a row for each job that has replicas here.

    Attributes:
        displacement: from w*, ``[rows, size]``.
        gradient: n_beta times that of the loss, ``[rows, size]``.
        living: how many chains these are, ``[rows]``.
    """

    displacement: Tensor
    gradient: Tensor
    living: Tensor

    @classmethod
    def of(cls, replicas: Replicas, means: Mapping[int, Mean]) -> "Centres":
        """Those of the jobs of some replicas.

        Args:
            replicas: the replicas.
            means: of each job.
        """
        pairs, living = zip(*(means[job] for job in replicas.rows), strict=True)
        displacement, gradient = torch.stack(pairs, 1)
        return cls(displacement, gradient, torch.stack(living))


class Chains:
    """Replicas that move by one kernel, and what is kept of their draws.

    Args:
        replicas: what is sampled.
        kernel: how the replicas move.
        basin: of each replica.
        walk: of each replica.
        displacement: from w* where they start, ``[replicas, size]``.
        noise: of the replicas.
        config: of the sampler.
        minibatches: for the gradients at w*.
    """

    def __init__(
        self,
        replicas: Replicas,
        kernel: Kernel,
        basin: Basin,
        walk: Walk,
        displacement: Tensor,
        noise: Noise,
        config: SGLDConfig,
        minibatches: Minibatches,
    ) -> None:
        group = replicas.group
        self.replicas, self.kernel, self.basin, self.walk, self.noise = replicas, kernel, basin, walk, noise
        self.state = ChainState.at(displacement, self.noise.draw())
        gradient = group.gather(minibatches.whole.gradients).to(displacement.dtype)[replicas.which_of_row]
        self.about_centre, self.alone = config.about == "centre", config.n_chains == 1
        slope = gradient if self.about_centre else torch.zeros_like(gradient)
        self.slope = slope[replicas.row]
        plain = PlainGradient(group, replicas.which_of_row, slope)
        controlled = config.control_variate and not minibatches.full
        self.estimator: GradientEstimator = ControlVariate.at_anchor(plain, minibatches.whole) if controlled else plain
        self.minibatches, self.seed = minibatches, config.seed
        self.values: list[Tensor] = []
        # In one piece: small tensors that stay, between large ones that go, would leave memory in shreds.
        self.kept = torch.empty(0, 2, *displacement.shape).to(displacement)
        self.keeps = True
        self.expect(config.n_draws)
        self.sums, self.summed = torch.zeros(2, *displacement.shape).to(displacement), 0
        self.sum_localization = torch.zeros_like(displacement[:, 0])

    def expect(self, n_draws: int) -> None:
        """Make room for so many draws in all, unless they are too many to be kept."""
        shape = self.kept.shape[1:]
        self.keeps = self.keeps and n_draws * shape.numel() <= KEPT_ENTRIES
        kept = self.kept.new_empty(n_draws if self.keeps else 0, *shape)
        kept[: len(self.kept)] = self.kept[: len(kept)]
        self.kept = kept

    def select(self, rows: Sequence[int], n_draws: int) -> "Chains":
        """These of them, on their way to so many draws in all."""
        chosen, row = copy.copy(self), torch.tensor(rows, device=self.sums.device)
        chosen.replicas, chosen.noise = self.replicas.select(rows), self.noise.select(rows)
        chosen.kernel, chosen.basin = self.kernel.select(row), self.basin.select(row)
        chosen.walk, chosen.state = self.walk.select(row), self.state.select(row)
        kept = [self.replicas.rows.index(number) for number in chosen.replicas.rows]
        chosen.estimator, chosen.slope = self.estimator.select(torch.tensor(kept, device=row.device)), self.slope[row]
        chosen.sums, chosen.sum_localization = self.sums[:, row], self.sum_localization[row]
        chosen.values, chosen.kept = [value[row] for value in self.values], self.kept[:, :, row]
        chosen.expect(n_draws)
        return chosen

    def step(self, minibatch: Minibatch, record: bool) -> None:
        """Move by one step; the draw before it is recorded, or counts in :meth:`means` alone."""
        u = self.state.displacement
        self.state, draw = step(self.state, minibatch, self.noise.draw(), self.replicas, self.estimator, self.kernel)
        self.sums += torch.stack([u, draw.gradient])
        self.summed += 1
        if record:
            if self.keeps:
                self.kept[len(self.values)] = torch.stack([u, draw.gradient])
            self.sum_localization += self.replicas.gamma[:, 0] * u.square().mean(1)
            self.values.append(draw.value)

    def means(self) -> Tensor:
        """Over all draws since :meth:`forget`: displacement and n_beta times the gradient, ``[2, replicas, size]``."""
        return self.sums / self.summed

    def forget(self) -> None:
        """Begin the means anew."""
        self.sums, self.summed = torch.zeros_like(self.sums), 0

    def refer_to(self, means: Mapping[int, Mean]) -> None:
        """Take what minibatches err by at the centres of jobs from now on, before the first draw that is recorded.

        The noise of gradients grows with the distance from there, and w* may lie far from the centre.

        Args:
            means: of each job.
        """
        if isinstance(self.estimator, ControlVariate):
            self.estimator = self.estimator.at(Centres.of(self.replicas, means).displacement, self.minibatches)

    def _others(self, centres: Centres) -> tuple[Tensor, Tensor]:
        """Mean displacement of the other living chains of each replica's job, and n_beta times that of the gradient.

        Both ``[replicas, size]``; w* and the gradient there, for a chain that is alone.
        """
        living = centres.living[self.replicas.row][:, None]
        centre, of_all = torch.stack([centres.displacement, centres.gradient])[:, self.replicas.row], self.means()
        others = centre + (centre - of_all) / (living - 1).clamp_min(1)
        anchor = torch.stack([torch.zeros_like(self.basin.slope), self.basin.slope])
        point, slope = torch.where(living > 1, others, anchor)
        return point, slope

    def _draws(self, centres: Centres, at_centre: Tensor, drawn: Sequence[int]) -> Quantities:
        """All draws, ``[replicas, draws]``, against the centres of their jobs.

        About the centre they lie beyond the tangent there of their own minibatch. Its slope averages out over the draws
        of all chains, and would count as an error of each until then. What is left is
        ``n_beta (L_B(w) - L_B(c) - grad L_B(c) (w - c))``, which no minibatch makes negative where the loss is convex.

        Virials and equipartition are against the mean of the gradients, and not against the gradient at c. Where the
        loss is not quadratic these differ. The choice adds a term linear in ``w - c`` to each draw. Its mean over all
        draws is zero, as c is the mean of w. But draws would differ by less, and the stated error be too small.

        Args:
            centres: of the jobs.
            at_centre: gradient of the loss over the whole estimation set there, ``[rows, size]``.
            drawn: numbers of the minibatches of the draws.
        """
        n_beta, left_out = self.replicas.n_beta, self.replicas.n_beta * self.slope
        base, tangent = torch.zeros_like(n_beta[:, 0]), torch.zeros_like(self.slope)
        mean = reference = centres.gradient[self.replicas.row]
        if not self.about_centre:
            gamma, (point, of_loss) = self.replicas.gamma, self._others(centres)
            slope_control = self.basin.slope_control(of_loss, of_loss + gamma * point, gamma)
        by_minibatch: dict[int, list[int]] = {}
        for i, t in enumerate(drawn):
            by_minibatch.setdefault(self.minibatches.number(t), []).append(i)
        found: dict[int, Quantities] = {}
        for members in by_minibatch.values():
            if self.about_centre:
                base, tangent = self._tangent(centres, self.minibatches[drawn[members[0]]])
                reference = mean + tangent - n_beta * at_centre[self.replicas.row]  # with the minibatch's error
            for i in members:
                value = self.values[i] - base
                if not self.keeps:
                    found[i] = Quantities(value, *[value * torch.nan] * 4)
                    continue
                displacement, gradient = self.kept[i]
                away = displacement - centres.displacement[self.replicas.row]
                against = self._against(away, gradient - reference)
                control = against[0]
                if self.about_centre:
                    value = value - ((tangent - left_out) * away).sum(1)
                else:
                    about_point = self._against(displacement - point, gradient + gamma * point)[0]
                    control = about_point + (slope_control * (gradient + gamma * displacement)).sum(1)
                every = (torch.where(value.isfinite(), each, torch.nan) for each in (*against, control))
                found[i] = Quantities(value, *every)
        rows = zip(*(found[i] for i in range(len(drawn))), strict=True)
        return Quantities(*(torch.stack(each, 1).double().cpu() for each in rows))

    def _against(self, away: Tensor, gradient: Tensor, of_draw: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        """Virials and equipartition ``[replicas]`` of differences from the centre, both ``[replicas, size]``."""
        share, known = self.basin.share, self.basin.covariance.directions
        force = gradient + self.replicas.gamma * away
        weighted = (share * known.along(away) * known.along(force)).sum(1) - of_draw * share.sum(1)
        plain = (away * force).sum(1) - of_draw * away.shape[1]
        return weighted / 2, plain / 2, (away * gradient).sum(1) / 2

    def _tangent(self, centres: Centres, minibatch: Minibatch) -> tuple[Tensor, Tensor]:
        """n_beta times the rise beyond the slope at w*, and the gradient, at each replica's centre ``[replicas]``,
        ``[replicas, size]``."""
        n_beta, row = self.replicas.n_beta, self.replicas.row
        every = torch.arange(len(self.replicas.rows), device=row.device)
        rise, gradient = self.estimator.rise_and_gradient(centres.displacement, every, minibatch)
        return n_beta[:, 0] * rise.beyond_slope(centres.displacement)[row], n_beta * gradient[row]

    def _own(self, centres: Centres, minibatches: Sequence[Minibatch]) -> Quantities:
        """What the means of each replica's own draws add, ``[replicas]``; the loss there on a few minibatches."""
        n_beta, (own, gradient) = self.replicas.n_beta, self.means()
        away = own - centres.displacement[self.replicas.row]
        left_out = n_beta * self.slope
        value = torch.zeros_like(away[:, 0])
        for minibatch in minibatches:
            base, slope = self._tangent(centres, minibatch)
            there = n_beta[:, 0] * self.estimator.rise(own, self.replicas.row, minibatch).beyond_slope(own)
            weight = len(minibatch) / sum(map(len, minibatches))
            value += weight * (there - base - ((slope - left_out) * away).sum(1))
        differs = gradient - centres.gradient[self.replicas.row]
        against = self._against(away, differs, of_draw=False)
        control = against[0] if self.about_centre else torch.zeros_like(value)  # which takes no centre
        return Quantities(*(each.double().cpu() for each in (value, *against, control)))

    def _distances(self, centres: Centres) -> tuple[Tensor, Tensor]:
        """Squared distances ``[replicas, 1]``: of the draws' mean from the centre, and of the draws from their mean.

        Of a chain that is alone in its job those of its halves, ``[replicas, 2]``.
        """
        centre = centres.displacement[self.replicas.row]
        if not self.keeps:
            away = (self.means()[0] - centre).square().sum(1)[:, None]
            return away, away * torch.nan
        parts = self.kept[: len(self.values), 0].tensor_split(2 if self.alone else 1)
        away = torch.stack([(part.mean(0) - centre).square().sum(1) for part in parts], 1)
        # From the centre, as w* may lie so far away that nothing but rounding would be left of the difference.
        from_centre = [torch.stack([(u - centre).square().sum(1) for u in part]).mean(0) for part in parts]
        return away, torch.stack(from_centre, 1) - away

    def records(
        self, means: Mapping[int, Mean], drawn: Sequence[int], some: Sequence[Minibatch]
    ) -> dict[Key, ChainRecord]:
        """What is known of each chain so far; it may go on.

        Args:
            means: of each job.
            drawn: numbers of the minibatches of the draws.
            some: different minibatches, for what need not be known of all.
        """
        centres = Centres.of(self.replicas, means)
        noise = noise_ratio(self.state, some, self.replicas, self.estimator, self.kernel)
        # Not the noise of the next step: chains go on where the error is not small enough yet.
        proposed = Noise(self.replicas, self.seed, "acceptance").draw()
        accepted = acceptance(self.state, some[0].samples, proposed, self.replicas, self.kernel)
        group, which = self.replicas.group, self.replicas.which_of_row
        rise, gradient = over_all(group, centres.displacement, which, self.minibatches)
        draws, own = self._draws(centres, gradient, drawn), self._own(centres, some)
        away, within = self._distances(centres)
        return {
            key: ChainRecord(
                draws=Quantities(*(each[row] for each in draws)),
                own=Quantities(*(each[row] for each in own)),
                step_size=float(self.kernel.step_size[row, 0]),
                step_stability=float(self.kernel.stability[row]),
                noise_ratio=float(noise[row]),
                acceptance=float(accepted[row]),
                away=away[row].tolist(),
                within=within[row].tolist(),
                localization_share=float(self.sum_localization[row] / len(self.values)),
                shift=float(self.replicas.n_beta[row, 0] * rise[self.replicas.row[row]]),
                walk=float(self.walk.mean[row]),
                walk_mcse=float(self.walk.mcse[row]),
                covered=float(self.basin.share[row].sum() / 2),
            )
            for row, key in enumerate(self.replicas.keys)
        }
