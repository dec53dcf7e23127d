"""Constant matrices that scale the steps of a chain: the density it samples is the same, the time it takes is not."""

from dataclasses import dataclass
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


@dataclass
class LowRank:
    """``V diag(1/values) V^T + (1 - V V^T) / rest``: stiff directions known one by one, all others alike.

    Args:
        vectors: ``V``, orthonormal, ``[replicas, rank, size]``.
        values: ``[replicas, rank]``.
        rest: ``[replicas]``.
    """

    vectors: Tensor
    values: Tensor
    rest: Tensor

    def apply(self, gradient: Tensor) -> Tensor:
        return self._scale(gradient, 1 / self.values, 1 / self.rest)

    def root(self, noise: Tensor) -> Tensor:
        return self._scale(noise, self.values.rsqrt(), self.rest.rsqrt())

    def select(self, rows: Tensor) -> "LowRank":
        return LowRank(self.vectors[rows], self.values[rows], self.rest[rows])

    def _scale(self, x: Tensor, inside: Tensor, outside: Tensor) -> Tensor:
        along = torch.einsum("rkd,rd->rk", self.vectors, x)
        return x * outside[:, None] + torch.einsum("rk,rkd->rd", along * (inside - outside[:, None]), self.vectors)
