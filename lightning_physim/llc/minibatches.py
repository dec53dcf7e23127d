"""The endless stream of minibatches that all chains share."""

from collections.abc import Sequence
from functools import cached_property

import torch

from lightning_physim.llc.objective import Minibatch, Objective, Samples
from lightning_physim.llc.ranks import stream

MIN_PART = 256
"""Samples at a time, at least, where the loss is computed over the whole estimation set."""
KEPT_GRADIENTS = 2**24
"""Entries of gradients at w* that are kept, at most."""


class Minibatches:
    """Minibatch ``t``, the same for every chain, region and rank.

    The estimation set is dealt into minibatches once; every pass goes through all of them, in an order of its own.
    What is known of a minibatch, its gradients at w* or the loss at a centre, then serves all passes. Samples that do
    not fill a last minibatch are left out.

    Args:
        objective: of the module.
        names: of the parameters that gradients at w* are taken with respect to.
        batch_size: samples of a minibatch; None, or as many as there are, for the whole set every time.
        seed: of the order.
        with_gradients: whether ``minibatches[t]`` has gradients at w*. The whole set has them in any case.
    """

    def __init__(
        self, objective: Objective, names: Sequence[str], batch_size: int | None, seed: int, with_gradients: bool
    ) -> None:
        self.objective, self.names, self.seed = objective, names, seed
        self.size = objective.n if batch_size is None else min(batch_size, objective.n)
        self.full = self.size == objective.n
        self.wanted = names if with_gradients else ()
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
        if number in self.kept:
            return self.kept[number]
        minibatch = self.objective.minibatch(self.samples(t), self.wanted)
        if sum(gradient.numel() for gradient in minibatch.gradients.values()) * (len(self.kept) + 1) <= KEPT_GRADIENTS:
            self.kept[number] = minibatch
        return minibatch

    def with_gradients(self, t: int) -> Minibatch:
        """Minibatch ``t`` with gradients, whatever the others have."""
        if self.full or self.wanted:
            return self[t]
        return self.objective.minibatch(self.samples(t), self.names)

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
