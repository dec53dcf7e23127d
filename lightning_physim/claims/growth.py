"""Claim (c): in gradient flow, collision heads emerge as down one degenerate effective potential."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.stats import f_oneway

from lightning_physim import keys
from lightning_physim.claims.evidence import heads_of
from lightning_physim.claims.plan import ROLES
from lightning_physim.claims.statistics import MIN_FOR_T, SIGNIFICANCE, Answer, holm, limit_answer, p_text, t_answer
from lightning_physim.claims.verdict import NO_FLOW, NOT_SUPPORTED, SUPPORTED, Claim, Study
from lightning_physim.curves import NOTHING, Curve, Metrics, final
from lightning_physim.emergence import (
    UNDECIDED,
    Growth,
    baseline,
    collapse,
    growth_of_head,
    growth_order,
    own_end,
    relaxation,
    rise_times,
    shape_ratio,
)
from lightning_physim.errors import InputError

POTENTIAL = "Collision heads emerge as down one degenerate effective potential"
IN_FLOW = 0.1
"""Logarithm of the ratio of the times at half of a rise, of the two step sizes, below which a curve is one of gradient
flow."""
SADDLE, ORDER_MARGIN_OF_GROWTH = 1.0, 0.25
"""Order of the growth away from a regular saddle, and by how much that of a degenerate one must lie above it: a saddle
that is seen as a square reads up to 0.12 too low."""
LEAST_SHAPE_SD = 0.15
"""Standard deviation of the shape ratio between heads, less noise, from which there are several potentials: a third of
what lies between a saddle and a slope."""
MOST_HEADS = 0.8
"""Share of the heads that one law must be called for."""
DEGENERATE_START, REGULAR_START = "degenerate start", "no degenerate start"
SEVERAL, ONE = "several potentials", "no sign of several"
POWER_LAW, EXPONENTIAL = "power_law", "exponential"
"""Names of the laws of an approach."""
OPEN_GROWTH = "open"
"""What the questions can end as, but for the approach, which ends as a law."""


@dataclass(frozen=True, eq=False)
class Flowing:
    """What was seen in gradient flow at both step sizes.

    Args:
        seed: of its network.
        collapse: logarithm of the ratio of the times at half of its rise, coarse steps over fine ones; NaN where one of
            them does not pass it.
    """

    seed: int
    collapse: float

    @property
    def in_flow(self) -> bool:
        """Whether the two step sizes agree."""
        return abs(self.collapse) < IN_FLOW


@dataclass(frozen=True, eq=False)
class FlowHead(Flowing):
    """A collision head that is used; without a collapse where either run ends before its rise does.

    Args:
        name: ``"L{l}H{h}"``.
        coarse, fine: its score over the time of gradient flow, at both step sizes. Coarse steps go on for longer.
        order: of its growth in the fine steps; NaN where that is too short.
        shapes: :func:`lightning_physim.emergence.shape_ratio` in coarse and in fine steps.
        own: share of the rise in the fine steps, from uniform attention to the head's own end, over the time since half
            of it, in times from a tenth to half. Heads of one potential are one curve here.
    """

    name: str
    coarse: Curve
    fine: Curve
    order: float = math.nan
    shapes: tuple[float, float] = (math.nan, math.nan)
    own: Curve = NOTHING

    @cached_property
    def law(self) -> str:
        """Of its approach in the coarse steps, by :func:`lightning_physim.emergence.relaxation`."""
        time, score = self.coarse
        try:
            return relaxation(time[time > 0], score[time > 0]).verdict
        except InputError:  # too few points after half of the rise
            return UNDECIDED


@dataclass(frozen=True, eq=False)
class FlowLoss(Flowing):
    """The loss on colliding particles of a seed.

    Args:
        law: of its approach, by :func:`lightning_physim.emergence.relaxation`.
        exponent: of a power law of its approach; NaN where that is too short.
    """

    law: str = UNDECIDED
    exponent: float = math.nan


@dataclass(frozen=True)
class Numbers:
    """What the rule looks at.

    Args:
        seeds: trained at both step sizes.
        heads: collision heads that are used there.
        heads_in_flow: of them, at the limit of gradient flow; the three answers below are about these.
        order: mean of the orders of growth of a seed's heads; p is of the likelier side of the limit, doubled.
        is_degenerate: that side is the upper one.
        shape_heads: heads whose shape is known at both step sizes.
        shape_p: probability that shapes differ so much between heads, or more, where only noise makes them differ, by
            the F test of one-way analysis of variance. Both step sizes of a head are one group.
        shape_sd, shape_noise: standard deviation of the shapes between heads, less what noise makes, and of one
            measurement.
        laws: of the approaches of the heads at the limit.
        losses_in_flow: seeds whose loss on colliding particles is at the limit. Reported, and asked by no rule, as are
            the rest.
        loss_laws: of the approaches of these losses.
        exponent: of those that are called a power law.
    """

    seeds: int
    heads: int
    heads_in_flow: int
    order: Answer
    is_degenerate: bool
    shape_heads: int
    shape_p: float
    shape_sd: float
    shape_noise: float
    laws: Counter[str]
    losses_in_flow: int
    loss_laws: Counter[str]
    exponent: Answer

    def adjusted(self) -> dict[str, float]:
        """p of each question by Holm's rule; 1 for one that could not be asked."""
        return holm({"start": self.order.p, "shapes": self.shape_p})

    def table(self) -> dict[str, float]:
        """By name, for the page."""
        table: dict[str, float] = {
            "seeds in gradient flow at two step sizes": self.seeds,
            "collision heads that are used": self.heads,
            "of them at the limit of gradient flow": self.heads_in_flow,
        }
        for name, answer in {"order of growth": self.order, "exponent of the loss": self.exponent}.items():
            low, high = answer.interval
            table |= {name: answer.effect, f"{name}, low": low, f"{name}, high": high, f"{name}, seeds": answer.n}
        table |= {f"p of {name}, by Holm": p for name, p in self.adjusted().items()}
        table |= {
            "heads whose shape is known": self.shape_heads,
            "shape ratio, standard deviation between heads, less noise": self.shape_sd,
            "shape ratio, standard deviation of one measurement": self.shape_noise,
            "losses at the limit of gradient flow": self.losses_in_flow,
        }
        for what, laws in {"heads": self.laws, "losses": self.loss_laws}.items():
            table |= {f"{what} called {name}": count for name, count in sorted(laws.items())}
        return table


