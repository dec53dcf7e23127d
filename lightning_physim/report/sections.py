"""The sections of the page of a run: what each draws, and what its caption says.

Titles and order are those of :data:`lightning_physim.keys.SECTIONS`. A section is added by a row there and a
:class:`Content` in :data:`CONTENTS` here.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from string import Template
from typing import TYPE_CHECKING, Any, TypeVar

from lightning_physim import keys
from lightning_physim.curves import ONSET, Curve, Metrics, collision_heads, head_curves, last
from lightning_physim.emergence import Growth, growth_of_collision_heads
from lightning_physim.inside import Views
from lightning_physim.keys import SECTIONS, Section
from lightning_physim.report.curve_figures import (
    LOSS_LINES,
    attention_distance_figure,
    correlation_figure,
    loss_figure,
    rollout_figure,
    scores_figure,
)
from lightning_physim.report.geometry_figures import geometry_figure
from lightning_physim.report.growth_figures import emergence_figure, emerging_heads
from lightning_physim.report.heads import head_table_html
from lightning_physim.report.inside_figures import inside_figure
from lightning_physim.report.inside_table import inside_notes, inside_table
from lightning_physim.report.llc_figures import llc_figure, orders, regions
from lightning_physim.report.page import caption_html, plot_html
from lightning_physim.report.portrait_figures import portrait_figure
from lightning_physim.report.sampler_figures import calibration_figure, llc_trace_figure
from lightning_physim.report.snapshot_figures import attention_map_figure, rollout_animation_figure
from lightning_physim.report.splits import MEANING, split_table
from lightning_physim.report.table import html_table
from lightning_physim.report.viewer import Snapshots, viewer_html
from lightning_physim.report.words import linked
from lightning_physim.tracking import RunDirectory, arrays_folder, read_arrays, read_metrics, read_table

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunContent:
    """What the page of a run and its figures in W&B are made of, each read, computed or drawn once.

    Args:
        run: the run directory.

    Raises:
        InputError: no ``metrics.jsonl``, or not a readable one.
    """

    run: RunDirectory
    drawn: dict[str, "Figure | None"] = field(default_factory=dict, repr=False)
    """The figures that have been asked for, by name of their section."""
    troubles: dict[str, str] = field(default_factory=dict, repr=False)
    """Why a section cannot be drawn, by its name."""

    @cached_property
    def metrics(self) -> Metrics:
        return read_metrics(self.run.metrics)

    @cached_property
    def growth(self) -> dict[str, Growth]:
        return growth_of_collision_heads(self.metrics)

    @cached_property
    def snapshots(self) -> Snapshots:
        return read_arrays(arrays_folder(self.run.figures, keys.SNAPSHOTS))

    @cached_property
    def inside(self) -> tuple[int, Views] | None:
        """What was seen after training, or by ``physim attention``, at the last step looked at, and the step."""
        found = read_arrays(arrays_folder(self.run.figures, keys.INSIDE))
        return (max(found), Views.of(found[max(found)])) if found else None

    @cached_property
    def viewer(self) -> str:
        """HTML of what the heads look at and of rollouts; empty where there are no snapshots."""
        return viewer_html(self.snapshots, self.metrics) if self.snapshots else ""

    def table(self, key: str) -> dict[str, Any] | None:
        """What ``log_table`` wrote under a key: ``step``, ``columns`` and ``data``; None where it has no rows."""
        return read_table(self.run.figures, key)

    def figure(self, name: str) -> "Figure | None":
        """The figure of a section of :data:`lightning_physim.keys.SECTIONS`; None where the run has nothing for it."""
        if name not in self.drawn:
            self.drawn[name] = self._tried(name, lambda: CONTENTS[name].draw(self))
        return self.drawn[name]

    def html(self, name: str) -> str:
        """What a section of the page shows under its title; empty where the run has nothing for it."""
        shown = self._tried(name, lambda: section_html(name, self)) or ""
        return f"<p>{escape(self.troubles[name])}</p>" if name in self.troubles else shown

    def figures(self, viewed: bool = False) -> dict[str, "Figure"]:
        """The figures that the run has something for, by name of their section and in that order.

        Args:
            viewed: those that stand for the viewer, in place of all others.
        """
        figures = {section.name: self.figure(section.name) for section in SECTIONS if section.viewed is viewed}
        return {name: figure for name, figure in figures.items() if figure is not None}

    def _tried(self, name: str, make: Callable[[], T]) -> T | None:
        """What ``make`` gives; None and a line of warning where a file is torn or holds what nobody here wrote."""
        if name not in self.troubles:
            try:
                return make()
            except Exception as error:  # one section is not worth the page
                reason = " ".join(str(error).split())[:200]
                self.troubles[name] = f"The section {name} cannot be drawn: {type(error).__name__}: {reason}"
                log.warning("%s: %s", self.run.path, self.troubles[name])
        return None


def _nothing_open(_: RunContent) -> Mapping[str, str]:
    return {}


def _nothing_below(_: RunContent) -> str:
    return ""


@dataclass(frozen=True)
class Content:
    """What a section shows.

    Args:
        draw: the figure; None where the run has nothing for it.
        caption: HTML under the figure: what it shows, and what not to believe, in two short sentences. Without one the
            figure goes to loggers alone, and the page shows what is below.
        more: the rest of the caption, which is folded.
        fill: what stands for each ``$name`` of both.
        below: more HTML.
        folded_into: name of the section at whose end this one is folded away; empty for a section of its own.
    """

    draw: "Callable[[RunContent], Figure | None]"
    caption: str = ""
    more: str = ""
    fill: Callable[[RunContent], Mapping[str, str]] = _nothing_open
    below: Callable[[RunContent], str] = _nothing_below
    folded_into: str = ""


def section_html(name: str, run: RunContent) -> str:
    """What a section of the page shows under its title; empty where the run has nothing for it."""
    content, figure = CONTENTS[name], run.figure(name) if CONTENTS[name].caption else None
    if figure is None:
        return content.below(run)
    words = (linked(Template(text).substitute(content.fill(run))) for text in (content.caption, content.more))
    return plot_html(name, figure, *words) + content.below(run)


def folded_sections(name: str) -> list[Section]:
    """The sections that are folded into another one; those that stand by themselves for an empty name."""
    return [section for section in SECTIONS if CONTENTS[section.name].folded_into == name]


def _attention_map(run: RunContent) -> "Figure | None":
    last = run.snapshots[max(run.snapshots)] if run.snapshots else {}
    return attention_map_figure(run.snapshots) if "attention" in last else None


def _rollout_animation(run: RunContent) -> "Figure | None":
    last = run.snapshots[max(run.snapshots)] if run.snapshots else {}
    return rollout_animation_figure(run.snapshots) if "rollout" in last else None


def _loss(run: RunContent) -> "Figure | None":
    logged = {keys.TRAIN_LOSS, *(key for key, _, _ in LOSS_LINES)} & run.metrics.keys()
    return loss_figure(run.metrics) if logged else None


def _scores(run: RunContent) -> "Figure | None":
    if not head_curves(run.metrics, keys.ENRICHMENT):
        return None
    lines = {head: _enrichment_line(run.metrics, growth) for head, growth in run.growth.items()}
    return scores_figure(run.metrics, fits={head: line for head, line in lines.items() if line is not None})


def _enrichment_line(metrics: Metrics, growth: Growth) -> Curve | None:
    """The fitted line of a head's partner score in units of uniform attention; None where it has none."""
    line = growth.line()
    if line is None:
        return None
    scale = last(metrics, keys.ENRICHMENT.of(head=growth.name)) / last(metrics, keys.PARTNER_SCORE.of(head=growth.name))
    return line[0], scale * line[1]


