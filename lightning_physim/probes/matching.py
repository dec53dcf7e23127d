"""Which head of one run is which head of another: heads have no order, so those of two seeds have to be matched."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment

from lightning_physim.errors import InputError


@dataclass(frozen=True)
class HeadMatch:
    """For every head of the first run, its counterpart in each run.

    Attributes:
        partner: int ``[runs, layers, heads, 2]``, layer and head of the counterpart; in the first run, the head itself.
        similarity: float64 ``[runs, layers, heads]``, correlation of the features of the two.
    """

    partner: np.ndarray
    similarity: np.ndarray

    def reorder(self, values: ArrayLike, run: int) -> np.ndarray:
        """Values ``[layers, heads, ...]`` of ``run`` in the order of the first run's heads."""
        layer, head = np.moveaxis(self.partner[run], -1, 0)
        return np.asarray(values)[layer, head]


def match_heads(runs: Sequence[ArrayLike], across_layers: bool = False) -> HeadMatch:
    """Match the heads of each run to those of the first, one to one, with the largest sum of similarities.

    The similarity of two heads is the Pearson correlation of their features, over those that are finite in both; 0
    where that says nothing, as for a head that attends to all alike. It is blind to the size of the features. Good
    features are the attention patterns of all runs on the same states, flattened; curves of attention against distance
    tell less, as all heads that find near particles have much the same.

    Args:
        runs: for each run, features ``[layers, heads, ...]``; the same shape for all.
        across_layers: let a head be matched to one of another layer. Off by default: only heads of one layer can be
            exchanged without changing the network.

    Raises:
        InputError: no run, or runs of different shapes.
    """
    arrays = [np.asarray(run, dtype=np.float64) for run in runs]
    if not arrays or arrays[0].ndim < 3 or len({array.shape for array in arrays}) > 1:
        raise InputError(
            "match_heads needs one or more runs of features [layers, heads, ...], all of one shape; "
            f"got {', '.join(str(array.shape) for array in arrays) or 'none'}"
        )
    n_layers, n_heads = arrays[0].shape[:2]
    group = n_layers * n_heads if across_layers else n_heads
    # [runs, groups, heads of a group, features]: heads are matched within their group.
    features = np.stack(arrays).reshape(len(arrays), -1, group, arrays[0][0, 0].size)
    partner = np.empty(features.shape[:3], dtype=np.int64)
    similarity = np.empty(features.shape[:3])
    for run, groups in enumerate(features):
        for number, heads in enumerate(groups):
            alike = correlations(features[0, number], heads)
            # A run is its own counterpart even where two of its heads are alike.
            chosen = linear_sum_assignment(alike, maximize=True)[1] if run else np.arange(group)
            partner[run, number] = number * group + chosen
            similarity[run, number] = alike[np.arange(group), chosen]
    shape = (len(arrays), n_layers, n_heads)
    return HeadMatch(np.stack(np.divmod(partner.reshape(shape), n_heads), -1), similarity.reshape(shape))


def correlations(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Pearson correlations ``[n, m]`` of features ``[n, f]`` and ``[m, f]``; 0 where undefined."""
    found = np.zeros((len(rows), len(columns)))
    for i, x in enumerate(rows):
        for j, y in enumerate(columns):
            both = np.isfinite(x) & np.isfinite(y)
            if both.any():
                a, b = x[both] - x[both].mean(), y[both] - y[both].mean()
                size = np.linalg.norm(a) * np.linalg.norm(b)
                found[i, j] = a @ b / size if size > 0 else 0.0
    return found
