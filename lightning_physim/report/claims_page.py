"""The page of ``physim reproduce``: each claim with its verdict, what it was judged by, and the table of peers."""

import math
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import numpy as np

from lightning_physim import keys
from lightning_physim.claims import ROLES, SEED, Claim, Findings, heads_of
from lightning_physim.claims.evidence import RANK_C
from lightning_physim.claims.growth import heads_in_flow
from lightning_physim.curves import COLLISION_HEAD, USED, Curve, Metrics, final
from lightning_physim.emergence import Growth, ends_of_rise, label, shape_ratio
from lightning_physim.emergence.dynamics import MIN_VELOCITY
from lightning_physim.report.claim_figures import (
    exponents_figure,
    flow_figure,
    geometry_figure,
    heads_figure,
    laws_figure,
    seed_color,
    timing_figure,
)
from lightning_physim.report.page import Part, caption_html, folded, plot_html, section, write_page
from lightning_physim.report.portrait_figures import collapse_figure
from lightning_physim.report.style import dot_html
from lightning_physim.report.summary import sentence
from lightning_physim.report.table import Html, html_table, number_text
from lightning_physim.report.words import linked, with_words

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

TONES = {"supported": "#00694c", "not supported": "#a33b00", "undecided": "#5d626b"}
CLAIM_CAPTIONS = {
    "heads": (
        """Final enrichment of every head: attention to near particles over uniform attention. <i>Do not believe</i> a
        head because of its score alone: attention is not yet use.""",
        """Final is the mean of the last three measurements in the second half of training. <b>Filled</b> are collision
        heads, of at least $threshold, that the network uses, by the ablation. Untrained networks, and the one that was
        trained on outcomes exchanged among particles, are the controls.""",
    ),
    "geometry": (
        """A point is a head at the end of training, a colour a seed; collision heads are those that are used. <i>Do not
        believe</i> an order of a head with a small learning coefficient: chains then walk as far as its weights are
        long.""",
        """At the left is the number of directions that count, each by h / (h + $c) with its curvature h. Fewer
        directions mean a landscape that is more degenerate. Permuted outcomes leave nothing to learn from
        neighbours. Every such training starts from the network of its seed. At the right is the order of the
        potential: 2 is that of a regular basin, 4 that of a quartic one.""",
    ),
    "timing": (
        """A point is a collision head that is used: when its directions rose, against when its score did. <i>Do not
        believe</i> that one causes the other: the rule sees only which comes first.""",
        """A score is at half of its rise when it has come half of its way, and so are the directions that count at
        c = $c. Both steps are known to a part of the distance between measurements. The rule asks whether the points
        of a colour lie nearer to the dotted line than with their heads exchanged.""",
    ),
    "laws": (
        """Akaike weight of each growth law for every collision head that is used: a row with one strong column
        has a clear law. <i>Do not believe</i> a weight without the dot of a verdict: weights compare laws.""",
        """A <b>dot</b> is the verdict, and a row without one is undecided. The seeds’ losses on colliding particles are
        controls. The broken power law counts as a power law.""",
    ),
    "collapse": (
        """Velocity of the score of every collision head that is used, against the share of its rise. <i>Do not
        believe</i> a potential because lines agree at the left: their scales are taken from there.""",
        """Each is given in units of its own rise, and of its own time from a tenth to half of it. Heads that roll
        down one potential are one line, whatever their scales. $shape""",
    ),
    "flow": (
        """Scores of collision heads that are used in gradient flow: a line is a head, a colour a seed. <i>Do not
        believe</i> a potential that is read off a score alone: a score is not the coordinate.""",
        """At the left are scores over the time of gradient flow. Where the dotted line of coarse steps lies on that
        of fine ones, the head is at the limit. At the right are the heads at the limit, in units of their own rise
        and time. Heads of one potential are one line there.""",
    ),
    "exponents": (
        """Exponent of a power law fitted to the approach of each head, with its 95 % interval; filled where a power law
        is the verdict. <i>Do not believe</i> a hollow one: whatever saturates can be given an exponent.""",
        "",
    ),
}
"""What each figure shows and what not to believe, and the rest, which is folded."""
VERDICTS_CAPTION = f"""A collision head is <b>used</b> if the loss on colliding particles rises by {100 * USED:g} % when
    its attention to near particles is dropped. Brackets are 95 % intervals. p is corrected for the questions that are
    asked together, by Holm’s rule."""
