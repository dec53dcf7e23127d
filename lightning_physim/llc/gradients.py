"""Estimates of the loss and its gradient from one minibatch: plain, or less what is known of the minibatch's error."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from lightning_physim.llc.minibatches import Minibatches
from lightning_physim.llc.objective import Group, Minibatch


class Rise(NamedTuple):
    """Rise of the loss above w*, ``L_B(w) - L_B(w*)``, and the part of it that is linear in the displacement.

    Attributes:
        total: ``[replicas]``.
        slope: of the part to leave out, ``[replicas, size]``.
    """

    total: Tensor
    slope: Tensor

    def beyond_slope(self, displacement: Tensor) -> Tensor:
        """The rise without the linear part, ``[replicas]``."""
        return self.total - (self.slope * displacement).sum(1)


class GradientEstimator(Protocol):
    """Estimates at displacements ``[replicas, size]`` from w* of the regions ``which`` ``[replicas]`` of a group."""

    def rise(self, displacement: Tensor, which: Tensor, minibatch: Minibatch) -> Rise:
        """The rise of the loss alone."""

    def rise_and_gradient(self, displacement: Tensor, which: Tensor, minibatch: Minibatch) -> tuple[Rise, Tensor]:
        """The rise of the loss, and its gradient ``[replicas, size]``."""


@dataclass(frozen=True)
class PlainGradient:
    """The minibatch's own loss and gradient.

    Args:
        group: of the regions.
        slope: what every rise leaves out, ``[regions, size]``: the gradient at w* over the whole estimation set for
            estimates about the centre, where the same slope is left out at the centre; else zero.
    """

    group: Group
    slope: Tensor

    def rise(self, displacement: Tensor, which: Tensor, minibatch: Minibatch) -> Rise:
        loss = self.group.values(displacement, which, minibatch.samples)
        return Rise(loss - minibatch.loss, self.slope[which])

    def rise_and_gradient(self, displacement: Tensor, which: Tensor, minibatch: Minibatch) -> tuple[Rise, Tensor]:
        loss, gradient = self.group.loss_and_gradient(displacement, which, minibatch.samples)
        return Rise(loss - minibatch.loss, self.slope[which]), gradient


class ControlVariate:
    """Another estimator less the minibatch's error at w*, which is known (Baker et al. 2019, arXiv 1706.05439).

    The means stay the same; near w* little of the noise is left.

    Args:
        estimator: to improve.
        group: of the regions.
        whole: the estimation set, with gradients. Minibatches need gradients too.
    """

    def __init__(self, estimator: GradientEstimator, group: Group, whole: Minibatch) -> None:
        self.estimator = estimator
        self.group = group
        self.exact = group.gather(whole.gradients)

    def rise(self, displacement: Tensor, which: Tensor, minibatch: Minibatch) -> Rise:
        rise = self.estimator.rise(displacement, which, minibatch)
        return Rise(rise.total, self._error(minibatch)[which] + rise.slope)

    def rise_and_gradient(self, displacement: Tensor, which: Tensor, minibatch: Minibatch) -> tuple[Rise, Tensor]:
        rise, gradient = self.estimator.rise_and_gradient(displacement, which, minibatch)
        error = self._error(minibatch)[which]
        return Rise(rise.total, error + rise.slope), gradient - error

    def _error(self, minibatch: Minibatch) -> Tensor:
        """What the minibatch's gradient at w* has too much, ``[regions, size]``."""
        return self.group.gather(minibatch.gradients) - self.exact


def rise_over_all(group: Group, displacement: Tensor, which: Tensor, minibatches: Minibatches) -> Tensor:
    """Rise of the loss over the whole estimation set, ``[replicas]``."""
    whole, size = minibatches.whole, minibatches.part_size
    total = torch.zeros_like(displacement[:, 0])
    for start in range(0, len(whole), size):
        part = tuple(tensor[start : start + size] for tensor in whole.samples)
        total += len(part[0]) / len(whole) * group.values(displacement, which, part)
    return total - whole.loss
