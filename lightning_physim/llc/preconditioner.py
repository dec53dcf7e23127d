"""Constant matrices that scale the steps of a chain: the density it samples is the same, the time it takes is not."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

TINY = 1e-30
"""In place of zero where something is divided by it."""


class Preconditioner(Protocol):
    """A symmetric positive matrix ``P`` for each replica; all arguments and results are ``[replicas, size]``."""

    def apply(self, gradient: Tensor) -> Tensor:
        """``P gradient``, for the drift."""

    def root(self, noise: Tensor) -> Tensor:
        """``P^(1/2) noise``, for the noise."""

    def select(self, rows: Tensor) -> "Preconditioner":
        """The matrices of these replicas."""


class Identity:
    """Plain SGLD."""

    def apply(self, gradient: Tensor) -> Tensor:
        return gradient

    def root(self, noise: Tensor) -> Tensor:
        return noise

    def select(self, rows: Tensor) -> "Identity":
        return self


@dataclass
class Diagonal:
    """``1 / (sqrt(square) + eps)`` of RMSprop (Li et al. 2016, arXiv 1512.07666), with a ``square`` that stays.

    Their correction term for a ``square`` that follows the chain is zero for one that does not.

    Args:
        square: ``[replicas, size]``, mean squared gradient of the loss.
    """

    square: Tensor
    eps: float = 0.1

    def apply(self, gradient: Tensor) -> Tensor:
        return gradient / (self.square.sqrt() + self.eps)

    def root(self, noise: Tensor) -> Tensor:
        return noise / (self.square.sqrt() + self.eps).sqrt()

    def select(self, rows: Tensor) -> "Diagonal":
        return Diagonal(self.square[rows], self.eps)


@dataclass(frozen=True)
class Directions:
    """Orthonormal directions of replicas, which share what is large: the chains of a job have the same.

    Args:
        vectors: ``[jobs, rank, size]``.
        which: whose of them are each replica's, ``[replicas]``.
    """

    vectors: Tensor
    which: Tensor

    @classmethod
    def of_each(cls, vectors: Tensor) -> "Directions":
        """Those of replicas ``[replicas, rank, size]`` that share nothing."""
        return cls(vectors, torch.arange(len(vectors), device=vectors.device))

    def along(self, x: Tensor) -> Tensor:
        """Components ``[replicas, rank]`` of ``x`` ``[replicas, size]`` in the replicas' directions."""
        return self._by_job(x, self.vectors.mT)

    def combine(self, weights: Tensor) -> Tensor:
        """Sums ``[replicas, size]`` of the directions, by weights ``[replicas, rank]``."""
        return self._by_job(weights, self.vectors)

    def select(self, rows: Tensor) -> "Directions":
        """Those of these replicas."""
        return Directions(self.vectors, self.which[rows])

    def _by_job(self, x: Tensor, matrices: Tensor) -> Tensor:
        # One product for each job with all of its replicas: to read the directions is what takes the time.
        places, most = self._places
        padded = x.new_zeros(len(matrices) * most, x.shape[1])
        padded[places] = x
        return (padded.view(len(matrices), most, -1) @ matrices).flatten(0, 1)[places]

    @cached_property
    def _places(self) -> tuple[Tensor, int]:
        """Places of the replicas in a table of jobs with as many columns as the most replicas of one; that number."""
        alike = self.which[:, None] == self.which
        most = int(alike.sum(1).max())
        return self.which * most + alike.tril(-1).sum(1), most


@dataclass
class LowRank:
    """``V diag(1/values) V^T + (1 - V V^T) / rest``: stiff directions known one by one, all others alike.

    Args:
        directions: ``V``, of each replica.
        values: ``[replicas, rank]``.
        rest: ``[replicas]``.
    """

    directions: Directions
    values: Tensor
    rest: Tensor

    def apply(self, gradient: Tensor) -> Tensor:
        return self._scale(gradient, 1 / self.values, 1 / self.rest)

    def root(self, noise: Tensor) -> Tensor:
        return self._scale(noise, self.values.rsqrt(), self.rest.rsqrt())

    def select(self, rows: Tensor) -> "LowRank":
        return LowRank(self.directions.select(rows), self.values[rows], self.rest[rows])

    def _scale(self, x: Tensor, inside: Tensor, outside: Tensor) -> Tensor:
        along = self.directions.along(x)
        return x * outside[:, None] + self.directions.combine(along * (inside - outside[:, None]))