def _heads(run: RunContent) -> str:
    return head_table_html(run.metrics, {head: growth.text for head, growth in run.growth.items()})


def _emergence(run: RunContent) -> "Figure | None":
    return emergence_figure(run.metrics) if emerging_heads(run.metrics) else None


def _portrait(run: RunContent) -> "Figure | None":
    return portrait_figure(run.metrics)


def _llc(run: RunContent) -> "Figure | None":
    return llc_figure(run.metrics) if regions(run.metrics) else None


def _settings(run: RunContent) -> dict[str, str]:
    """The onset, what the estimates were sampled with as far as it was logged, and what an order is."""
    logged = []
    for key in (keys.LLC_N_BETA, keys.LLC_LOCALIZATION):
        curves = [values for name, (_, values) in run.metrics.items() if key.match(name) is not None]
        logged.append({float(value) for values in curves for value in values})
    if not all(logged):
        settings = ""
    elif any(len(values) > 1 for values in logged):
        settings = ", <b>and these have different ones</b>"
    else:
        n_beta, localization = (values.pop() for values in logged)
        settings = f", here {n_beta:,g} and {localization:,g}"
    order = ORDER_CAPTION if orders(run.metrics) else ""
    return {"onset": f"{ONSET:g}", "settings": settings, "order": order}


