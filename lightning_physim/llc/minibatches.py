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

    Without replacement within a pass; the samples that do not fill a last minibatch are left out of that pass.

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
        self.epoch = -1
        self.order = torch.empty(0, dtype=torch.long)

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

    def __getitem__(self, t: int) -> Minibatch:
        if self.full:
            return self.whole
        if t in self.kept:
            return self.kept[t]
        minibatch = self.objective.minibatch(self.samples(t), self.wanted)
        # Chains see it on their way, and each group once more at its centres.
        if sum(gradient.numel() for gradient in minibatch.gradients.values()) * (len(self.kept) + 1) <= KEPT_GRADIENTS:
            self.kept[t] = minibatch
        return minibatch

    def with_gradients(self, t: int) -> Minibatch:
        """Minibatch ``t`` with gradients, whatever the others have."""
        return self.whole if self.full else self.objective.minibatch(self.samples(t), self.names)

    def samples(self, t: int) -> Samples:
        """The samples of minibatch ``t`` alone."""
        data = self.objective.data
        if self.full:
            return data
        epoch, position = divmod(t, self.per_pass)
        if epoch != self.epoch:
            generator = stream(torch.device("cpu"), self.seed, "batches", epoch)
            self.order = torch.randperm(self.objective.n, generator=generator).to(self.objective.device)
            self.epoch = epoch
        rows = self.order[position * self.size : (position + 1) * self.size]
        return tuple(tensor[rows] for tensor in data)
