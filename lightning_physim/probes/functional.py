"""Per-head scores of attention patterns, as pure functions of tensors.

Distances are in *contact diameters*: the distance of two centres over the sum of the two radii, so that 1 means
touching. A particle is *near* a query within ``radius`` contact diameters. All sums are taken in float64.
"""

import math

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


MANTISSA_BITS = 10
SMALLEST = 2.0**-32
N_LEVELS = 32 * 2**MANTISSA_BITS + 2
"""Levels of a score in :func:`contact_histograms`: one below :data:`SMALLEST`, then 1024 an octave up to 1."""


def levels(scores: Tensor) -> Tensor:
    """Level of each score in [0, 1]: its leading bits as float32, which rise with it. Below 2^-32 all are level 0."""
    shift = 23 - MANTISSA_BITS
    first = int(torch.tensor(SMALLEST).view(torch.int32)) >> shift
    return ((scores.float().view(torch.int32) >> shift) - (first - 1)).clamp_(min=0)


def contact_histograms(others: Tensor, contacts: Tensor) -> Tensor:
    """Histograms of the attention on pairs that touch and on pairs that do not: all that a ranking needs.

    Scores within a 1024th of each other share a level and count as equal.

    Args:
        others: ``[layers, systems, heads, query, key]``, attention :func:`without_self`.
        contacts: bool ``[systems, query, key]``, which pairs touch in the interval that follows.

    Returns:
        ``[layers, heads, 2, N_LEVELS]``: numbers of ordered pairs that do not touch, and that do.
    """
    n_layers, _, n_heads, n, _ = others.shape
    beside = ~torch.eye(n, dtype=torch.bool, device=others.device)
    scores = others[..., beside].transpose(1, 2).flatten(2)
    row = torch.arange(n_layers * n_heads, device=others.device).view(n_layers, n_heads, 1)
    bins = (2 * row + contacts[:, beside].flatten()) * N_LEVELS + levels(scores)
    counts = torch.bincount(bins.flatten(), minlength=2 * n_layers * n_heads * N_LEVELS)
    return counts.view(n_layers, n_heads, 2, N_LEVELS).double()


def auroc(histograms: Tensor) -> Tensor:
    """Area under the ROC curve ``[...]`` from histograms ``[..., 2, levels]`` of negatives and positives.

    The chance that a positive scores above a negative, ties counted half. NaN where one of the two is missing.
    """
    negatives, positives = histograms.unbind(-2)
    below = negatives.cumsum(-1) - 0.5 * negatives
    return (positives * below).sum(-1) / (positives.sum(-1) * negatives.sum(-1))


def average_precision(histograms: Tensor) -> Tensor:
    """Precision ``[...]`` averaged over the positives, each at its own score taken as threshold; chance is their share.

    Args:
        histograms: ``[..., 2, levels]`` of negatives and positives. Without positives the value is NaN.
    """
    negatives, positives = histograms.flip(-1).unbind(-2)
    hits = positives.cumsum(-1)
    precision = hits / (hits + negatives.cumsum(-1)).clamp_min(1.0)
    return (positives * precision).sum(-1) / positives.sum(-1)


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
