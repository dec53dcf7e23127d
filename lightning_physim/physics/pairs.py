"""Which particles touched, as lists of pairs: their size grows with the contacts, not with the particles squared."""

from typing import NamedTuple

import numpy as np


class ContactPairs(NamedTuple):
    """The pairs of particles that touched, interval by interval.

    Attributes:
        pairs: int32 ``[contacts, 2]``, particles ``i < j``, in lexicographic order within an interval.
        starts: int64 ``[intervals + 1]``; those of interval ``k`` are ``pairs[starts[k]:starts[k + 1]]``.
    """

    pairs: np.ndarray
    starts: np.ndarray

    @classmethod
    def gather(cls, intervals: np.ndarray, pairs: np.ndarray, n_intervals: int, n_particles: int) -> "ContactPairs":
        """Out of ``pairs`` ``[m, 2]`` in any order and any number of times, ``intervals`` ``[m]`` each in its own."""
        codes = np.sort((intervals * n_particles + pairs[:, 0]) * n_particles + pairs[:, 1], kind="stable")
        codes = codes[np.diff(codes, prepend=-1) > 0]  # np.unique takes ten times as long on what is nearly sorted
        rest, j = np.divmod(codes, n_particles)
        interval, i = np.divmod(rest, n_particles)
        starts = np.searchsorted(interval, np.arange(n_intervals + 1))
        return cls(np.stack((i, j), axis=-1).astype(np.int32), starts.astype(np.int64))

    def of(self, intervals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of the given intervals: the place of each one's interval among those, ``[m]``, and pairs ``[m, 2]``."""
        flat = np.ravel(intervals)
        first, counts = self.starts[flat], self.starts[flat + 1] - self.starts[flat]
        place = np.repeat(np.arange(flat.size), counts)
        rows = np.arange(place.size) + np.repeat(first - (np.cumsum(counts) - counts), counts)
        return place, self.pairs[rows]

    def touching(self, intervals: np.ndarray, n_particles: int) -> np.ndarray:
        """Which particles touched another one: bool ``[*intervals.shape, particles]``."""
        place, pairs = self.of(intervals)
        touching = np.zeros((np.size(intervals), n_particles), dtype=np.bool_)
        touching[place[:, None], pairs] = True
        return touching.reshape(*np.shape(intervals), n_particles)

    def dense(self, intervals: np.ndarray, n_particles: int) -> np.ndarray:
        """Which pairs touched: bool ``[*intervals.shape, particles, particles]``, symmetric."""
        place, pairs = self.of(intervals)
        i, j = pairs.T
        dense = np.zeros((np.size(intervals), n_particles, n_particles), dtype=np.bool_)
        dense[place, i, j] = dense[place, j, i] = True
        return dense.reshape(*np.shape(intervals), n_particles, n_particles)
