"""Per-head scores of attention patterns, as pure functions of tensors.

Distances are in *contact diameters*: the distance of two centres over the sum of the two radii, so that 1 means
touching. A particle is *near* a query within ``radius`` contact diameters. All sums are taken in float64.
"""

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
    near = (distance < radius).double()
    near.diagonal(dim1=-2, dim2=-1).zero_()
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