def growth_of_used_heads(run: str, metrics: Metrics) -> list[Growth]:
    """Of the partner score of each collision head that is used."""
    return [growth_of_head(metrics, head.name, run) for head in heads_of(metrics) if head.is_used_collision_head]


def heads_in_flow(study: Study) -> list[FlowHead]:
    """Of every seed that was trained at both step sizes; whether they are at the limit, each says."""
    return [head for seed, runs in study.flows().items() for head in flow_heads(seed, *runs)]


def flow_heads(seed: int, coarse: Metrics, fine: Metrics) -> list[FlowHead]:
    """The collision heads of the fine run that its network uses, held against the same ones of the coarse run."""
    return [
        flow_head(
            seed,
            head.name,
            in_time(coarse.get(keys.PARTNER_SCORE.of(head=head.name), NOTHING), "flow"),
            in_time(head.score, "flow_fine"),
            head.uniform,
        )
        for head in heads_of(fine)
        if head.is_used_collision_head
    ]


def flow_head(seed: int, name: str, coarse: Curve, fine: Curve, uniform: float) -> FlowHead:
    """What the scores of a head over the time of gradient flow say, in coarse and in fine steps.

    The rise begins at the score of ``uniform`` attention. A start from the first points makes orders look smaller.
    """
    ends = own_end(coarse, uniform), own_end(fine, uniform)
    if not all(map(math.isfinite, ends)):
        return FlowHead(seed, math.nan, name, coarse, fine)
    shapes = shape_ratio(coarse, uniform, ends[0]), shape_ratio(fine, uniform, ends[1])
    agreed = collapse(coarse, fine, (uniform + ends[1]) / 2)
    tenth, half, _ = rise_times(fine, uniform, ends[1])
    own = (fine[0] - half) / (half - tenth), (fine[1] - uniform) / (ends[1] - uniform)
    return FlowHead(seed, agreed, name, coarse, fine, _order(fine, uniform, ends[1]), shapes, own)


def flow_loss(seed: int, coarse: Metrics, fine: Metrics) -> FlowLoss:
    """The loss on colliding particles, which falls: half of its fall in the fine run, and the approach there."""
    curves = [
        (time, -values)
        for time, values in (
            in_time(metrics.get(keys.VAL_LOSS_COLLIDING, NOTHING), role)
            for metrics, role in ((coarse, "flow"), (fine, "flow_fine"))
        )
    ]
    if not all(len(values) for _, values in curves):
        return FlowLoss(seed, math.nan)
    level = (baseline(curves[1][1]) + final(curves[1])) / 2
    agreed = collapse(curves[0], curves[1], level)
    try:
        found = relaxation(*curves[1])
    except InputError:
        return FlowLoss(seed, agreed)
    return FlowLoss(seed, agreed, found.verdict, found.power.shapes["exponent"])


def in_time(curve: Curve, role: str) -> Curve:
    """A curve over steps as one over the time of gradient flow."""
    steps, values = curve
    return steps * ROLES[role].time, values


