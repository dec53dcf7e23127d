"""The walk with localization alone: what an estimate would be if the loss held no chain back."""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_physim.llc.basin import Basin, random_directions
from lightning_physim.llc.minibatches import Minibatches
from lightning_physim.llc.sampler import Replicas

PAIRS = 8
"""Displacements of the walk, each with its opposite and a minibatch of its own."""


class Walk(NamedTuple):
    """``n_beta E[L(w* + u) - L(w*)]`` with ``u ~ N(0, 1/localization)``: what chains sample at n_beta = 0.

    It is ``tr H / 2c`` where the loss is quadratic, with its Hessian H and c = localization / n_beta. A learning
    coefficient that only follows it is a sharpness.

    Attributes:
        mean: ``[replicas]``; NaN without localization, as such a walk has no end.
        mcse: its standard error, ``[replicas]``.
    """

    mean: Tensor
    mcse: Tensor

    @classmethod
    def of(cls, replicas: Replicas, basin: Basin, minibatches: Minibatches, seed: int) -> "Walk":
        """That of each replica, with one in place of all chains of a job.

        Displacements go both ways, so that a slope cancels. What the known curvature adds to each beyond its mean is
        taken out.
        """
        n_beta, gamma = replicas.n_beta[:, 0], replicas.gamma[:, 0]
        if not gamma.any():
            unknown = torch.full_like(gamma, torch.nan, dtype=torch.float64)
            return cls(unknown, unknown)
        of_loss = (basin.covariance.values - replicas.gamma).clamp_min(0)
        found = []
        for i in range(PAIRS):
            minibatch = minibatches[i]
            u = random_directions(replicas, seed, "walk", i) / replicas.gamma.sqrt()
            there, opposite = (replicas.group.values(x, replicas.which, minibatch.samples) for x in (u, -u))
            along = basin.covariance.directions.along(u)
            known = (of_loss * (along.square() - 1 / replicas.gamma)).sum(1) / 2
            found.append(n_beta * ((there + opposite) / 2 - minibatch.loss) - known)
        draws = torch.where(gamma > 0, torch.stack(found).double(), torch.nan)
        return cls(draws.mean(0), draws.std(0) / PAIRS**0.5)

    def select(self, rows: Tensor) -> "Walk":
        """The walks of these replicas."""
        return Walk(self.mean[rows], self.mcse[rows])
