"""Chains: many replicas of one group of regions, moved together, each by its own noise."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_physim.errors import InputError
from lightning_physim.llc.config import SGLDConfig
from lightning_physim.llc.curvature import lanczos
from lightning_physim.llc.objective import Anchor, Batch, Group, Objective
from lightning_physim.llc.preconditioner import Diagonal, Identity, LowRank, Preconditioner
from lightning_physim.llc.ranks import stream
from lightning_physim.llc.regions import Region

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
NOISE_AHEAD = 4096
"""Random numbers that a chain draws at a time, at least those of one step."""
ABSURD = 100.0
"""A chain is dead once n_beta times the rise of its loss exceeds this many times the d/2 of a regular model."""


@dataclass(frozen=True)
class Job:
    """One region at one setting."""

    region: Region
    n_beta: float
    localization: float
    step_size: float | str
    step_factor: float = 1.0


class Minibatches:
    """Batch ``t`` of an endless stream, the same for every chain, region and rank.

    Without replacement within a pass; the samples that do not fill a last batch are left out of that pass.
    """

    def __init__(self, objective: Objective, batch_size: int | None, seed: int) -> None:
        self.data = objective.data
        self.size = objective.n if batch_size is None else min(batch_size, objective.n)
        self.full = self.size == objective.n
        self.seed = seed
        self.epoch = -1
        self.order = torch.empty(0, dtype=torch.long)

    def __getitem__(self, t: int) -> Batch:
        if self.full:
            return self.data
        epoch, position = divmod(t, len(self.data[0]) // self.size)
        if epoch != self.epoch:
            generator = stream(torch.device("cpu"), self.seed, "batches", epoch)
            self.order = torch.randperm(len(self.data[0]), generator=generator).to(self.data[0].device)
            self.epoch = epoch
        rows = self.order[position * self.size : (position + 1) * self.size]
        return tuple(tensor[rows] for tensor in self.data)


class Anchors:
    """Loss and gradients at w*: over the whole estimation set once, and over each minibatch as it comes."""

    def __init__(
        self, objective: Objective, regions: Sequence[Region], config: SGLDConfig, batches: Minibatches
    ) -> None:
        self.objective, self.batches = objective, batches
        names = list(dict.fromkeys(name for region in regions for name in region.index))
        self.names, self.wanted = names, names if config.control_variate else []
        self.whole = objective.at_anchor_of_all(names, objective.n if batches.full else max(batches.size, 256))

    def __call__(self, batch: Batch, with_gradients: bool = False) -> Anchor:
        """Gradients come along where the config's control variates need them, or where they are asked for."""
        if self.batches.full:
            return self.whole
        return self.objective.at_anchor(batch, self.names if with_gradients else self.wanted)