def measure(heads: Sequence[FlowHead], losses: Sequence[FlowLoss]) -> Numbers:
    """Numbers of the heads and losses of every seed."""
    flowing = [head for head in heads if head.in_flow]
    seeds = dict.fromkeys(head.seed for head in flowing)
    orders = [[head.order for head in flowing if head.seed == seed and math.isfinite(head.order)] for seed in seeds]
    order, is_degenerate = limit_answer(
        [float(np.mean(found)) for found in orders if found], SADDLE + ORDER_MARGIN_OF_GROWTH
    )
    shapes = np.array([head.shapes for head in flowing if all(map(math.isfinite, head.shapes))]).reshape(-1, 2)
    noise = float(np.mean(np.diff(shapes) ** 2)) / 2 if len(shapes) else math.nan
    between = float(shapes.mean(1).var(ddof=1)) - noise / 2 if len(shapes) > 1 else math.nan
    at_limit = [loss for loss in losses if loss.in_flow]
    return Numbers(
        seeds=len(losses),
        heads=len(heads),
        heads_in_flow=len(flowing),
        order=order,
        is_degenerate=is_degenerate,
        shape_heads=len(shapes),
        shape_p=float(f_oneway(*shapes).pvalue) if len(shapes) >= MIN_FOR_T else math.nan,
        shape_sd=float(np.sqrt(np.maximum(between, 0.0))),
        shape_noise=float(np.sqrt(noise)),
        laws=Counter(head.law for head in flowing),
        losses_in_flow=len(at_limit),
        loss_laws=Counter(loss.law for loss in at_limit),
        exponent=t_answer([loss.exponent for loss in at_limit if loss.law == POWER_LAW]),
    )


def answers(n: Numbers) -> dict[str, str]:
    """What each question ends as."""
    decided = {question for question, p in n.adjusted().items() if p < SIGNIFICANCE}
    found = {"start": OPEN_GROWTH, "shapes": OPEN_GROWTH}
    if "start" in decided:
        found["start"] = DEGENERATE_START if n.is_degenerate else REGULAR_START
    if n.shape_heads >= MIN_FOR_T:
        found["shapes"] = SEVERAL if "shapes" in decided and n.shape_sd > LEAST_SHAPE_SD else ONE
    found["approach"] = common_law(n.laws)
    return found


def common_law(laws: Counter[str]) -> str:
    """The law that is called for :data:`MOST_HEADS` of the heads, of :data:`MIN_FOR_T` at least."""
    if laws.total() < MIN_FOR_T:
        return UNDECIDED
    law, count = laws.most_common(1)[0]
    return law if count >= MOST_HEADS * laws.total() else UNDECIDED


def judge(n: Numbers) -> str:
    """The verdict."""
    found = answers(n)
    if found["start"] == DEGENERATE_START and found["shapes"] == ONE and found["approach"] != EXPONENTIAL:
        return SUPPORTED
    if found["start"] == REGULAR_START and (found["shapes"] == SEVERAL or found["approach"] == EXPONENTIAL):
        return NOT_SUPPORTED
    return UNDECIDED


def tell(n: Numbers) -> tuple[str, ...]:
    """What the questions ended as, a part of a sentence each."""
    if not n.seeds:
        return (NO_FLOW,)
    found, adjusted = answers(n), n.adjusted()
    low, high = n.order.interval
    within = f" ({low:.2f} to {high:.2f})" if math.isfinite(low) else ""
    limit = f"{n.heads_in_flow} of {n.heads} collision heads that are used are at the limit of gradient flow"
    start = f"their growth has an order of {n.order.effect:.2f}{within}, {found['start']}"
    start += (
        f", {p_text(adjusted['start'])} by Holm" if math.isfinite(n.order.p) else f", as it takes {MIN_FOR_T} seeds"
    )
    shapes = f"shapes differ by {n.shape_sd:.2f} between heads and by {n.shape_noise:.2f} between step sizes, "
    shapes += f"{found['shapes']}, {p_text(adjusted['shapes'])} by Holm"
    if n.shape_heads < MIN_FOR_T:
        shapes = f"shapes are known of {n.shape_heads} heads and it takes {MIN_FOR_T}"
    approach = f"their approaches: {counted(n.laws)}"
    losses = f"of {n.seeds} losses on colliding particles {n.losses_in_flow} are at the limit"
    return limit, start, shapes, approach, f"{losses}, approaches: {counted(n.loss_laws)}"


def emergence_has_a_potential(study: Study) -> Claim:
    """Claim (c), judged."""
    losses = [flow_loss(seed, *runs) for seed, runs in study.flows().items()]
    numbers = measure(heads_in_flow(study), losses)
    return Claim(POTENTIAL, judge(numbers), tell(numbers), {name: float(x) for name, x in numbers.table().items()})


def counted(laws: Counter[str]) -> str:
    """How many are called what, as told."""
    return ", ".join(f"{count} {law.replace('_', ' ')}" for law, count in laws.most_common()) or "none"


def _order(curve: Curve, start: float, end: float) -> float:
    time, values = curve
    try:
        return growth_order(time[time > 0], values[time > 0], start, end).order
    except InputError:
        return math.nan