"""What stands under the verdicts."""


def write_reproduction(
    path: Path, title: str, facts: Sequence[str], findings: Findings, config: str, origin: str = ""
) -> Path:
    """Write the page, whole and at once, from whatever trainings have left something so far."""
    return write_page(
        path,
        title=title,
        facts=facts,
        headline=headline(findings.claims),
        sections=with_words(_sections(findings)),
        config=config,
        origin=origin,
    )


def headline(claims: Sequence[Claim]) -> str:
    """One sentence about the verdicts on the claims that something was trained for."""
    asked = [(letter, claim) for letter, claim in zip("abc", claims, strict=True) if claim.asked]
    if not asked:
        return sentence("")
    verdicts = [f"({letter}) {claim.verdict}" for letter, claim in asked]
    return "The paper’s claims here: " + ", ".join(verdicts) + "."


def claim_html(letter: str, claim: Claim) -> str:
    """A claim with its verdict, what decided, and the numbers of the rule; a letter where it is one of the paper's."""
    numbers = html_table([], [[name, number_text(value)] for name, value in claim.numbers.items()])
    reasons = "".join(f"<li>{escape(sentence(reason))}</li>" for reason in claim.reasons)
    verdict = claim.verdict if claim.asked else "not asked"
    statement = escape(f"({letter}) {claim.statement}" if letter else claim.statement)
    return (
        f'<div class="claim"><p><b>{statement}</b> '
        f'<span class="verdict" style="background: {TONES[claim.verdict]}">{verdict}</span></p><ul>{reasons}</ul>'
        f"{folded('What the rule looked at', numbers)}</div>"
    )


def growth_row(growth: Growth, metrics: Metrics | None) -> list[str]:
    """A row of the table of growth: curve, verdict, extrapolation, exponent, order, its LLC, the measured LLC."""
    fit = growth.fit
    llc = math.nan
    if metrics is not None:
        llc = next((final(head.llc, 2) for head in heads_of(metrics) if head.name == growth.name), math.nan)
    return [
        f"{growth.run} {growth.name}",
        label(growth.verdict),
        label(growth.extrapolation.winner or "–"),
        "–" if fit is None else f"{fit.exponent:.2f} ({fit.exponent_lo:.2f} to {fit.exponent_hi:.2f})",
        "–" if fit is None else f"{fit.order:.2f}",
        "–" if fit is None else f"{fit.order_llc:.2f}",
        number_text(llc, ".1f"),
    ]


def _sections(findings: Findings) -> Iterator[Part]:
    yield section("Verdicts", "".join(map(claim_html, "abc", findings.claims)) + caption_html(linked(VERDICTS_CAPTION)))
    controls: dict[str, list[Metrics]] = {}
    for training in findings.trainings:
        if training.role != SEED and training.metrics is not None and heads_of(training.metrics):
            controls.setdefault(ROLES[training.role].label, []).append(training.metrics)
    if any(heads_of(metrics) for metrics in findings.seeds.values()):
        yield section("(a) Collision heads", _plot("heads", heads_figure(findings.seeds, controls)))
    measured = [head for heads in findings.study.heads().values() for head in heads if len(head.d_eff[1])]
    if measured:
        plots = _plot("geometry", geometry_figure(findings.study))
        if any(head.is_used_collision_head for head in measured):
            plots += _plot("timing", timing_figure(findings.study))
        yield section("(b) Geometry and scores", plots)
    if findings.growth:
        rows = [*findings.growth, *findings.losses]
        header = ["curve", "law", "best extrapolation", "exponent α", "p = 2 + 1/α", "1/p", "LLC"]
        body = [growth_row(growth, findings.seeds.get(growth.run)) for growth in rows]
        plots = _plot("laws", laws_figure(rows)) + _collapse(findings)
        if any(growth.fit for growth in findings.growth):
            plots += _plot("exponents", exponents_figure(findings.growth))
        yield section("Growth laws under Adam", plots + folded("Every curve", html_table(header, body)))
    if flowing := heads_in_flow(findings.study):
        yield section("(c) Gradient flow", _plot("flow", flow_figure(flowing)))
    yield section("The networks beside each other", _peers(findings))
    yield section("Trainings", _runs(findings))


