"""The endless stream of minibatches that all chains share."""

from collections.abc import Iterator, Sequence
from functools import cached_property

import torch

from lightning_physim.llc.objective import Minibatch, Objective, Samples
from lightning_physim.llc.ranks import stream

MIN_PART = 256
"""Samples at a time, at least, where the loss is computed over the whole estimation set."""


class Minibatches:
    """Minibatch ``t``, the same for every chain, region and rank.

    The estimation set is dealt into minibatches once; every pass goes through all of them, in an order of its own.
    What is known of a minibatch, its gradients at a reference or the loss at a centre, then serves all passes. Samples
    that do not fill a last minibatch are left out.

    Args:
        objective: of the module.
        names: of the parameters that the gradient at w* over the whole set is taken with respect to.
        batch_size: samples of a minibatch; None, or as many as there are, for the whole set every time.
        seed: of the order.
    """

    def __init__(self, objective: Objective, names: Sequence[str], batch_size: int | None, seed: int) -> None:
        self.objective, self.names, self.seed = objective, names, seed
        self.size = objective.n if batch_size is None else min(batch_size, objective.n)
        self.full = self.size == objective.n
        self.kept: dict[int, Minibatch] = {}
        self.dealt = self._shuffled(self.objective.n, "dealt")
        self.epoch, self.order = -1, torch.empty(0, dtype=torch.long)

    @cached_property
    def whole(self) -> Minibatch:
        """The whole estimation set, with gradients."""
        return self.objective.whole(self.names, self.part_size)

    @property
    def per_pass(self) -> int:
        """Minibatches that a pass is made of."""
        return self.objective.n // self.size

    @property
    def part_size(self) -> int:
        """Samples at a time where the whole estimation set is gone through."""
        return self.size if self.full else max(self.size, MIN_PART)

    def parts(self) -> Iterator[tuple[Samples, float]]:
        """The whole estimation set in parts, each with its share of all samples."""
        for start in range(0, self.objective.n, self.part_size):
            part = tuple(tensor[start : start + self.part_size] for tensor in self.objective.data)
            yield part, len(part[0]) / self.objective.n

    def number(self, t: int) -> int:
        """Which of the minibatches of a pass minibatch ``t`` is."""
        epoch, position = divmod(t, self.per_pass)
        if epoch != self.epoch:
            self.epoch, self.order = epoch, self._shuffled(self.per_pass, "batches", epoch)
        return int(self.order[position])

    def __getitem__(self, t: int) -> Minibatch:
        if self.full:
            return self.whole
        number = self.number(t)
        if number not in self.kept:
            self.kept[number] = self.objective.minibatch(self.samples(t))
        return self.kept[number]

    def samples(self, t: int) -> Samples:
        """The samples of minibatch ``t`` alone."""
        data = self.objective.data
        if self.full:
            return data
        first = self.number(t) * self.size
        rows = self.dealt[first : first + self.size]
        return tuple(tensor[rows] for tensor in data)

    def _shuffled(self, n: int, *purpose: str | int) -> torch.Tensor:
        generator = stream(torch.device("cpu"), self.seed, *purpose)
        return torch.randperm(n, generator=generator).to(self.objective.device)