class Walkers:
    """Replicas ``(job, chain)`` of a group, in lockstep.

    Attributes:
        u: displacement from w*, ``[replicas, size]``.
        alive: bool ``[replicas]``; a chain that diverged stays dead, at no displacement, and yields NaN.
    """

    def __init__(
        self, group: Group, jobs: Sequence[Job], rows: Sequence[tuple[int, int]], config: SGLDConfig, anchors: Anchors
    ) -> None:
        device, dtype = group.anchor.device, group.anchor.dtype
        self.group, self.jobs, self.rows, self.config, self.anchors = group, jobs, list(rows), config, anchors
        self.which = torch.tensor([group.regions.index(jobs[job].region) for job, _ in rows], device=device)
        column = {"device": device, "dtype": dtype}
        self.n_beta = torch.tensor([[jobs[job].n_beta] for job, _ in rows], **column)  # type: ignore[arg-type]
        self.gamma = torch.tensor([[jobs[job].localization] for job, _ in rows], **column)  # type: ignore[arg-type]
        self.u = torch.zeros(len(rows), group.size, device=device, dtype=dtype)
        self.square = torch.zeros_like(self.u) if config.preconditioner == "rmsprop" else None
        self.n_squares = 0
        self.alive = torch.ones(len(rows), dtype=torch.bool, device=device)
        self.streams = [stream(device, config.seed, jobs[job].region.name, chain) for job, chain in rows]
        self.noise_ahead: list[Tensor] = []
        self.noise = self._noise()
        self.gradient = torch.stack([region.gather(anchors.whole.gradients) for region in group.regions]).to(dtype)
        self.slope = self.gradient if config.about == "centre" else torch.zeros_like(self.gradient)
        self.preconditioner: Preconditioner = Identity()
        self.step_size = torch.zeros_like(self.n_beta)

    def evaluate(self, batch: Batch, anchor: Anchor) -> tuple[Tensor, Tensor]:
        """``n_beta (L_B(w) - L_B(w*))`` ``[replicas]`` and ``n_beta grad L`` ``[replicas, size]``.

        With gradients in ``anchor`` both lose what of the minibatch's noise is known from them. About the centre, the
        values also lose the slope at w*, which :meth:`mean_rise` leaves out at the centre as well.
        """
        loss, gradient = self.group.loss_and_gradient(self.u, self.which, batch)
        excess = self._excess(anchor)[self.which]
        rise = loss - anchor.loss - ((excess + self.slope[self.which]) * self.u).sum(1)
        return self.n_beta[:, 0] * rise, self.n_beta * (gradient - excess)

    def mean_rise(self, displacement: Tensor, which: Tensor, batches: Sequence[Batch]) -> Tensor:
        """``L(w) - L(w*)`` ``[n]`` at given displacements of given regions, less the slope as in :meth:`evaluate`.

        Less, too, what is known of each minibatch's error from its gradient at w*, which leaves so little of it that a
        few minibatches do.
        """
        total = torch.zeros_like(displacement[:, 0])
        for batch in batches:
            anchor = self.anchors(batch, with_gradients=True)
            rise = self.group.values(displacement, which, batch) - anchor.loss
            total += len(batch[0]) * (rise - ((self._excess(anchor) + self.slope)[which] * displacement).sum(1))
        return total / sum(len(batch[0]) for batch in batches)

    def _excess(self, anchor: Anchor) -> Tensor:
        """What a minibatch's gradient at w* has too much, ``[regions, size]``; zero where it is not known."""
        whole = self.anchors.whole
        if not anchor.gradients or anchor is whole:
            return torch.zeros_like(self.group.anchor)
        return torch.stack(
            [region.gather(anchor.gradients) - region.gather(whole.gradients) for region in self.group.regions]
        )

    def step(self, batch: Batch, anchor: Anchor) -> tuple[Tensor, Tensor]:
        """Move by one step; what was there before it, ``[replicas]`` each, NaN for dead chains.

        Returns:
            The values of :meth:`evaluate`, and the virial ``((w - w*) . grad U(w) - size)/2`` with the potential U that
            is sampled. Partial integration makes its mean zero under ``exp(-U)``, wherever w* lies.
        """
        value, gradient = self.evaluate(batch, anchor)
        limit = ABSURD * max(self.group.size / 2, 1)
        self.alive = self.alive & torch.isfinite(value) & (value < limit) & torch.isfinite(gradient).all(1)
        if self.square is not None:
            self.square = self.square + torch.where(self.alive[:, None], (gradient / self.n_beta).square(), 0.0)
            self.n_squares += 1
        force = gradient + self.gamma * self.u
        virial = ((self.u * force).sum(1) - self.group.size) / 2
        self.u = torch.where(self.alive[:, None], self._moved(force), 0.0)
        return torch.where(self.alive, value, torch.nan), torch.where(self.alive, virial, torch.nan)

    def adapt(self, batch: Batch, roughly: bool = False) -> None:
        """Choose step size and preconditioner where the replicas stand.

        Args:
            batch: for the curvature.
            roughly: good enough for a pilot chain.


        Raises:
            InputError: an automatic step size where there is no curvature at all.
        """
        config = self.config
        scale: Preconditioner = Identity() if self.square is None else Diagonal(self.square / max(self.n_squares, 1))
        batch = tuple(tensor[:CURVATURE_SAMPLES] for tensor in batch)

        def product(v: Tensor) -> Tensor:
            along = scale.root(v)
            curved = self.group.hessian_product(self.u, self.which, along, batch)
            return scale.root(self.n_beta * curved + self.gamma * along)

        generators = [stream(self.u.device, config.seed, self.jobs[job].region.name, "lanczos") for job, _ in self.rows]
        # The gradient at w* lies in the stiff directions; the random part is for a w* that has none.
        start = [
            _unit(self._normal(g)[0]) + _unit(self.gradient[i]) for g, i in zip(generators, self.which, strict=True)
        ]
        values, vectors = lanczos(product, torch.stack(start), PILOT_CURVATURE_STEPS if roughly else CURVATURE_STEPS)
        rank = (values.shape[1] + 1) // 2
        self.leading, leading_values = vectors[:, :rank], values[:, :rank]
        prior = torch.stack([scale.root(self.leading[:, i]).square().sum(1) for i in range(rank)], 1) * self.gamma
        self.loss_share = 1 - prior / torch.maximum(leading_values, prior + 1e-30)
        largest = values[:, :1].clamp_min(0)
        if config.preconditioner == "curvature":
            kept = torch.maximum(leading_values, torch.maximum(self.gamma, 1e-6 * largest))
            scale = LowRank(self.leading, kept, kept[:, -1])
            largest = (largest > 0).to(largest.dtype)
            if not roughly:
                # What is not among the leading directions should be no stiffer than the last of them.
                missed, _ = lanczos(product, torch.cat([self._normal(g) for g in generators]), CHECK_STEPS)
                scale = LowRank(self.leading, kept, kept[:, -1] * missed[:, 0].clamp_min(1.0))
        self.preconditioner = scale
        for row, (number, _) in enumerate(self.rows):
            job = self.jobs[number]
            if job.step_size == "auto" and largest[row] == 0:
                raise InputError(
                    f'step_size="auto" needs curvature at w*; region {job.region.name!r} has none: '
                    "give a number, or a localization above 0"
                )
            automatic = (2 if roughly else 4) * DISTANCE_TO_INSTABILITY / largest[row]
            self.step_size[row] = job.step_factor * (automatic if job.step_size == "auto" else float(job.step_size))
        self.stability = (self.step_size * largest / 4)[:, 0]

    def slope_at(self, centres: Sequence[Tensor]) -> Tensor:
        """What :meth:`mean_rise` leaves out at the displacement ``centres[i]`` of replica i, ``[replicas]``."""
        return (self.slope[self.which] * torch.stack(list(centres))).sum(1)

    def start_from(self, pilots: "Walkers") -> None:
        """Take over where each job's pilot stands, its step size and preconditioner."""
        row_of = {job: row for row, (job, _) in enumerate(pilots.rows)}
        rows = torch.tensor([row_of[job] for job, _ in self.rows], device=self.u.device)
        self.u = pilots.u[rows]
        self.step_size, self.stability = pilots.step_size[rows], pilots.stability[rows]
        self.leading, self.loss_share = pilots.leading[rows], pilots.loss_share[rows]
        self.preconditioner = pilots.preconditioner.select(rows)
        self.square = None

    def noise_ratio(self, batches: Sequence[Batch]) -> Tensor:
        """Relative rise of the estimate ``[replicas]`` by the noise of minibatch gradients, where the chains stand.

        In a quadratic direction i it is step_size n_beta^2 Var_i(grad L_B) / 4; the mean over the leading directions,
        weighted by what each contributes to the estimate. 0 for the whole data set.
        """
        if len(batches) < 2:
            return torch.zeros_like(self.stability)
        gradients = torch.stack([self.evaluate(batch, self.anchors(batch))[1] for batch in batches])
        whitened = torch.stack([self.preconditioner.root(gradient) for gradient in gradients])
        along = torch.einsum("brd,rkd->brk", whitened, self.leading)
        ratio = self.step_size * along.var(0) / 4
        return (ratio * self.loss_share).sum(1) / self.loss_share.sum(1)

    def acceptance(self, batch: Batch) -> Tensor:
        """Probability ``[replicas]`` that Metropolis would accept a step from here, both energies on ``batch``.

        A check of the step size: near 1 for a small one. It does not move the chains. NaN for another integrator than
        Euler's, which gets averages right by steps that Metropolis would refuse.
        """
        if self.config.integrator != "euler":
            return torch.full_like(self.stability, torch.nan)
        here, u = self._energy(batch), self.u
        noise = self._noise()
        self.u = self._euler(here[1], noise)
        there, self.u = self._energy(batch), u
        # The noise that would lead back, up to its sign.
        back = noise - self.step_size.sqrt() / 2 * self.preconditioner.root(here[1] + there[1])
        log_ratio = here[0] - there[0] + (noise.square() - back.square()).sum(1) / 2
        return torch.nan_to_num(log_ratio, nan=-torch.inf).clamp_max(0).exp()

    def _energy(self, batch: Batch) -> tuple[Tensor, Tensor]:
        loss, gradient = self.group.loss_and_gradient(self.u, self.which, batch)
        energy = self.n_beta[:, 0] * loss + self.gamma[:, 0] / 2 * self.u.square().sum(1)
        return energy, self.n_beta * gradient + self.gamma * self.u

    def _moved(self, force: Tensor) -> Tensor:
        noise = self._noise()
        if self.config.integrator == "leimkuhler_matthews":
            noise, self.noise = (noise + self.noise) / 2, noise
        return self._euler(force, noise)

    def _euler(self, force: Tensor, noise: Tensor) -> Tensor:
        drift = self.step_size / 2 * self.preconditioner.apply(force)
        return self.u - drift + self.step_size.sqrt() * self.preconditioner.root(noise)

    def _noise(self) -> Tensor:
        # Small regions draw for many steps at once: a call for each chain and step would cost more than the step.
        if not self.noise_ahead:
            ahead = max(1, NOISE_AHEAD // self.group.size)
            draws = torch.stack([self._normal(generator, ahead) for generator in self.streams], 1)
            self.noise_ahead = list(draws.flip(0))
        return self.noise_ahead.pop()

    def _normal(self, generator: torch.Generator, n: int = 1) -> Tensor:
        return torch.randn(n, self.group.size, generator=generator, device=self.u.device, dtype=self.u.dtype)


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.norm().clamp_min(1e-30)