def _peers(findings: Findings) -> str:
    header = ["network", "loss", "colliding", "free", f"position @{findings.horizon}", f"energy @{findings.horizon}"]
    header += ["parameters", "CPU s"]
    rows = [
        [
            peer.name + (f", median of {peer.n}" if peer.n > 1 else ""),
            *(number_text(value, ".3g") for value in (*peer.losses, *peer.rollout)),
            number_text(peer.n_parameters, ",.0f"),
            number_text(peer.cpu_seconds, ",.0f"),
        ]
        for peer in findings.peers
    ]
    caption = """Errors of one interval on held-out data, where 1 is free flight over all particles. <i>Do not
        believe</i> small differences: a row is of one run where no median is named."""
    more = f"""Losses are means of the last three validations. Columns with @{findings.horizon} are after
        {findings.horizon} intervals: mean squared error of positions, squared length, and relative error of energy. The
        interaction network is given what the attention has to find: a neighbourhood, and relative coordinates. At a
        constant rate the last losses jitter by tens of per cent."""
    return html_table(header, rows) + caption_html(caption, more)


def _runs(findings: Findings) -> str:
    """A row per role, with the report of each seed, and what has become of a training that has not finished."""
    colors = {name: seed_color(i) for i, name in enumerate(findings.seeds)}
    rows: dict[str, list[str]] = {}
    for training in findings.trainings:
        name = f"seed {training.seed}"
        shown = f'<a href="{escape(training.report)}">{name}</a>' if training.report else name
        if training.state != "finished":
            shown += f" ({escape(training.state)})"
        dot = dot_html(colors[training.name]) + " " if training.name in colors else ""
        role = "as configured" if training.role == SEED else ROLES[training.role].label
        rows.setdefault(role, []).append(f'<span class="seed">{dot}{shown}</span>')
    return html_table([], [[role, Html(" ".join(links))] for role, links in rows.items()])


def _collapse(findings: Findings) -> str:
    """Velocities of the collision heads of the seeds, and how far their shapes differ; empty without any."""
    curves: dict[str, list[Curve]] = {}
    for growth in findings.growth:
        if (growth.curve[0] > 0).sum() >= MIN_VELOCITY:
            curves.setdefault(growth.run, []).append(growth.curve)
    if not curves:
        return ""
    every = [shape_ratio(curve, *ends_of_rise(curve)) for found in curves.values() for curve in found]
    shapes = np.array([shape for shape in every if math.isfinite(shape)])
    told = (
        f"The time from half to nine tenths, over that from a tenth to half, scatters by {shapes.std(ddof=1):.2f} in "
        f"its logarithm over {len(shapes)} heads. Noise of 0.005 to 0.02 of the rise alone makes that 0.03 to 0.36."
        if len(shapes) > 1
        else ""
    )
    colors = {name: seed_color(i) for i, name in enumerate(findings.seeds)}
    return _plot("collapse", collapse_figure(curves, colors), shape=told)


def _plot(name: str, figure: "Figure", **fill: str) -> str:
    known = {"threshold": f"{COLLISION_HEAD:g}", "c": f"{keys.CURVATURES[RANK_C]:g}", **fill}
    return plot_html(name, figure, *(linked(Template(text).substitute(known)) for text in CLAIM_CAPTIONS[name]))
