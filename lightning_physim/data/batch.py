"""What a training or evaluation step gets, and the memory-mapped data set that hands it out."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_physim.data.ahead import expect_random_access, outgrows_memory
from lightning_physim.data.generate import CONTACT_ARRAYS
from lightning_physim.data.store import open_array, read_metadata
from lightning_physim.physics import ContactPairs
from lightning_physim.target import ResidualTarget


class Evaluation(NamedTuple):
    """What a batch carries to be judged by, and no loss looks at.

    Attributes:
        colliding: bool ``[B, W, N]``, which particles touched another one during the interval.
        masses: float32 ``[N]``.
        no_pair: float32 ``[B, W, N, 4]``, standardised residual that the exact no-neighbour oracle predicts.
    """

    colliding: Tensor
    masses: Tensor
    no_pair: Tensor


class Batch(NamedTuple):
    """Windows of ``W`` successive intervals from ``B`` trajectories of ``N`` particles; ``B`` may be 0.

    Attributes:
        states: float32 ``[B, W+1, N, 4]``, ``(x, y, v_x, v_y)`` in physical units at successive times.
        targets: float32 ``[B, W, N, 4]``, standardised residual of free flight over each interval (see
            :class:`lightning_physim.target.ResidualTarget`), under the split's own gravity.
        gravity: float32 scalar, acceleration along ``-y``.
        evaluation: what evaluation splits add; None in training.
    """

    states: Tensor
    targets: Tensor
    gravity: Tensor
    evaluation: Evaluation | None


class ProbeSet(NamedTuple):
    """Held-out states that every probe of a run looks at.

    Attributes:
        states: float32 ``[n, N, 4]``.
        targets: float32 ``[n, N, 4]``, standardised residuals over the interval that follows.
        contacts: bool ``[n, N, N]``, which pairs touch in it.
    """

    states: Tensor
    targets: Tensor
    contacts: Tensor


class TrajectoryDataset(Dataset[Batch]):
    """Windows of the trajectories of one split, read from memory-mapped files a whole batch at a time.

    Item ``i`` is the window that starts at time ``i % starts`` of trajectory ``i // starts``, where
    ``starts = n_intervals - window + 1``. ``dataset[[3, 1, 4]]`` is the :class:`Batch` of three windows.

    Args:
        directory: of the split, as :func:`lightning_physim.data.generate.make_split` leaves it.
        target: fitted on the training split.
        window: intervals per item; None for whole trajectories.

    Attributes:
        outgrows_memory: whether the states have to be read from the disk again and again.
    """

    def __init__(self, directory: Path, target: ResidualTarget, window: int | None = None) -> None:
        self.directory, self.target = directory, target
        self.metadata = read_metadata(directory)
        tensors = [name for name in self.metadata["arrays"] if name not in CONTACT_ARRAYS]
        mapped = {name: open_array(directory, name) for name in tensors}
        with warnings.catch_warnings():
            # What outgrows memory is mapped read-only. Nobody writes to any of them.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            arrays = {name: torch.from_numpy(array) for name, array in mapped.items()}
        self.states: Tensor = arrays["states"]
        self.wall_contacts: Tensor = arrays["wall_contacts"]
        self.no_pair: Tensor | None = arrays.get("no_pair")
        self.contact_pairs = ContactPairs(*(open_array(directory, name) for name in CONTACT_ARRAYS))
        self.masses = torch.tensor(self.metadata["masses"], dtype=torch.float32)
        self.gravity = torch.tensor(self.metadata["spec"]["system"]["gravity"], dtype=torch.float32)
        self.n_trajectories, self.n_intervals, self.n_particles = self.wall_contacts.shape
        self.window = self.n_intervals if window is None else window
        self._starts = self.n_intervals - self.window + 1
        self.outgrows_memory = outgrows_memory(self.states.nbytes)
        if self.outgrows_memory:
            expect_random_access(mapped["states"])
        self._time_steps = np.arange(self.window + 1)

    def __len__(self) -> int:
        return self.n_trajectories * self._starts

    def __getitem__(self, index: int | Sequence[int]) -> Batch:
        trajectory, start = np.divmod(np.asarray(index, dtype=np.int64).reshape(-1, 1), self._starts)
        # Row numbers in the arrays with trajectories and times flattened together, for one gather per array.
        at_time = trajectory * (self.n_intervals + 1) + start + self._time_steps
        states = _gather(self.states, at_time)
        here = states[:, :-1]
        evaluation = None
        if self.no_pair is not None:
            at_interval = trajectory * self.n_intervals + start + self._time_steps[:-1]
            evaluation = Evaluation(
                colliding=torch.from_numpy(self.contact_pairs.touching(at_interval, self.n_particles)),
                masses=self.masses,
                no_pair=self.target.residual(here, _gather(self.no_pair, at_interval), self.gravity),
            )
        return Batch(
            states=states,
            targets=self.target.residual(here, states[:, 1:], self.gravity),
            gravity=self.gravity,
            evaluation=evaluation,
        )

    def contacts(self, trajectories: Tensor, intervals: Tensor) -> Tensor:
        """Which pairs touched: bool ``[n, N, N]``, in the given intervals ``[n]`` of trajectories ``[n]``."""
        numbers = (trajectories * self.n_intervals + intervals).numpy()
        return torch.from_numpy(self.contact_pairs.dense(numbers, self.n_particles))

    def colliding(self, trajectory: int) -> Tensor:
        """Which particles touched another one in each interval of a trajectory, bool ``[T, N]``."""
        numbers = trajectory * self.n_intervals + np.arange(self.n_intervals)
        return torch.from_numpy(self.contact_pairs.touching(numbers, self.n_particles))

    def perturb(self, batch: Batch, noise: Tensor) -> Batch:
        """``batch`` with ``noise`` ``[B, N, 4]`` on the first states, and the targets that lead back from there."""
        first = batch.states[:, 0] + noise
        states, targets = batch.states.clone(), batch.targets.clone()
        states[:, 0] = first
        targets[:, 0] = self.target.residual(first, states[:, 1], self.gravity)
        return batch._replace(states=states, targets=targets)

    def __reduce__(self) -> tuple[type["TrajectoryDataset"], tuple[Path, ResidualTarget, int]]:
        # A worker process that is not a fork opens the files itself, instead of getting the whole set through a pipe.
        return type(self), (self.directory, self.target, self.window)


def _gather(array: Tensor, rows: np.ndarray) -> Tensor:
    """``array`` ``[trajectories, times, ...]`` at the flattened ``rows`` ``[B, W]``: ``[B, W, ...]``."""
    flat = array.flatten(0, 1).index_select(0, torch.from_numpy(rows.reshape(-1)))
    return flat.view(*rows.shape, *array.shape[2:])
