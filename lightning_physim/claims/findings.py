"""Everything that a page about the claims shows, gathered from what the trainings have logged."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lightning_physim import keys
from lightning_physim.claims.geometry import emergence_goes_with_degeneracy
from lightning_physim.claims.growth import emergence_has_a_potential, growth_of_used_heads
from lightning_physim.claims.heads import collision_heads_exist
from lightning_physim.claims.plan import ROLES, SEED
from lightning_physim.claims.verdict import Claim, Study
from lightning_physim.curves import NOTHING, Metrics, final
from lightning_physim.emergence import Growth, growth_of_loss

PEER_LOSSES = (keys.VAL_LOSS, keys.VAL_LOSS_COLLIDING, keys.VAL_LOSS_FREE)
ROLLOUTS = (keys.ROLLOUT_MSE, keys.ROLLOUT_ENERGY)
FLOOR_ROWS = {
    "no_pair": ("no-pair oracle", (keys.FLOOR_NO_PAIR, keys.FLOOR_NO_PAIR_COLLIDING, keys.FLOOR_NO_PAIR_FREE)),
    "ballistic": ("free flight", (keys.FLOOR_BALLISTIC, keys.FLOOR_BALLISTIC_COLLIDING, keys.FLOOR_BALLISTIC_FREE)),
}
"""Predictors that know less than the data: what they are called, and their losses."""


@dataclass(frozen=True)
class Training:
    """One training of a reproduction.

    Args:
        role: :data:`lightning_physim.claims.plan.SEED`, or one of :data:`lightning_physim.claims.plan.ROLES`.
        seed: number of the seed.
        state: what became of it.
        report: address of its page relative to that of the claims; empty where it has none.
        metrics: what it logged; None unless it has finished.
        n_parameters: of its network.
        floors: by those of :data:`FLOOR_ROWS`, their errors as simulators, such as ``mse@20``; empty where not logged.
    """

    role: str
    seed: int
    state: str
    report: str = ""
    metrics: Metrics | None = None
    n_parameters: float = math.nan
    floors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What it is called on the page."""
        if self.role == SEED:
            return f"seed {self.seed}"
        role = ROLES[self.role]
        return f"{role.label}, seed {self.seed}" if role.every_seed else role.label


@dataclass(frozen=True)
class Peer:
    """A row of the table of peers.

    Args:
        name: of the network or floor.
        losses: final loss over all, colliding and free particles; NaN where not measured.
        rollout: errors of position and energy after ``horizon`` intervals.
        n_parameters, cpu_seconds: of the network and its training; NaN for a floor.
        n: runs that these are medians of.
    """

    name: str
    losses: Sequence[float]
    rollout: Sequence[float]
    n_parameters: float = math.nan
    cpu_seconds: float = math.nan
    n: int = 1


@dataclass(frozen=True)
class Findings:
    """Everything on the page.

    Args:
        study: the runs that the claims are judged by.
        seeds: metrics of the seeds, by name.
        claims: (a), (b) and (c).
        growth: of the collision heads of every seed.
        losses: of the losses on colliding particles of every seed.
        peers: rows of the table.
        horizon: intervals after which rollouts are compared.
        trainings: all of them, finished or not.
    """

    study: Study
    seeds: Mapping[str, Metrics]
    claims: Sequence[Claim]
    growth: Sequence[Growth]
    losses: Sequence[Growth]
    peers: Sequence[Peer]
    horizon: int
    trainings: Sequence[Training]


def gather(trainings: Sequence[Training]) -> Findings:
    """Judge the claims by the trainings that have finished."""
    by_role: dict[str, dict[int, Metrics]] = {role: {} for role in (SEED, *ROLES)}
    seeds: dict[str, Metrics] = {}
    for training in trainings:
        if training.metrics is not None:
            by_role[training.role][training.seed] = training.metrics
            if training.role == SEED:
                seeds[training.name] = training.metrics
    no_attention = next(iter(by_role["no_attention"].values()), None)
    study = Study(by_role[SEED], by_role["permuted"], by_role["flow"], by_role["flow_fine"], no_attention)
    growth = [row for name, metrics in seeds.items() for row in growth_of_used_heads(name, metrics)]
    losses = [row for name, metrics in seeds.items() if (row := growth_of_loss(metrics, name)) is not None]
    claims = (
        collision_heads_exist(study),
        emergence_goes_with_degeneracy(study),
        emergence_has_a_potential(study),
    )
    horizon = max((int(k) for m in seeds.values() for key in m if (k := keys.ROLLOUT_MSE.match(key))), default=1)
    peers = _peers([t for t in trainings if t.metrics is not None], horizon)
    return Findings(study, seeds, claims, growth, losses, peers, horizon, trainings)


def _peers(done: Sequence[Training], horizon: int) -> list[Peer]:
    networks = {SEED: "transformer"}
    # Other networks first, other trainings of the transformer after them.
    networks |= {role: ROLES[role].network for role in reversed(ROLES)}
    rows = []
    for role, network in networks.items():
        runs = [_peer(network, training, horizon) for training in done if training.role == role]
        if runs:
            rows.append(_median(runs))
    if done:
        metrics = done[0].metrics or {}
        floors = next((training.floors for training in done if training.floors), {})
        for floor, (label, losses) in FLOOR_ROWS.items():
            errors = [floors.get(floor, {}).get(f"{key.quantity}@{horizon}", math.nan) for key in ROLLOUTS]
            rows.append(Peer(label, [_final(metrics, key) for key in losses], errors))
    return rows


def _peer(name: str, training: Training, horizon: int) -> Peer:
    metrics = training.metrics or {}
    return Peer(
        name,
        [_final(metrics, key) for key in PEER_LOSSES],
        [_final(metrics, key.of(k=horizon)) for key in ROLLOUTS],
        training.n_parameters,
        _final(metrics, keys.TIME_TRAIN_CPU, n=1),
    )


def _final(metrics: Metrics, key: str, n: int | None = None) -> float:
    return final(metrics.get(key, NOTHING), n)


def _median(peers: list[Peer]) -> Peer:
    def middle(values: list[Any]) -> Any:
        return np.median(values, axis=0)

    return Peer(
        peers[0].name,
        tuple(middle([peer.losses for peer in peers])),
        tuple(middle([peer.rollout for peer in peers])),
        middle([peer.n_parameters for peer in peers]),
        middle([peer.cpu_seconds for peer in peers]),
        len(peers),
    )
