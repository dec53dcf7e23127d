"""What was seen inside a network, as arrays."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np


class Circuit(NamedTuple):
    """What the scores of heads depend on.

    Attributes:
        distance: edges of the grid ``[d + 1]``, contact diameters.
        approach: edges of the grid ``[a + 1]``, contact diameters per interval.
        pairs: ordered pairs in each cell, ``[d, a]``.
        map: ``[layers, heads, d, a]``, score of a key above the mean of all pairs; NaN in a cell without pairs.
        spread: ``[layers, heads]``, root mean square of the scores less their mean over the keys of the query.
        by_distance: ``[layers, heads]``, fraction of that variance which a map of the distance explains, corrected for
            the number of cells: 0 for noise. NaN for a head whose scores do not vary.
        by_both: the same for the map of distance and approach.
    """

    distance: np.ndarray
    approach: np.ndarray
    pairs: np.ndarray
    map: np.ndarray
    spread: np.ndarray
    by_distance: np.ndarray
    by_both: np.ndarray


class Patching(NamedTuple):
    """What a head does for the prediction of colliding particles.

    Attributes:
        lost: ``[layers, heads]``, fraction of the change that a partner makes to the prediction which goes when the
            head gives what it gives without the partner.
        lost_error: its standard error over states.
        restored: the fraction which comes when, without the partner, the head alone gives what it gives with it.
        restored_error: its standard error.
        whole: ``[]``, the change that the partner makes to the prediction, as a fraction of the change that it makes
            to the exact answer; 1 is a perfect network.
        whole_error: its standard error.
        cases: ``[]``, how many colliding particles.
    """

    lost: np.ndarray
    lost_error: np.ndarray
    restored: np.ndarray
    restored_error: np.ndarray
    whole: np.ndarray
    whole_error: np.ndarray
    cases: np.ndarray


class Intervention(NamedTuple):
    """Changes of the prediction for a colliding particle, against those of the exact answer, by head.

    Attributes:
        finds: ``[layers, heads]``, fraction of the colliding particles whose most attended other particle is one that
            they touch within the interval.
        slope: change of the prediction over that of the exact answer where the most attended particle is moved.
        slope_error: its standard error over states.
        correlation: of the two changes, about zero.
        through: the part of the slope that goes through this head alone.
        through_error: its standard error.
        control: the part that goes through this head where the least attended of the near particles is moved.
        control_error: its standard error.
        moves: how often the most attended particle was moved, and overlapped nobody then.
    """

    finds: np.ndarray
    slope: np.ndarray
    slope_error: np.ndarray
    correlation: np.ndarray
    through: np.ndarray
    through_error: np.ndarray
    control: np.ndarray
    control_error: np.ndarray
    moves: np.ndarray


class Views(NamedTuple):
    """What is seen inside.

    Attributes:
        circuit: what scores depend on.
        patching: None where the network cannot be patched, nothing collides, or there is no simulator.
        intervention: None where nothing collides, or there is no simulator.
    """

    circuit: Circuit
    patching: Patching | None
    intervention: Intervention | None

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything by a name of its own, such as ``circuit_map`` and ``patching_lost``."""
        return dict(self._named())

    def _named(self) -> Iterator[tuple[str, np.ndarray]]:
        for view, fields in self._asdict().items():
            for name, array in fields._asdict().items() if fields is not None else ():
                yield f"{view}_{name}", array

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "Views":
        """Those that :meth:`arrays` were made of."""
        found: list[Any] = []
        for view, kind in (("circuit", Circuit), ("patching", Patching), ("intervention", Intervention)):
            there = all(f"{view}_{name}" in arrays for name in kind._fields)
            found.append(kind(*(arrays[f"{view}_{name}"] for name in kind._fields)) if there else None)
        return cls(*found)
