"""Which windows make up which batch, on every rank, and the loader that Lightning iterates over."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from lightning_physim.data.batch import Batch, TrajectoryDataset
from lightning_physim.errors import InputError

Position = tuple[int, int]

BATCHES_AHEAD = 8
"""Batches that are read from the disk at a time where the data are larger than memory."""


class ShardedBatchSampler:
    """Lists of indices, one per batch: a function of (seed, epoch, batch number, rank) and of nothing else.

    The indices of a *global* batch, ``batch_size`` per rank, are dealt to the ranks like cards. In training, batches
    come from a permutation of the data and what does not fill a last global batch is left out. In evaluation every
    index comes exactly once, nothing is padded, and the last batch may be empty on some ranks: the number of batches
    is the same on all, because a forward pass under DDP is collective.

    Args:
        n_samples: number of indices.
        batch_size: indices per rank and batch.
        shuffle: training (True) or evaluation (False).
        seed: of the permutations.
        rank, world_size: of this process.

    Raises:
        InputError: training data that do not fill a single global batch.
    """

    def __init__(
        self, n_samples: int, batch_size: int, *, shuffle: bool, seed: int = 0, rank: int = 0, world_size: int = 1
    ) -> None:
        self.n_samples, self.batch_size, self.shuffle, self.seed = n_samples, batch_size, shuffle, seed
        self.rank, self.world_size = rank, world_size
        self.global_batch_size = batch_size * world_size
        if shuffle and n_samples < self.global_batch_size:
            raise InputError(
                f"batch_size x devices must not exceed the {n_samples} training windows; got {batch_size} x "
                f"{world_size}: lower --data.batch_size or raise --data.n_train"
            )

    def __len__(self) -> int:
        full, rest = divmod(self.n_samples, self.global_batch_size)
        return full if self.shuffle else full + (rest > 0)

    def batches(self, epoch: int, first_batch: int = 0) -> Iterator[list[int]]:
        """The batches of ``epoch`` from number ``first_batch`` on, as dealt to this rank."""
        return (batch[self.mine] for batch in self.global_batches(epoch, first_batch))

    @property
    def mine(self) -> slice:
        """Which rows of a global batch are this rank's."""
        return slice(self.rank, None, self.world_size)

    def global_batches(self, epoch: int, first_batch: int) -> Iterator[list[int]]:
        """The global batches of ``epoch`` from number ``first_batch`` on."""
        order = np.arange(self.n_samples)
        if self.shuffle:
            order = np.random.default_rng((self.seed, epoch)).permutation(order)
        for batch in range(first_batch, len(self)):
            start = batch * self.global_batch_size
            yield order[start : start + self.global_batch_size].tolist()


class BatchLoader:
    """Iterates over the batches of a split, from where training stands.

    An ordinary iterable, which Lightning takes as it is: into a bare ``torch.utils.data.DataLoader`` it would put its
    own sampler, which repeats samples. Each iteration asks, when its first batch is due, which epoch it is and at
    which batch it starts; a resumed run thus goes on with the very next batch.

    Args:
        dataset, sampler: what to read, and in which order.
        position: gives ``(epoch, first batch)``, or None outside training: then each iteration is an epoch of its own.
        input_noise: standard deviation of the noise on the first state of a window, as a fraction of the standard
            deviation of each component; drawn from the sampler's seed, the epoch and the batch number.
        permute_targets: give every particle the target of one chosen at random from the global batch, by a permutation
            drawn from the same three. Each rank then reads the whole global batch.
        num_workers, pin_memory: see ``torch.utils.data.DataLoader``.
    """

    def __init__(
        self,
        dataset: TrajectoryDataset,
        sampler: ShardedBatchSampler,
        *,
        position: Callable[[], Position | None] = lambda: None,
        input_noise: float = 0.0,
        permute_targets: bool = False,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        self.dataset, self.batch_sampler = dataset, sampler
        self.input_noise, self.permute_targets = input_noise, permute_targets
        self.num_workers, self.pin_memory = num_workers, pin_memory
        self._position = position
        self._epoch = -1

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[Batch]:
        # A generator: nothing is asked or prefetched before the first batch is due, when Lightning knows the epoch.
        epoch, first = self._position() or (self._epoch + 1, 0)
        self._epoch = epoch
        sampler = self.batch_sampler
        indices = sampler.global_batches if self.permute_targets else sampler.batches
        for number, batch in enumerate(self._read(indices(epoch, first)), first):
            if self.input_noise:
                batch = self._perturb(batch, epoch, number)
            yield self._permute(batch, epoch, number) if self.permute_targets else batch

    def _read(self, indices: Iterator[list[int]]) -> Iterable[Batch]:
        if not self.num_workers and not self.pin_memory:
            if self.dataset.outgrows_memory:
                return self._read_ahead(indices)
            # A batch is read sooner than a DataLoader has asked for it.
            return map(self.dataset.__getitem__, indices)
        # Its worker processes live as long as the iteration.
        return DataLoader(
            self.dataset,
            sampler=indices,  # any iterable will do
            batch_size=None,  # the data set is indexed with whole batches
            collate_fn=_identity,
            num_workers=self.num_workers,
            pin_memory=self.pin_memory,
            generator=torch.Generator(),  # else every epoch draws a number from the global one
        )

    def _read_ahead(self, indices: Iterator[list[int]]) -> Iterator[Batch]:
        """The same batches, several of them being read at a time: a disk serves many at once as fast as one."""
        waiting: deque[Future[Batch]] = deque()
        with ThreadPoolExecutor(BATCHES_AHEAD) as readers:
            for batch in indices:
                waiting.append(readers.submit(self.dataset.__getitem__, batch))
                if len(waiting) > BATCHES_AHEAD:
                    yield waiting.popleft().result()
            yield from (batch.result() for batch in waiting)

    def state_dict(self) -> dict[str, Any]:
        """Empty: the position is in Lightning's own counters. That there is one tells Lightning that we can resume."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing to load."""

    def _perturb(self, batch: Batch, epoch: int, number: int) -> Batch:
        sampler = self.batch_sampler
        n_particles = batch.states.shape[2]
        # Drawn for the global batch, so that the data do not depend on the number of ranks.
        rng = np.random.default_rng((sampler.seed, epoch, number))
        noise = rng.standard_normal((sampler.global_batch_size, n_particles, 4), dtype=np.float32)
        mine = torch.from_numpy(noise if self.permute_targets else noise[sampler.mine])
        return self.dataset.perturb(batch, mine * (self.input_noise * self.dataset.target.state_std))

    def _permute(self, batch: Batch, epoch: int, number: int) -> Batch:
        """This rank's rows of a global batch, with targets dealt anew to all particles of all systems."""
        sampler = self.batch_sampler
        n_systems, _, n_particles, _ = batch.targets.shape
        # A stream of its own beside the noise's: a longer key.
        order = np.random.default_rng((sampler.seed, epoch, number, 1)).permutation(n_systems * n_particles)
        targets = batch.targets.transpose(1, 2).flatten(0, 1)[torch.from_numpy(order)]
        targets = targets.unflatten(0, (n_systems, n_particles)).transpose(1, 2)
        return batch._replace(states=batch.states[sampler.mine], targets=targets[sampler.mine].contiguous())


def _identity(batch: Any) -> Any:
    return batch
