"""The query-key circuit: what a head's scores depend on, of the distance and the approach of two particles.

A softmax over keys sees only differences between the scores of one query. What is fitted is therefore

    score(query, key) = level(query) + map(distance, approach) + rest

by least squares, with the map constant over the cells of a grid.
"""

import torch
from torch import Tensor, nn

from lightning_physim.inside.result import Circuit
from lightning_physim.probes import attention_patterns, reduced_distance
from lightning_physim.protocols import HasLogits, offers

FLAT = 1e-5
"""Root mean square of scores below which they are the rounding of equal ones."""


def attention_scores(module: nn.Module, states: Tensor) -> Tensor:
    """Query-key scores ``[layers, systems, heads, query, key]`` of a module, up to a number for each query.

    A module with ``logits(states)`` tells them by itself. Of any other they are the logarithms of its attention, which
    end at that of the smallest normal number.

    Raises:
        InputError: as of :func:`lightning_physim.probes.attention_patterns`.
    """
    if offers(module, HasLogits):
        return module.logits(states)  # type: ignore[operator]
    attention = attention_patterns(module, states)
    return attention.clamp_min(torch.finfo(attention.dtype).tiny).log()


def pair_motion(states: Tensor, contact_distance: Tensor, interval: float) -> tuple[Tensor, Tensor]:
    """Where a key is, and how fast it comes: two ``[systems, query, key]``.

    Args:
        states: ``[systems, particles, 4]``.
        contact_distance: ``[particles, particles]``, sums of radii.
        interval: time between two states.

    Returns:
        Distances of centres in contact diameters, and what they fall by within an interval at their present rate.
        Two that meet head-on touch within the interval where the second exceeds the first less 1.
    """
    positions, velocities = states.split(2, dim=-1)
    offset, relative = (x.unsqueeze(1) - x.unsqueeze(2) for x in (positions, velocities))
    rate = -(offset * relative).sum(-1) / offset.norm(dim=-1).clamp_min(torch.finfo(states.dtype).tiny)
    return reduced_distance(positions, contact_distance), rate * interval / contact_distance


def fit_circuit(
    scores: Tensor,
    distance: Tensor,
    approach: Tensor,
    reach: float = 4.0,
    fastest: float = 1.5,
    n_distance: int = 15,
    n_approach: int = 12,
) -> Circuit:
    """Fit the map of every head over the pairs within reach.

    Args:
        scores: ``[layers, systems, heads, query, key]``; those of a query with itself are not looked at.
        distance: ``[systems, query, key]``, contact diameters.
        approach: the same, contact diameters per interval.
        reach: distance up to which pairs are looked at. Nearer than 1 counts as 1.
        fastest: approach, either way, at which the grid ends. Faster pairs count as those.
        n_distance, n_approach: cells of the grid.
    """
    n_layers, _, n_heads, n, _ = scores.shape
    edges = torch.linspace(1.0, reach, n_distance + 1), torch.linspace(-fastest, fastest, n_approach + 1)
    looked_at = distance < reach
    looked_at.diagonal(dim1=-2, dim2=-1).fill_(False)
    system, query, key = looked_at.nonzero(as_tuple=True)
    far, fast = (
        torch.bucketize(values[looked_at].contiguous(), inner[1:-1].to(values), right=True)
        for values, inner in zip((distance, approach), edges, strict=True)
    )
    queries = (system * n + query).unique(return_inverse=True)[1]
    n_keys = queries.bincount().double()
    found = scores[:, system, :, query, key].double().flatten(1)  # [pairs, layers x heads]
    level = found.new_zeros(len(n_keys), found.shape[1]).index_add(0, queries, found) / n_keys[:, None]
    found = found - level[queries]
    spread = found.square().mean(0).sqrt() if len(found) else found.new_full(found.shape[1:], torch.nan)
    _, by_distance = _fit(found, queries, far, n_distance)
    maps, by_both = _fit(found, queries, far * n_approach + fast, n_distance * n_approach)
    pairs = torch.bincount(far * n_approach + fast, minlength=n_distance * n_approach).double()
    maps = (maps - (pairs @ maps) / pairs.sum()).where(pairs[:, None] > 0, torch.nan)
    of_heads = [x.where(spread > FLAT, torch.nan).view(n_layers, n_heads) for x in (by_distance, by_both)]
    arrays = (
        *edges,
        pairs.view(n_distance, n_approach),
        maps.T.reshape(n_layers, n_heads, n_distance, n_approach),
        spread.view(n_layers, n_heads),
        *of_heads,
    )
    return Circuit(*(array.cpu().numpy() for array in arrays))


def _fit(found: Tensor, queries: Tensor, cells: Tensor, n_cells: int) -> tuple[Tensor, Tensor]:
    """Least squares of scores less their query's mean, ``[pairs, heads]``, on the cell that each pair is in.

    Returns:
        The map ``[cells, heads]`` up to a constant, and the explained fraction of the variance ``[heads]``.
    """
    n_queries = int(queries.max()) + 1 if len(queries) else 0
    counts = torch.bincount(queries * n_cells + cells, minlength=n_queries * n_cells).view(n_queries, n_cells).double()
    # The normal equations of indicators less their mean over the keys of a query.
    matrix = counts.sum(0).diag() - counts.T @ (counts / counts.sum(1, keepdim=True))
    along = found.new_zeros(n_cells, found.shape[1]).index_add(0, cells, found)
    maps = torch.linalg.pinv(matrix, rtol=1e-10, hermitian=True) @ along
    rank = int(torch.linalg.matrix_rank(matrix, rtol=1e-10, hermitian=True))
    missed = 1 - (along * maps).sum(0) / found.square().sum(0)
    free = len(found) - n_queries
    return maps, 1 - missed * free / max(free - rank, 1)
