"""The intervention: move the particle that a head looks at, and see whether the prediction moves as the truth does."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from lightning_physim.inside.cases import Cases
from lightning_physim.inside.result import Intervention
from lightning_physim.inside.shares import alignment, share


def seen_and_unseen(attention: Tensor, near: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
    """The other particle that each head attends to most, and the near one that it attends to least.

    Args:
        attention: ``[layers, n, heads, query, key]``, self excluded.
        near: bool ``[n, query, key]``, which particles are near, the query itself excluded.
        query: the particle that looks, ``[n]``.

    Returns:
        Two ``[layers, heads, n]``, particles; -1 for an unseen one where only the seen one is near.
    """
    rows = torch.arange(len(query))
    rows_of = attention[:, rows, :, query].permute(1, 2, 0, 3)  # [layers, heads, n, key]
    own = one_hot(query, attention.shape[-1]).bool()
    seen = rows_of.masked_fill(own, -1.0).argmax(-1)
    candidates = near[rows, query] & ~one_hot(seen, attention.shape[-1]).bool()
    least = rows_of.masked_fill(~candidates, torch.inf).argmin(-1)
    return seen, least.where(candidates.any(-1), -1)


def intervention(
    cases: Cases,
    seen: Tensor,
    unseen: Tensor,
    contacts: Tensor,
    predicted: Tensor,
    through: Tensor | None,
    exact: Tensor,
) -> Intervention:
    """What the moves tell of every head.

    Args:
        cases: the colliding particles.
        seen, unseen: as of :func:`seen_and_unseen`.
        contacts: bool ``[n, particles, particles]``, which pairs touch in the interval that follows.
        predicted: change of the prediction for the query where a key is moved, ``[moves, n, keys, 4]``; NaN where it
            was not moved.
        through: the part of it through each head alone, ``[layers, heads, moves, n, keys, 4]``; None where the network
            cannot be patched.
        exact: change of the exact answer, like ``predicted``.
    """
    rows = torch.arange(len(cases.query))
    finds = contacts[rows, cases.query, seen].double().mean(-1)
    of_moves = cases.group.repeat(len(predicted))

    def picked(values: Tensor, key: Tensor) -> Tensor:
        """Of ``[moves, n, keys, 4]``, or that for each head, the one key of each: ``[layers, heads, moves n, 4]``."""
        values = values.expand(*key.shape[:2], *values.shape[-4:])
        index = key.clamp_min(0)[:, :, None, :, None, None].expand(*values.shape[:4], 1, values.shape[-1])
        taken = values.gather(4, index).squeeze(4)
        return taken.where((key >= 0)[:, :, None, :, None], torch.nan).flatten(2, 3)

    by_head = predicted.new_full((*seen.shape[:2], *predicted.shape), torch.nan) if through is None else through
    answer, unseen_answer, change = picked(exact, seen), picked(exact, unseen), picked(predicted, seen)
    slope, alone = share(change, answer, of_moves), share(picked(by_head, seen), answer, of_moves)
    control = share(picked(by_head, unseen), unseen_answer, of_moves)
    moves = answer.isfinite().all(-1).sum(-1)
    found = (finds, *slope, alignment(change, answer), *alone, *control, moves)
    return Intervention(*(x.cpu().numpy() for x in found))
