"""Patching: one head's output exchanged between a colliding state and the same state without the collision."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lightning_physim.inside.cases import Cases, Simulator, put_away
from lightning_physim.inside.result import Patching
from lightning_physim.inside.shares import share

PAIRS_TOGETHER = 2**14
"""Ordered pairs of particles that a network is given together: a patched one holds a variant for every head."""


def free_twins(cases: Cases, simulator: Simulator) -> tuple[Cases, Tensor, Tensor]:
    """Each case with its twin, in which the partner lies elsewhere and the query touches nobody.

    The twin differs in the place of one particle. A free state that is looked up among others differs in all.

    Returns:
        The cases that have a twin, its states ``[n, particles, 4]``, and the exact difference between the residuals of
        the query, ``[n, 4]``.
    """
    twins = put_away(cases.states, cases.partner, simulator.system)
    (there, _), (away, contacts) = simulator(cases.states), simulator(twins)
    free = ~contacts[torch.arange(len(twins)), cases.query].any(-1)
    return cases.where(free), twins[free], cases.of_query(there - away)[free]


def patch_heads(module: nn.Module, cases: Cases, others: Tensor) -> tuple[Tensor, Tensor]:
    """Predictions for the queries of cases, as they are and with each head giving what it gives in ``others``.

    Args:
        module: with ``patch(states, others)``.
        others: ``[n, particles, 4]``.

    Returns:
        Standardised residuals ``[n, 4]`` and ``[layers, heads, n, 4]``.
    """
    at_once = max(1, PAIRS_TOGETHER // others.shape[1] ** 2)
    network: Any = module
    split = zip(cases.states.split(at_once), others.split(at_once), strict=True)
    parts = [network.patch(here, other) for here, other in split]
    intact, patched = (torch.cat(part, dim=-3) for part in zip(*parts, strict=True))
    return cases.of_query(intact), cases.of_query(patched)


def patching(colliding: Tensor, free: Tensor, without: Tensor, alone: Tensor, exact: Tensor, group: Tensor) -> Patching:
    """The fractions of every head.

    Args:
        colliding: predictions of the queries with their partner, ``[n, 4]``.
        free: without it.
        without: with it, but each head gives what it gives without, ``[layers, heads, n, 4]``.
        alone: without it, but each head gives what it gives with it.
        exact: what the partner changes of the exact answer, ``[n, 4]``.
        group: ``[n]``, the states that the cases are from.
    """
    change = colliding - free
    parts = (
        share(colliding - without, change, group),
        share(alone - free, change, group),
        share(change, exact, group),
    )
    found = [x.cpu().numpy() for part in parts for x in part]
    found.append(np.array(len(change)))
    return Patching(*found)
