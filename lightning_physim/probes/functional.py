"""Per-head scores of attention patterns, as pure functions of tensors.

Distances are in *contact diameters*: the distance of two centres over the sum of the two radii, so that 1 means
touching. A particle is *near* a query within ``radius`` contact diameters. Rows are summed in the precision of the
attention, everything above them in float64.
"""

import math

import numpy as np
import torch
from torch import Tensor


def reduced_distance(positions: Tensor, contact_distance: Tensor) -> Tensor:
    """Distances ``[systems, query, key]`` in contact diameters.

    Args:
        positions: ``[systems, particles, 2]``.
        contact_distance: ``[particles, particles]``, sums of radii.
    """
    across, up = (side.unsqueeze(-1) - side.unsqueeze(-2) for side in positions.unbind(-1))
    return torch.hypot(across, up) / contact_distance


def without_self(attention: Tensor) -> Tensor:
    """Attention ``[..., query, key]`` with the query's own share removed and the rest scaled to sum to 1.

    A row whose whole mass is on itself becomes zero: it says nothing about others.
    """
    others = attention.clone()
    others.diagonal(dim1=-2, dim2=-1).zero_()
    mass = others.sum(-1, keepdim=True)
    return others.div_(mass.where(mass > 0, 1.0))


def near_others(distance: Tensor, radius: float) -> Tensor:
    """Which keys are near a query and not the query itself: bool ``[systems, query, key]``, of ``distance``."""
    near = distance < radius
    near.diagonal(dim1=-2, dim2=-1).fill_(False)
    return near


def about_to_touch(states: Tensor, contacts: Tensor, contact_distance: Tensor) -> Tensor:
    """Bool ``[states, particles, particles]``: pairs that touch in the interval that follows, and are still apart."""
    apart = torch.cdist(states[..., :2], states[..., :2]) > contact_distance
    return contacts & apart


