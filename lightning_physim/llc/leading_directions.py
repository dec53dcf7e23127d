"""Leading directions of the curvature at displacements of a choice, by the residuals of a loss."""

from typing import Any

import torch
from torch import Tensor

from lightning_physim.errors import Diverged
from lightning_physim.llc.curvature import NO_SPECTRUM
from lightning_physim.llc.gauss_newton import residuals_of
from lightning_physim.llc.objective import Group, LossFn, Samples
from lightning_physim.llc.preconditioner import TINY
from lightning_physim.llc.ranks import stream

COMBINATIONS = 512
"""Combinations of residuals behind the matrix of a region, at most."""
DIRECTIONS = 128
"""Directions of each region, at most."""
MAX_SKETCHED = 2**17
"""Coordinates of a region whose directions are found so: gradients of all combinations take 0.3 GB."""


class Sketch:
    """Gauss-Newton matrices of the regions of a group, by random combinations of each sample's residuals.

    With random signs s the mean of ``(J's)(J's)'`` is ``J'J``, so that few gradients of all samples stand for the
    derivatives of all residuals. Samples count alike, and so do the directions that only few of them have.

    Args:
        group: of the regions.
        residual_fn: as of :func:`lightning_physim.llc.estimate_llc`.
        seed: of the signs.

    Raises:
        InputError: residuals without a row for each of the data.
    """

    def __init__(self, group: Group, residual_fn: LossFn, seed: int) -> None:
        objective, n = group.objective, min(group.objective.n, COMBINATIONS)
        first = objective.exchanged(residual_fn, tuple(tensor[:n] for tensor in objective.data))
        per_sample = residuals_of(first)[0].numel()
        each = min(per_sample, COMBINATIONS // n)
        if each == per_sample:
            signs = (torch.eye(per_sample) * per_sample**0.5).repeat(n, 1)  # all residuals one by one: exact
        else:
            generator = stream(torch.device("cpu"), seed, "signs")
            signs = torch.randint(0, 2, (n * each, per_sample), generator=generator) * 2.0 - 1
        rows = torch.arange(n).repeat_interleave(each).to(objective.device)
        self.samples: Samples = (
            *(tensor[rows] for tensor in first.data),
            (signs / per_sample**0.5).to(objective.device, objective.dtype),
        )

        def combined(module: Any, batch: Samples) -> Tensor:
            *rows, signs = batch
            return (signs * residual_fn(module, tuple(rows)).reshape(signs.shape)).sum()

        self.group = Group(objective.exchanged(combined, self.samples), group.regions, group.chunk)
        self.group.try_batching(self.samples, each_its_own=True)

    def leading(self, region: int, displacements: Tensor) -> tuple[Tensor, Tensor]:
        """Leading eigenvalues and vectors of a region's Gauss-Newton matrix, in the mean over displacements.

        Args:
            region: its number in the group.
            displacements: from w*, ``[displacements, size]``; combinations take them in turn.

        Returns:
            ``[rank]``, descending, and orthonormal ``[rank, size]``.

        Raises:
            Diverged: a derivative is not finite.
        """
        n = len(self.samples[0])
        turn = torch.arange(n, device=displacements.device) % len(displacements)
        which = torch.full_like(turn, region)
        jacobian = self.group.gradients_of_each(displacements[turn], which, self.samples)
        gram = jacobian @ jacobian.mT * (2 / n)
        if not torch.isfinite(gram).all():
            raise Diverged(NO_SPECTRUM)
        rank = min(DIRECTIONS, *jacobian.shape)
        values, combinations = (each.flip(-1)[..., :rank] for each in torch.linalg.eigh(gram))
        vectors = jacobian.mT @ combinations
        # Those of next to no curvature are not orthogonal after rounding, and those of none are nothing.
        vectors, _ = torch.linalg.qr(vectors / vectors.norm(dim=0).clamp_min(TINY))
        return values.clamp_min(0), vectors.mT.contiguous()
