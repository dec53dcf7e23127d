"""Shares of a change, with the error that states leave."""

from typing import NamedTuple

import torch
from torch import Tensor


class Share(NamedTuple):
    """A ratio of sums and its standard error, each ``[...]``."""

    value: Tensor
    error: Tensor


def share(part: Tensor, whole: Tensor, group: Tensor) -> Share:
    """How much of one change another is, along it: ``sum part . whole / sum whole . whole``.

    It is the slope of ``part`` on ``whole`` through the origin. The error is the linearised one of a ratio of sums
    over groups (Cochran 1977, Sampling Techniques, section 6.3), as cases of one state are not independent.

    Args:
        part: ``[..., n, d]``, of which none, one or more is NaN where a case does not count.
        whole: the same, or what broadcasts to it.
        group: ``[n]``, integers.

    Returns:
        ``[...]``; NaN where nothing changes, the error also with fewer than two groups.
    """
    counts = part.isfinite().all(-1) & whole.isfinite().all(-1)
    along, size = (
        (part * whole).double().sum(-1).where(counts, 0.0),
        whole.double().square().sum(-1).where(counts, 0.0),
    )
    total = size.sum(-1)
    value = (along.sum(-1) / total).where(total > 0, torch.nan)
    rest = along - value.unsqueeze(-1) * size
    groups = group.unique(return_inverse=True)[1]
    n_groups = int(groups.max()) + 1 if len(groups) else 0
    by_group = rest.new_zeros(*rest.shape[:-1], n_groups).index_add(-1, groups, rest)
    used = (size.new_zeros(*size.shape[:-1], n_groups).index_add(-1, groups, counts.double()) > 0).sum(-1)
    scale = torch.where(used > 1, used / (used - 1).clamp_min(1), torch.nan)
    return Share(value, (by_group.square().sum(-1) * scale).sqrt() / total)


def alignment(part: Tensor, whole: Tensor) -> Tensor:
    """Correlation about zero of two changes ``[..., n, d]``: ``[...]``. 1 where they are in proportion."""
    counts = part.isfinite().all(-1, keepdim=True) & whole.isfinite().all(-1, keepdim=True)
    part, whole = (x.double().where(counts, 0.0).flatten(-2) for x in torch.broadcast_tensors(part, whole))
    sizes = part.norm(dim=-1) * whole.norm(dim=-1)
    return ((part * whole).sum(-1) / sizes).where(sizes > 0, torch.nan)