def collision_score_sums(attention: Tensor, distance: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Sums for the score of Hitchcock et al. 2025: attention mass within ``radius`` of the query, itself included.

    Args:
        attention: ``[layers, systems, heads, query, key]``.
        distance: ``[systems, query, key]``, contact diameters.

    Returns:
        Summed mass ``[layers, heads]`` and the number of queries, a scalar.
    """
    mass = _attention_on(distance < radius, attention)
    return mass, torch.tensor(float(distance.shape[0] * distance.shape[1]), dtype=torch.float64, device=distance.device)


def partner_score_sums(others: Tensor, distance: Tensor, radius: float) -> tuple[Tensor, Tensor, Tensor]:
    """Sums for the partner score: renormalised attention on near others, over queries that have one.

    Args:
        others: ``[layers, systems, heads, query, key]``, attention :func:`without_self`.
        distance: ``[systems, query, key]``, contact diameters.

    Returns:
        Summed mass ``[layers, heads]``, the mass that uniform attention over the others would have (scalar), and the
        number of queries with a near particle (scalar).
    """
    near = near_others(distance, radius)
    uniform = near.sum().double() / max(distance.shape[-1] - 1, 1)
    return _attention_on(near, others), uniform, near.any(-1).sum().double()


def _attention_on(chosen: Tensor, attention: Tensor) -> Tensor:
    """Attention summed over the ``chosen`` pairs, bool ``[systems, query, key]``: float64 ``[layers, heads]``."""
    system, query, key = chosen.nonzero(as_tuple=True)
    return attention[:, system, :, query, key].double().sum(0)


def attention_distance_sums(others: Tensor, distance: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
    """Sums for attention against distance: renormalised attention on a single other particle, by its distance.

    Args:
        others: ``[layers, systems, heads, query, key]``, attention :func:`without_self`.
        distance: ``[systems, query, key]``, contact diameters.
        edges: ``[bins + 1]``, ascending; pairs beyond them are left out.

    Returns:
        Summed attention ``[layers, heads, bins]`` and the number of ordered pairs ``[bins]``.
    """
    within = (distance >= edges[0]) & (distance < edges[-1])
    within.diagonal(dim1=-2, dim2=-1).fill_(False)
    (there,) = within.flatten().nonzero(as_tuple=True)  # most pairs of many particles are too far apart
    bins, n_bins = torch.bucketize(distance.flatten()[there], edges, right=True) - 1, len(edges) - 1
    # Head by head: the weights of all of them in float64 would be twice the attention again.
    by_head = [head.flatten()[there].double() for layer in others for head in layer.unbind(1)]
    mass = torch.stack([torch.bincount(bins, weights, minlength=n_bins) for weights in by_head])
    return mass.view(others.shape[0], others.shape[2], n_bins), torch.bincount(bins, minlength=n_bins).double()


def distance_correlation_sums(others: Tensor, distance: Tensor) -> Tensor:
    """Sums for :func:`correlation`, of the attention on another particle with its distance, over ordered pairs.

    Args:
        others: ``[layers, systems, heads, query, key]``, attention :func:`without_self`.
        distance: ``[systems, query, key]``, contact diameters.

    Returns:
        ``[6, layers, heads]``: number of pairs, and sums of x, of the distance, of their squares and of their product,
        where x is attention less uniform attention, in units of the latter: near zero, it loses nothing when squares
        are subtracted.
    """
    systems, particles, _ = distance.shape
    uniform = 1 / max(particles - 1, 1)
    x = others - uniform
    # Zero on the query itself, as its distance is, which therefore adds nothing.
    x.diagonal(dim1=-2, dim2=-1).zero_()
    y = distance.to(x.dtype)
    rows = (x.sum(-1), torch.linalg.vector_norm(x, dim=-1).square(), torch.linalg.vecdot(x, y.unsqueeze(1)))
    powers = (1, 2, 1)
    sum_x, sum_xx, sum_xy = (row.double().sum((1, 3)) / uniform**p for row, p in zip(rows, powers, strict=True))
    y = y.double()
    alone = torch.stack((torch.full_like(y.sum(), systems * particles * (particles - 1)), y.sum(), y.square().sum()))
    count, sum_y, sum_yy = alone[:, None, None].expand(-1, *sum_x.shape)
    return torch.stack((count, sum_x, sum_y, sum_xx, sum_yy, sum_xy))


def correlation(sums: Tensor) -> Tensor:
    """Pearson correlation ``[...]`` out of sums ``[6, ...]``; NaN where one of the two does not vary.

    A spread below 1e-6 of uniform attention, or of the mean distance, is the rounding of float32, not variation.
    """
    count, x, y, xx, yy, xy = sums
    x, y = x / count, y / count
    var_x, var_y = xx / count - x.square(), yy / count - y.square()
    varies = (var_x > 1e-12) & (var_y > 1e-12 * y.square())
    return torch.where(varies, (xy / count - x * y) / (var_x * var_y).sqrt(), math.nan)


def pair_scores(others: Tensor, contacts: Tensor) -> tuple[Tensor, Tensor]:
    """Attention as a score of every ordered pair of different particles, and whether the pair touches.

    Args:
        others: ``[layers, systems, heads, query, key]``, attention :func:`without_self`.
        contacts: bool ``[systems, query, key]``, which pairs touch in the interval that follows.

    Returns:
        Scores float32 ``[systems, layers, heads, pairs]`` and touches bool ``[systems, pairs]``.
    """
    return _beside(others.transpose(0, 1)).float(), _beside(contacts)


def _beside(square: Tensor) -> Tensor:
    """``[..., n (n - 1)]``: matrices ``[..., n, n]`` row by row, without their diagonal."""
    n = square.shape[-1]
    # Without its first entry a matrix has its diagonal at the end of each row of n + 1.
    return square.flatten(-2)[..., 1:].unflatten(-1, (n - 1, n + 1))[..., :-1].flatten(-2)


def auroc_and_average_precision(scores: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """Areas under the ROC curve and average precisions, float64 ``[heads]``, of scores to rank positives first by.

    The first is the chance that a positive scores above a negative, ties counted half: 0.5 is chance. The second is the
    precision at each positive's own score taken as threshold, averaged over positives: their share is chance. Exact,
    ties included, as in scikit-learn. NaN without positives, the first also without negatives.

    Args:
        scores: ``[heads, samples]``.
        positive: bool ``[samples]``.
    """
    places = np.flatnonzero(positive.cpu().numpy())
    found = np.array([rank_positives(head.cpu().numpy().copy(), places) for head in scores]).reshape(-1, 2)
    areas, precisions = torch.from_numpy(found).unbind(-1)
    return areas, precisions


def rank_positives(scores: np.ndarray, positives: np.ndarray) -> tuple[float, float]:
    """Area and precision of :func:`auroc_and_average_precision` for one head.

    Args:
        scores: ``[samples]``; sorted when this returns, as a copy of them would cost a third of the time.
        positives: places of the positives, int ``[n]``.
    """
    n_positive, n_negative = len(positives), len(scores) - len(positives)
    if not n_positive:
        return math.nan, math.nan
    own = np.sort(scores[positives])
    scores.sort()  # NumPy's sort is twenty times as fast as torch's on a CPU
    below, up_to = (np.searchsorted(scores, own, side) for side in ("left", "right"))
    below_own, up_to_own = (np.searchsorted(own, own, side) for side in ("left", "right"))
    precision = np.mean((n_positive - below_own) / (len(scores) - below))
    if not n_negative:
        return math.nan, float(precision)
    area = 0.5 * np.mean(below - below_own + up_to - up_to_own) / n_negative
    return float(area), float(precision)


def ablation_sums(intact: Tensor, ablated: Tensor, targets: Tensor, contacts: Tensor) -> tuple[Tensor, Tensor]:
    """Sums for the ablation effect: the rise of the squared error on colliding particles, head by head.

    Args:
        intact: predictions ``[systems, particles, 4]``.
        ablated: ``[layers, heads, systems, particles, 4]``, with each head in turn blind to its near keys.
        targets: ``[systems, particles, 4]``.
        contacts: bool ``[systems, particles, particles]``, which pairs touch in the interval.

    Returns:
        Summed rise ``[layers, heads]`` and the number of colliding particles, a scalar.
    """
    colliding = contacts.any(-1).double()
    before = (intact - targets).double().square().mean(-1)
    after = (ablated - targets).double().square().mean(-1)
    return ((after - before) * colliding).sum((-2, -1)), colliding.sum()
