"""Per-head scores of attention patterns, as pure functions of tensors.

Distances are in *contact diameters*: the distance of two centres over the sum of the two radii, so that 1 means
touching. A particle is *near* a query within ``radius`` contact diameters. All sums are taken in float64.
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
    offsets = positions.unsqueeze(-2) - positions.unsqueeze(-3)
    return offsets.norm(dim=-1) / contact_distance


def without_self(attention: Tensor) -> Tensor:
    """Attention ``[..., query, key]`` with the query's own share removed and the rest scaled to sum to 1.

    A row whose whole mass is on itself becomes zero: it says nothing about others.
    """
    others = attention.to(torch.float64, copy=True)
    others.diagonal(dim1=-2, dim2=-1).zero_()
    mass = others.sum(-1, keepdim=True)
    return others.div_(mass.where(mass > 0, 1.0))


def near_others(distance: Tensor, radius: float) -> Tensor:
    """Which keys are near a query and not the query itself: bool ``[systems, query, key]``, of ``distance``."""
    near = distance < radius
    near.diagonal(dim1=-2, dim2=-1).fill_(False)
    return near


def collision_score_sums(attention: Tensor, distance: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Sums for the score of Hitchcock et al. 2025: attention mass within ``radius`` of the query, itself included.

    Args:
        attention: ``[layers, systems, heads, query, key]``.
        distance: ``[systems, query, key]``, contact diameters.

    Returns:
        Summed mass ``[layers, heads]`` and the number of queries, a scalar.
    """
    near = (distance < radius).double()
    mass = torch.einsum("lshqk,sqk->lh", attention.double(), near)
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
    near = near_others(distance, radius).double()
    mass = torch.einsum("lshqk,sqk->lh", others, near)
    uniform = near.sum() / max(distance.shape[-1] - 1, 1)
    return mass, uniform, near.any(-1).sum().double()


def attention_distance_sums(others: Tensor, distance: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
    """Sums for attention against distance: renormalised attention on a single other particle, by its distance.

    Args:
        others: ``[layers, systems, heads, query, key]``, attention :func:`without_self`.
        distance: ``[systems, query, key]``, contact diameters.
        edges: ``[bins + 1]``, ascending; pairs beyond them are left out.

    Returns:
        Summed attention ``[layers, heads, bins]`` and the number of ordered pairs ``[bins]``.
    """
    # One bin below the axis and one above it take what is left out, the queries themselves among it.
    bins = torch.bucketize(distance, edges, right=True)
    bins.diagonal(dim1=-2, dim2=-1).zero_()
    bins = bins.flatten()
    pairs = torch.bincount(bins, minlength=len(edges) + 1)[1:-1].double()
    mass = others.new_zeros(others.shape[0], others.shape[2], len(edges) + 1)
    mass.index_add_(-1, bins, others.transpose(1, 2).flatten(2))
    return mass[..., 1:-1], pairs


def distance_correlation_sums(others: Tensor, distance: Tensor) -> Tensor:
    """Sums for :func:`correlation`, of the attention on another particle with its distance, over ordered pairs.

    Args:
        others: ``[layers, systems, heads, query, key]``, attention :func:`without_self`.
        distance: ``[systems, query, key]``, contact diameters.

    Returns:
        ``[6, layers, heads]``: number of pairs, and sums of attention, distance, their squares and their product.
    """
    beside = ~torch.eye(distance.shape[-1], dtype=torch.bool, device=distance.device)
    x, y = others[..., beside].transpose(1, 2).flatten(2), distance[:, beside].flatten().double()
    shape = x.shape[:2]
    alone = torch.stack((torch.full_like(y.sum(), y.numel()), y.sum(), y @ y))
    count, sum_y, sum_yy = alone[:, None, None].expand(-1, *shape)
    return torch.stack((count, x.sum(-1), sum_y, x.square().sum(-1), sum_yy, x @ y))


def correlation(sums: Tensor) -> Tensor:
    """Pearson correlation ``[...]`` out of sums ``[6, ...]``; NaN where one of the two does not vary.

    A relative spread below 1e-6 is the rounding of float32, not variation.
    """
    count, x, y, xx, yy, xy = sums
    x, y = x / count, y / count
    var_x, var_y = xx / count - x.square(), yy / count - y.square()
    varies = (var_x > 1e-12 * x.square()) & (var_y > 1e-12 * y.square())
    return torch.where(varies, (xy / count - x * y) / (var_x * var_y).sqrt(), math.nan)


def pair_scores(others: Tensor, contacts: Tensor) -> tuple[Tensor, Tensor]:
    """Attention as a score of every ordered pair of different particles, and whether the pair touches.

    Args:
        others: ``[layers, systems, heads, query, key]``, attention :func:`without_self`.
        contacts: bool ``[systems, query, key]``, which pairs touch in the interval that follows.

    Returns:
        Scores float32 ``[pairs, layers, heads]`` and touches bool ``[pairs]``.
    """
    beside = ~torch.eye(contacts.shape[-1], dtype=torch.bool, device=contacts.device)
    return others[..., beside].permute(1, 3, 0, 2).flatten(0, 1).float(), contacts[:, beside].flatten()


def auroc_and_average_precision(scores: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """Areas under the ROC curve and average precisions, float64 ``[heads]``, of scores to rank positives first by.

    The first is the chance that a positive scores above a negative, ties counted half: 0.5 is chance. The second is the
    precision at each positive's own score taken as threshold, averaged over positives: their share is chance. Exact,
    ties included, as in scikit-learn. NaN without positives, the first also without negatives.

    Args:
        scores: ``[samples, heads]``.
        positive: bool ``[samples]``.
    """
    # NumPy, whose sort is twenty times as fast as torch's on a CPU.
    every, found = scores.T.cpu().numpy(), scores[positive].T.cpu().numpy()
    n_positive, n_negative = found.shape[1], every.shape[1] - found.shape[1]
    areas, precisions = np.full((2, len(every)), math.nan)
    for head, (all_scores, own) in enumerate(zip(np.sort(every), np.sort(found), strict=True)):
        if not n_positive:
            break
        below, up_to = (np.searchsorted(all_scores, own, side) for side in ("left", "right"))
        below_own, up_to_own = (np.searchsorted(own, own, side) for side in ("left", "right"))
        precisions[head] = np.mean((n_positive - below_own) / (len(all_scores) - below))
        if n_negative:
            areas[head] = 0.5 * np.mean(below - below_own + up_to - up_to_own) / n_negative
    return torch.from_numpy(areas), torch.from_numpy(precisions)


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
