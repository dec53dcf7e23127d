"""A map of where the claims hold: depth, attention to oneself and how often particles collide, a few seeds of each.

``measure`` takes the effects of one training, ``judge`` holds the rules of ``docs/claims.md``, which pool all cells.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from lightning_physim import keys
from lightning_physim.claims.evidence import heads_of
from lightning_physim.claims.geometry import log_directions
from lightning_physim.claims.heads import FEW, HEADS_EXIST, MOST
from lightning_physim.claims.statistics import MIN_FOR_T, SIGNIFICANCE, mean_of_known, p_text, t_answer
from lightning_physim.claims.verdict import NOT_SUPPORTED, SUPPORTED, Claim, highest
from lightning_physim.curves import COLLISION_HEAD, NOTHING, Metrics, final, first_collision_step
from lightning_physim.emergence import UNDECIDED

DEPTHS = (1, 2, 3)
WORLDS = {
    "as configured": (),
    # Of 100 particles of `smoke` 45 touch another one in an interval; here 18 do.
    "rare collisions": ("--data.system.radius=0.035", "--data.system.interval=0.05"),
}
"""Options of the data, by name."""
OF_CELLS = (
    "--llc=false",
    "--snapshots=false",
    "--emergence=false",
    "--geometry.steps_per_decade=4",
    "--geometry.every=16",
)
"""Options of every training: no part of the map asks for more."""
SEEDS_PER_CELL = 3
FEWER_DIRECTIONS = "Fewer directions count in collision heads than in other heads"


@dataclass(frozen=True)
class Cell:
    """Settings that a few seeds share.

    Args:
        layers: of the network.
        attend_self: whether a particle may attend to itself.
        world: of :data:`WORLDS`.
    """

    layers: int
    attend_self: bool
    world: str

    @property
    def options(self) -> tuple[str, ...]:
        """Of ``physim fit``."""
        return (
            f"--model.n_layers={self.layers}",
            f"--model.attend_self={str(self.attend_self).lower()}",
            *WORLDS[self.world],
        )

    @property
    def label(self) -> str:
        """For people."""
        layers = f"{self.layers} layer{'s' if self.layers > 1 else ''}"
        return f"{layers}, {self.variant}"

    @property
    def variant(self) -> str:
        """What stays the same where the depth changes, for people."""
        return f"{'with' if self.attend_self else 'without'} the own token, {self.world}"


CELLS = tuple(Cell(*settings) for settings in product(DEPTHS, (False, True), WORLDS))


@dataclass(frozen=True)
class Effects:
    """What the map shows of one training; NaN where it was not measured or there is none.

    Args:
        used: collision heads that are used.
        enrichment: of the strongest head at the end, times uniform attention.
        step: of :func:`lightning_physim.curves.first_collision_step`.
        loss: on colliding particles at the end, over that of the no-pair oracle.
        directions: decimal logarithm of the directions that count of collision heads that are used, less that of the
            other heads of the network; means.
    """

    used: float
    enrichment: float
    step: float
    loss: float
    directions: float


TITLES = {
    "used": "collision heads that are used",
    "enrichment": "strongest head, × uniform attention",
    "step": f"first step at {COLLISION_HEAD:g} × uniform",
    "loss": "colliding loss over the no-pair oracle’s",
    "directions": "directions of collision heads, over others’ (decades)",
}
"""Of the effects, for people."""
Map = Mapping[Cell, Sequence[Effects]]


def measure(metrics: Metrics) -> Effects:
    """The effects of a training, from what it has logged."""
    heads = heads_of(metrics)
    used = [head for head in heads if head.is_used_collision_head]
    losses = [metrics.get(key, NOTHING) for key in (keys.VAL_LOSS_COLLIDING, keys.FLOOR_NO_PAIR_COLLIDING)]
    return Effects(
        used=float(len(used)),
        enrichment=highest(final(head.enrichment) for head in heads),
        step=first_collision_step(metrics),
        loss=final(losses[0]) / final(losses[1]),
        directions=log_directions(used) - log_directions([head for head in heads if head not in used]),
    )


def judge(cells: Map) -> tuple[Claim, Claim]:
    """Claim (a), and a part of claim (b), pooled over all cells. Nothing is said of a single cell."""
    return _heads(cells), _directions(cells)


def _heads(cells: Map) -> Claim:
    every = [effects for found in cells.values() for effects in found]
    having = sum(effects.used > 0 for effects in every)
    without = [cell.label for cell in CELLS if not any(effects.used > 0 for effects in cells.get(cell, ()))]
    verdict = UNDECIDED
    if set(cells) == {*CELLS}:
        if having >= MOST * len(every) and not without:
            verdict = SUPPORTED
        elif having <= FEW * len(every):
            verdict = NOT_SUPPORTED
    reasons = [f"{having} of {len(every)} trainings have a collision head that is used"]
    if without:
        reasons.append(f"cells without any: {'; '.join(without)}")
    return Claim(HEADS_EXIST, verdict, tuple(reasons), {"trainings": float(len(every)), "with a head": float(having)})


def _directions(cells: Map) -> Claim:
    """By Student's t over cells, each the mean of its seeds."""
    answer = t_answer([mean_of_known(effects.directions for effects in found) for found in cells.values()])
    low, high = answer.interval
    verdict = UNDECIDED
    if answer.p < SIGNIFICANCE:
        verdict = SUPPORTED if answer.effect < 0 else NOT_SUPPORTED
    reason = f"directions of both kinds of heads were measured in {answer.n} cells, and it takes {MIN_FOR_T}"
    if math.isfinite(answer.p):
        reason = (
            f"over {answer.n} cells, collision heads that are used have {10**answer.effect:.2f} times "
            f"({10**low:.2f} to {10**high:.2f}) the directions of the other heads of their networks, {p_text(answer.p)}"
        )
    numbers = {"cells": float(answer.n), "decades": answer.effect, "low": low, "high": high, "p": answer.p}
    return Claim(FEWER_DIRECTIONS, verdict, (reason,), numbers)
