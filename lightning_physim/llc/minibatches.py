"""The endless stream of minibatches that all chains share."""

import math
from collections.abc import Sequence
from functools import cached_property

import torch

from lightning_physim.llc.objective import Minibatch, Objective, Samples
from lightning_physim.llc.ranks import stream

AHEAD = 64
"""Minibatches that are drawn at a time."""

MIN_PART = 256
"""Samples at a time, at least, where the loss is computed over the whole estimation set."""


class Minibatches:
    """Minibatch ``t``, the same for every chain, region and rank.

    The estimation set is dealt into minibatches once, and each step draws one of them, whatever those before it were.
    What is known of a minibatch, its gradients at a reference or the loss at a centre, then serves many steps. Samples
    that do not fill a last minibatch are left out.

    Passes through all of them in a shuffled order would bias the draws. In a pass, those that have pushed the chains
    sum up to the opposite of those to come. Chains then stand where the loss of the minibatch to come is high.

    Args:
        objective: of the module.
        names: of the parameters that the gradient at w* over the whole set is taken with respect to.
        batch_size: samples of a minibatch, at most; None, or as many as there are, for the whole set every time.
        seed: of the draws.
    """

    def __init__(self, objective: Objective, names: Sequence[str], batch_size: int | None, seed: int) -> None:
        self.objective, self.names, self.seed = objective, names, seed
        # As many as the largest size asks for, of equal size: fewer samples are left out than there are minibatches.
        self.size = objective.n // math.ceil(objective.n / (batch_size or objective.n))
        self.full = self.size == objective.n
        self.kept: dict[int, Minibatch] = {}
        self.dealt = self._shuffled(self.objective.n, "dealt")
        self.block, self.drawn = -1, torch.empty(0, dtype=torch.long)

    @cached_property
    def whole(self) -> Minibatch:
        """The whole estimation set, with gradients."""
        return self.objective.whole(self.names, self.part_size)

    @property
    def count(self) -> int:
        """Minibatches that there are."""
        return self.objective.n // self.size

    @property
    def part_size(self) -> int:
        """Samples at a time where the whole estimation set is gone through."""
        return self.size if self.full else max(self.size, MIN_PART)

    def number(self, t: int) -> int:
        """Which of the minibatches minibatch ``t`` is."""
        block, position = divmod(t, AHEAD)
        if block != self.block:
            generator = stream(torch.device("cpu"), self.seed, "batches", block)
            self.block, self.drawn = block, torch.randint(self.count, (AHEAD,), generator=generator)
        return int(self.drawn[position])

    def __getitem__(self, t: int) -> Minibatch:
        return self._numbered(self.number(t))

    def different(self, n: int) -> list[Minibatch]:
        """The first ``n`` of the minibatches, or all, each once."""
        return [self._numbered(number) for number in range(min(n, self.count))]

    def samples(self, t: int) -> Samples:
        """The samples of minibatch ``t`` alone."""
        return self._samples(self.number(t))

    def _numbered(self, number: int) -> Minibatch:
        if self.full:
            return self.whole
        if number not in self.kept:
            self.kept[number] = self.objective.minibatch(self._samples(number))
        return self.kept[number]

    def _samples(self, number: int) -> Samples:
        if self.full:
            return self.objective.data
        rows = self.dealt[number * self.size : (number + 1) * self.size]
        return tuple(tensor[rows] for tensor in self.objective.data)

    def _shuffled(self, n: int, *purpose: str | int) -> torch.Tensor:
        generator = stream(torch.device("cpu"), self.seed, *purpose)
        return torch.randperm(n, generator=generator).to(self.objective.device)