def _geometry(run: RunContent) -> "Figure | None":
    return geometry_figure(run.metrics)


def _llc_trace(run: RunContent) -> "Figure | None":
    table = run.table(keys.LLC_TRACE) if regions(run.metrics) else None
    return llc_trace_figure(table, run.metrics) if table else None


def _calibration(run: RunContent) -> "Figure | None":
    table = run.table(keys.LLC_CALIBRATION)
    return calibration_figure(table) if table else None


def _attention_distance(run: RunContent) -> "Figure | None":
    table = run.table(keys.ATTENTION_DISTANCE)
    return attention_distance_figure(table) if table else None


def _correlation(run: RunContent) -> "Figure | None":
    table = run.table(keys.ATTENTION_DISTANCE)
    return correlation_figure(table) if table else None


def _inside(run: RunContent) -> "Figure | None":
    return inside_figure(run.inside[1], collision_heads(run.metrics)) if run.inside else None


def _inside_step(run: RunContent) -> Mapping[str, str]:
    return {"step": f"{run.inside[0]:,}"} if run.inside else {}


def _inside_table(run: RunContent) -> str:
    if run.inside is None:
        return ""
    *notes, last_note = map(escape, inside_notes(run.inside[1]))
    return html_table(*inside_table(run.inside[1])) + caption_html(last_note, "<br>".join(notes))


def _rollout(run: RunContent) -> "Figure | None":
    logged = any(key.match(name) is not None for key in keys.ROLLOUT.values() for name in run.metrics)
    scene = next(iter(run.snapshots.values()), {})
    diameter = 2 * float(scene["radii"].mean()) if "radii" in scene else None
    return rollout_figure(run.metrics, diameter=diameter, floors=run.table(keys.ROLLOUT_FLOORS)) if logged else None


def _splits(run: RunContent) -> str:
    """What ``physim test`` has measured at the last step that it was called for."""
    # Keys of a fit have a row of their own; those of other splits are formed like those of validation.
    splits, rows = split_table({key: last(run.metrics, key) for key in run.metrics if keys.find(key) is None})
    if not splits:
        return ""
    step = int(run.metrics[keys.of_split(splits[0], keys.VAL_LOSS.quantity)][0][-1])
    return (
        f"<h3>Splits that were held out, at step {step:,}</h3>"
        f"{html_table(['', *splits], [[name, *cells] for name, cells in rows])}<p>{escape(MEANING)}</p>"
    )


def _step_of(key: str) -> Callable[[RunContent], Mapping[str, str]]:
    def fill(run: RunContent) -> Mapping[str, str]:
        table = run.table(key)
        return {"step": f"{table['step']:,}"} if table else {}

    return fill


ORDER_CAPTION = """<br>The <b>order</b> p tells how the loss rises with the distance r from the weights: as
        r<sup>p</sup>. It is 2 in a regular basin, a parabola. It is 4 in a quartic one, flat at the bottom. The order
        of a head is a mean over its directions, each weighted by what it adds to the LLC. Bars are 95 % intervals.
        Estimates within three standard errors of 0 have no order. <i>Do not believe</i> that an order of 2 excludes
        quartic directions: those that add little to the LLC do not show."""
