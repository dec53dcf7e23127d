"""Estimates of the loss and its gradient from one minibatch: plain, or less what is known of the minibatch's error."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from lightning_physim.llc.minibatches import Minibatches
from lightning_physim.llc.objective import Group, Minibatch

KEPT_ERRORS = 2**24
"""Entries of gradients at a reference that are kept, at most."""


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
    """Estimates at displacements ``[n, size]`` from w*, each for a job: ``row`` ``[n]`` are those of the replicas."""

    def rise(self, displacement: Tensor, row: Tensor, minibatch: Minibatch) -> Rise:
        """The rise of the loss alone."""

    def rise_and_gradient(self, displacement: Tensor, row: Tensor, minibatch: Minibatch) -> tuple[Rise, Tensor]:
        """The rise of the loss, and its gradient ``[n, size]``."""

    def select(self, rows: Tensor) -> "GradientEstimator":
        """That of these jobs."""


@dataclass(frozen=True)
class PlainGradient:
    """The minibatch's own loss and gradient.

    Args:
        group: of the regions.
        which: number of each job's region in the group, ``[rows]``.
        slope: what every rise leaves out, ``[rows, size]``: the gradient at w* over the whole estimation set for
            estimates about the centre, where the same slope is left out at the centre; else zero.
    """

    group: Group
    which: Tensor
    slope: Tensor

    def rise(self, displacement: Tensor, row: Tensor, minibatch: Minibatch) -> Rise:
        loss = self.group.values(displacement, self.which[row], minibatch.samples)
        return Rise(loss - minibatch.loss, self.slope[row])

    def rise_and_gradient(self, displacement: Tensor, row: Tensor, minibatch: Minibatch) -> tuple[Rise, Tensor]:
        loss, gradient = self.group.loss_and_gradient(displacement, self.which[row], minibatch.samples)
        return Rise(loss - minibatch.loss, self.slope[row]), gradient

    def select(self, rows: Tensor) -> "PlainGradient":
        return PlainGradient(self.group, self.which[rows], self.slope[rows])


class ControlVariate:
    """The minibatch's loss and gradient, less its error of both at a reference (Baker et al. 2019, arXiv 1706.05439).

    With a reference r, ``L_B(w)`` is less ``L_B(r) - L(r)`` and ``(grad L_B(r) - grad L(r)) (w - r)``. The means over
    minibatches stay the same, whatever the reference is. Near it little of the noise is left.

    Args:
        plain: the minibatch's own.
        reference: of each job, from w*, ``[rows, size]``.
        rise: of the loss over the whole estimation set there, ``[rows]``.
        gradient: of that loss there, ``[rows, size]``.
    """

    def __init__(self, plain: PlainGradient, reference: Tensor, rise: Tensor, gradient: Tensor) -> None:
        self.plain, self.reference, self.exact = plain, reference, (rise, gradient)
        self.kept: dict[Minibatch, tuple[Tensor, Tensor]] = {}

    @classmethod
    def at_anchor(cls, plain: PlainGradient, whole: Minibatch) -> "ControlVariate":
        """With w* as the reference of every job."""
        gradient = plain.group.gather(whole.gradients).to(plain.slope)[plain.which]
        return cls(plain, torch.zeros_like(gradient), torch.zeros_like(gradient[:, 0]), gradient)

    def at(self, reference: Tensor, minibatches: Minibatches) -> "ControlVariate":
        """The same with another reference, ``[rows, size]``."""
        rise, gradient = over_all(self.plain.group, reference, self.plain.which, minibatches)
        return ControlVariate(self.plain, reference, rise, gradient)

    def rise(self, displacement: Tensor, row: Tensor, minibatch: Minibatch) -> Rise:
        return self._less_error(self.plain.rise(displacement, row, minibatch), row, minibatch)

    def rise_and_gradient(self, displacement: Tensor, row: Tensor, minibatch: Minibatch) -> tuple[Rise, Tensor]:
        rise, gradient = self.plain.rise_and_gradient(displacement, row, minibatch)
        return self._less_error(rise, row, minibatch), gradient - self._error(minibatch)[1][row]

    def select(self, rows: Tensor) -> "ControlVariate":
        rise, gradient = self.exact
        chosen = ControlVariate(self.plain.select(rows), self.reference[rows], rise[rows], gradient[rows])
        chosen.kept = {minibatch: (value[rows], slope[rows]) for minibatch, (value, slope) in self.kept.items()}
        return chosen

    def _less_error(self, rise: Rise, row: Tensor, minibatch: Minibatch) -> Rise:
        value, slope = self._error(minibatch)
        return Rise(rise.total - value[row], rise.slope + slope[row])

    def _error(self, minibatch: Minibatch) -> tuple[Tensor, Tensor]:
        """What the minibatch's rise has too much, as it is continued to w* ``[rows]``, and its gradient
        ``[rows, size]``."""
        if minibatch in self.kept:
            return self.kept[minibatch]
        loss, gradient = self.plain.group.loss_and_gradient(self.reference, self.plain.which, minibatch.samples)
        rise, exact = self.exact
        slope = gradient - exact
        value = loss - minibatch.loss - rise - (slope * self.reference).sum(1)
        if slope.numel() * (len(self.kept) + 1) <= KEPT_ERRORS:
            self.kept[minibatch] = value, slope
        return value, slope


def over_all(group: Group, displacement: Tensor, which: Tensor, minibatches: Minibatches) -> tuple[Tensor, Tensor]:
    """Rise of the loss over the whole estimation set ``[replicas]``, and its gradient ``[replicas, size]``."""
    loss, gradient = torch.zeros_like(displacement[:, 0]), torch.zeros_like(displacement)
    for part, weight in minibatches.objective.parts(minibatches.part_size):
        some = group.loss_and_gradient(displacement, which, part)
        loss, gradient = loss + weight * some[0], gradient + weight * some[1]
    return loss - minibatches.whole.loss, gradient