"""What the caption of learning coefficients says where the figure has orders."""
CONTENTS = {
    "attention_map": Content(_attention_map, below=lambda run: run.viewer),
    "scores": Content(
        _scores,
        """The attention of each head to near particles, over what uniform attention would give them. <i>Do not
        believe</i> that attention to near particles is use of it: the ablation in the table tells.""",
        """Attention is that to others, self excluded. A head that climbs away from 1 has found the particles that may
        collide. Thin lines are power laws, <b>broken</b> where the table says so. They are drawn only for heads whose
        growth such a law describes better than any other. Before its break a power law is <i>s</i> &minus; <i>A</i>
        (<i>t</i> &minus; <i>t</i><sub>0</sub>)<sup>&minus;&alpha;</sup>. <i>Do not believe</i> a head because of one
        step: scores of a small probe set scatter by some per cent. A power law is no proof of a degenerate potential,
        as the loss may fall like one too.""",
        below=_heads,
    ),
    "loss": Content(
        _loss,
        """The error of one predicted interval on held-out data, beside that of predictors that know less. <i>Do not
        believe</i> a small overall loss by itself, as most particles touch nothing.""",
        """A loss of 1 is free flight over all particles. <b>Colliding</b> are the particles that touched another one in
        the interval. The no-pair oracle knows walls and gravity exactly but no other particle. A network far below it
        must use its neighbours. <i>Do not believe</i> a colliding loss some ten per cent under the oracle. A network
        without attention reaches that by knowing what collisions do on average. The training loss is averaged in
        log-spaced bins.""",
    ),
    "emergence": Content(
        _emergence,
        """Forecasts of the last score of each head, and the exponent of its approach. <i>Do not believe</i> a forecast
        that was made before a head began to rise.""",
        """The upper panel shows the scores of the strongest emerging heads. Beside each stand forecasts
        of its last value, at the steps where they were made, from a tenth of the run on. Their bars hold 95 %
        of the errors of earlier runs, and held 97 % of those of fresh ones. The lower panel shows the exponent
        of a power law fitted to the approach, at the last step where one was fitted, with its 95 % interval for
        parameters and noise. <i>Do not believe</i> an exponent whose bar reaches across the panel. The table of
        heads tells where another law describes the growth better: no exponent is to be believed there.""",
    ),
    "portrait": Content(
        _portrait,
        """A phase portrait: the velocity of each score against the score itself, from a tenth of the rise on. <i>Do not
        believe</i> a dip or a bump narrower than a fifth of a decade of steps, as velocities are smoothed over
        that.""",
        """Time runs from left to right while a score rises. A line has a gap where the score falls, and goes on further
        left. Where one coordinate rolls down an effective potential, the velocity depends on the place alone. A line
        that begins high has rolled off a slope. One that rises in proportion to the score above uniform attention has
        left a saddle. At the right a power law slows down early, an exponential only near the end. <i>Do not
        believe</i> a potential under a learning rate that changes, or under Adam, which divides gradients by their
        size.""",
    ),
    "llc": Content(
        _llc,
        """The <b>learning coefficient</b> (LLC) of a head counts the ways of changing its weights that the data rule
        out, at half a unit each. <i>Do not believe</i> a hollow estimate, which failed a diagnostic, nor one below 0,
        which no minimum has.""",
        """Weights that do not matter count nothing. An LLC rises when a head takes on structure: compare the step with
        that at which its score rises. Dotted verticals are where collision heads passed $onset times uniform attention.
        The axis is logarithmic where most estimates are above 0. Bands are two standard errors either way, cut at the
        ends of the axis. The pointer names the diagnostic that a <b>hollow</b> estimate failed. A <b>triangle</b> lies
        beyond the axis: too far off, or not above 0. A bar on it reaches up to two standard errors. A cross has no
        finite value. The pointer also tells what a walk without the loss would give. An LLC that only follows this walk
        says nothing new. <i>Do not believe</i> that a rise is detection of collisions, as any structure raises it. An
        LLC compares only with others of the same n<sub>β</sub> and localization$settings. $order""",
        fill=_settings,
    ),
    "geometry": Content(
        _geometry,
        """How many directions of its weights a head holds fast, halved, at several curvatures c. <i>Do not believe</i>
        that a line that rises belongs to a collision head: any structure raises it, compare the scores.""",
        """A direction counts by how far its curvature h exceeds the c in the title: h/(h + c). <b>Lines</b> come from
        the spectrum of the Gauss–Newton matrix, without a sampler. <b>Dots</b> are sampled learning coefficients, with
        two standard errors either way. They stand in the panel of the curvature that they were sampled with. They lie
        on their line where the loss is quadratic that far from the weights. The <b>occupancy</b> tells what the number
        is. Near 1 it counts directions, however sharp they are. Near 0 all are softer than c, and it measures the
        sharpness of the loss. <i>Do not believe</i> that a dot is noise where its bar misses its line. The matrix
        leaves out the curvature of residuals, and the sampler sees curvature that changes further out.""",
    ),
    "llc_trace": Content(
        _llc_trace,
        """The rise of the loss times n<sub>β</sub>, draw by draw, for the estimates at step $step. <i>Do not
        believe</i> an estimate whose chains drift, or keep to levels of their own.""",
        """Each chain has a line, and their mean is dotted. Chains that mix look alike and soon forget where they were.
        Chains that keep to levels of their own have not seen all of the neighbourhood that they speak of.""",
        fill=_step_of(keys.LLC_TRACE),
        folded_into="llc",
    ),
    "calibration": Content(
        _calibration,
        """Estimates at step $step with other settings of the sampler: a good step size lies on a plateau. <i>Do not
        believe</i> a plateau of hollow estimates, which failed a diagnostic.""",
        """Bars are two standard errors either way. On a plateau half of the step size gives the same. To the right
        discretisation errors raise the estimate until chains diverge. To the left chains are too slow. Lines of one
        shade have one ratio of localization to n<sub>β</sub>, and should agree. The <b>star</b> is recommended. <i>Do
        not believe</i> a difference between shades: they leave out directions of other curvatures.""",
        fill=_step_of(keys.LLC_CALIBRATION),
    ),
    "attention_distance": Content(
        _attention_distance,
        """The attention to a single particle at a given distance, at step $step: that of a collision head falls steeply
        beyond contact. <i>Do not believe</i> the bins below 1 and those at the far end, where few pairs are found.""",
        """The axis ends at a thousandth of uniform attention. <i>Do not believe</i> the average of a head that switches
        between particles.""",
        fill=_step_of(keys.ATTENTION_DISTANCE),
    ),
    "correlation": Content(
        _correlation,
        """The same of the head that ends with the most attention to one particle, over training, in units of uniform
        attention. <i>Do not believe</i> the bins below 1 and those at the far end, where few pairs are found.""",
        """This is 1 + <i>C</i>(<i>r</i>), with the correlation function <i>C</i> of attention and distance. It is flat
        at 1 where all particles are alike to a head. <i>Do not believe</i> that a line that bends is a transition: a
        range that shrinks with the score does the same.""",
    ),
    "inside": Content(
        _inside,
        """What the score of a pair depends on in each head at step $step, and what the head does for the prediction.
        <i>Do not believe</i> that lost fractions add up to 1: heads stand in for each other.""",
        """<b>Maps</b>: how far the query–key score of a pair lies above that of others, by its distance and its
        approach within an interval. Pairs above the dotted line touch, if they meet head-on. Colours that change
        upwards show a head that knows velocities. <b>Bars</b>: the fraction of a partner’s effect on the prediction
        that is lost when the head alone does not know of the partner, and the fraction that comes when it alone does.
        Then the response through the head when the particle that it sees most is moved, as a fraction of the true
        response. The control moves the one within 2.5 diameters that it sees least. Error bars are two standard
        errors either way. <i>Do not believe</i> a colour where few pairs are; the pointer tells.""",
        fill=_inside_step,
        below=_inside_table,
    ),
    "rollout": Content(
        _rollout,
        """The errors of the network when it is applied to its own output. <i>Do not believe</i> positions beyond a few
        collisions: the true system is chaotic.""",
        """Black lines are predictors that know less: free flight, and the no-pair oracle, which knows walls and
        gravity. Energy and momentum say whether it still is physics where positions have become unpredictable. Two
        exact simulations of slightly different states differ as much as a network and the truth.""",
        below=_splits,
    ),
    "rollout_animation": Content(_rollout_animation),
}
"""By name of the section. The viewer of ``attention_map`` shows ``rollout_animation`` as well."""
