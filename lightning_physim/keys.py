"""Every metric key, once: what it means, its unit, which way is better, what chance gives, and where it is shown.

Whoever logs, draws, tabulates or documents a metric takes its key from here. A key is a string and may have fields,
``probe/auroc/{head}``, which :meth:`Key.of` fills and :meth:`Key.match` reads back.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lightning_physim.key_types import HEAD, Chart, Column, Key

MODEL = "model"
"""Name of the region that holds all parameters."""


def head_name(layer: int, head: int) -> str:
    """The name of a head, both numbers counted from 0."""
    return f"L{layer}H{head}"


def head_place(name: str) -> tuple[int, int]:
    """Layer and head of a name ``L{l}H{h}``."""
    layer, head = re.findall(r"\d+", name)
    return int(layer), int(head)


def is_head(region: str) -> bool:
    """Whether a region is an attention head."""
    return re.fullmatch(HEAD, region) is not None


@dataclass(frozen=True)
class Section:
    """A section of the page of a run and of dashboards: a figure of our own, and charts that a dashboard draws.

    Args:
        name: of the figure.
        title: of the section.
        viewed: whether the viewer shows it, in place of a figure of its own wherever a page can be shown.
    """

    name: str
    title: str
    viewed: bool = False

    @property
    def key(self) -> str:
        """Key of the figure in Weights & Biases."""
        return REPORT_FIGURE.of(figure=self.name)

    def charts(self) -> Iterator[tuple[Chart, str]]:
        """Its charts, each with the regular expression of the keys in it."""
        members: dict[Chart, list[str]] = {}
        for key in KEYS:
            for chart in key.charts:
                if chart.section == self.name:
                    members.setdefault(chart, []).append(key.pattern(chart.only))
        for chart, patterns in members.items():
            yield chart, rf"^({'|'.join(patterns)})$"


STEP = "trainer/global_step"
"""The training step in Weights & Biases, x-axis of every chart."""
REPORT_FIGURE = Key("report/{figure}", "a figure of the report", "figure")
VIEWER = REPORT_FIGURE.of(figure="viewer")
"""The viewer as a page, in Weights & Biases and other loggers that take one."""

SECTIONS = (
    Section("attention_map", "What the heads look at", viewed=True),
    Section("scores", "Heads that find near particles"),
    Section("loss", "What it has learned"),
    Section("emergence", "How they grow"),
    Section("portrait", "How fast they grow where they stand"),
    Section("llc", "When heads take on structure"),
    Section("geometry", "In how many directions the loss is curved"),
    Section("llc_trace", "Do the chains mix?"),
    Section("calibration", "Settings of the sampler"),
    Section("attention_distance", "How far they look"),
    Section("correlation", "How their range forms"),
    Section("inside", "Inside the heads"),
    Section("rollout", "As a simulator"),
    Section("rollout_animation", "The network beside the truth", viewed=True),
)
"""What a page about emergence shows, in which order. The viewer of the page stands at ``attention_map``, and shows
``rollout_animation`` as well."""

# Losses.
STANDARDISED = "variance of the standardised residual"
_LOSSES = Chart("Loss: colliding, all, free, and the floors", "loss")
TRAIN_LOSS = Key(
    "train/loss", "mean squared error of the standardised target, on a training batch", STANDARDISED, "minimize",
    Chart("Training loss", "loss"),
)  # fmt: skip
VAL_LOSS = Key(
    "val/loss", "mean squared error of the standardised target; 1 is free flight", STANDARDISED, "minimize", _LOSSES
)
VAL_LOSS_COLLIDING = Key(
    "val/loss_colliding", "the loss over particles that touched another one in the interval", STANDARDISED, "minimize",
    _LOSSES,
)  # fmt: skip
VAL_LOSS_FREE = Key("val/loss_free", "the loss over all other particles", STANDARDISED, "minimize", _LOSSES)
FLOOR_BALLISTIC = Key("val/floor_ballistic", "loss of free flight, on the same data", STANDARDISED, None, _LOSSES)
FLOOR_BALLISTIC_COLLIDING = Key(
    "val/floor_ballistic_colliding", "loss of free flight over colliding particles", STANDARDISED, None, _LOSSES
)
FLOOR_BALLISTIC_FREE = Key("val/floor_ballistic_free", "loss of free flight over others", STANDARDISED, None, _LOSSES)
FLOOR_NO_PAIR = Key(
    "val/floor_no_pair", "loss of the no-pair oracle: exact, without neighbours", STANDARDISED, None, _LOSSES
)
FLOOR_NO_PAIR_COLLIDING = Key(
    "val/floor_no_pair_colliding", "loss of the no-pair oracle over colliding particles", STANDARDISED, None,
    _LOSSES,
)  # fmt: skip
FLOOR_NO_PAIR_FREE = Key("val/floor_no_pair_free", "loss of that oracle over others", STANDARDISED, None, _LOSSES)

# The network as a simulator.
ROLLOUT_MSE = Key(
    "rollout/mse@{k}", "squared error of positions after K predicted intervals", "squared unit of length", "minimize",
    Chart("Position error after K intervals", "rollout"),
)  # fmt: skip
ROLLOUT_ENERGY = Key(
    "rollout/energy_error@{k}", "error of the energy after K predicted intervals", "fraction of the true energy",
    "minimize", Chart("Energy error after K intervals", "rollout"),
)  # fmt: skip
ROLLOUT_MOMENTUM = Key(
    "rollout/momentum_error@{k}", "error of the total momentum after K predicted intervals",
    "fraction of the sum of true momenta", "minimize",
)  # fmt: skip

# Scores of heads. A score is what a probe calls it: its name here is its name there.
ENRICHMENT = Key(
    "probe/enrichment/{head}", "partner score over the value of uniform attention; 1 is chance, and this one decides",
    "times uniform attention", "maximize",
    Chart("Attention to near particles, times uniform", "scores"),
    chance=1.0, column=Column("× uniform", "{:.1f}", narrow=True),
)  # fmt: skip
PARTNER_SCORE = Key(
    "probe/partner_score/{head}", "attention mass on near particles, self excluded and renormalised, where one is near",
    "fraction of attention", "maximize", Chart("Partner score", "scores"), column=Column("partner score", narrow=True),
)  # fmt: skip
COLLISION_SCORE = Key(
    "probe/collision_score/{head}", "attention within the radius, the query included: the paper's score as we read it",
    "fraction of attention", "maximize", Chart("Collision score of the paper", "scores"),
    column=Column("collision score"),
)  # fmt: skip
_CLASSIFIER = "<b>AUROC</b> and <b>average precision</b>: attention as a classifier of the pairs that touch."
AUROC = Key(
    "probe/auroc/{head}", "area under the ROC curve of attention as a classifier of the pairs that touch",
    "probability", "maximize", Chart("AUROC of pairs that touch", "scores", log=False),
    chance=0.5, column=Column("AUROC", note=_CLASSIFIER, narrow=True),
)  # fmt: skip
AVERAGE_PRECISION = Key(
    "probe/average_precision/{head}",
    "average precision of attention as that classifier; chance is the fraction that touches",
    "precision", "maximize", Chart("Average precision of pairs that touch", "scores"),
    column=Column("average precision", note=_CLASSIFIER),
)  # fmt: skip
ABLATION = Key(
    "probe/ablation/{head}", "rise of the loss on colliding particles when the head's near keys are dropped",
    STANDARDISED, "maximize", Chart("Rise of the colliding loss without near keys", "scores", log=False),
    column=Column(
        "ablation",
        note="<b>Ablation</b>: rise of the loss on colliding particles when the head’s near keys are dropped.",
        narrow=True,
    ),
)  # fmt: skip
DISTANCE_CORRELATION = Key(
    "probe/distance_correlation/{head}", "Pearson correlation of attention with distance", "correlation"
)
BEST_ENRICHMENT = Key(
    "probe/best_enrichment", "the largest enrichment of any head", "times uniform attention", "maximize", chance=1.0
)

# Learning coefficients, of a region: MODEL, a head, or what else was asked for.
LLC_MEAN = Key(
    "llc/{region}/mean", "local learning coefficient of `model` or of head `L{l}H{h}`", "1", None,
    Chart("Learning coefficient of each head", "llc", log=False, only=HEAD),
    Chart("Learning coefficient of the model", "llc", log=False, only=MODEL),
)  # fmt: skip
LLC_MCSE = Key("llc/{region}/mcse", "standard error of the coefficient", "1", None, Chart("Standard error", "llc"))
LLC_RHAT = Key(
    "llc/{region}/rhat", "split R-hat of the chains", "ratio", "minimize", Chart("R-hat", "llc_trace", log=False)
)
LLC_RHAT_POSITION = Key(
    "llc/{region}/rhat_position", "R-hat of where the chains are, all coordinates together", "ratio", "minimize"
)
LLC_ESS = Key(
    "llc/{region}/ess", "effective sample size of all draws", "draws", "maximize",
    Chart("Effective sample size", "llc_trace"),
)  # fmt: skip
LLC_STEP_STABILITY = Key(
    "llc/{region}/step_stability", "step size over the limit of stability", "ratio", "minimize",
    Chart("Step stability", "llc_trace"),
)  # fmt: skip
LLC_NOISE_RATIO = Key(
    "llc/{region}/noise_ratio", "relative rise of the estimate by the noise of minibatch gradients", "ratio",
    "minimize", Chart("Gradient-noise ratio", "llc_trace"),
)  # fmt: skip
LLC_N_DEAD = Key(
    "llc/{region}/n_dead", "chains that diverged", "chains", "minimize", Chart("Dead chains", "llc_trace", log=False)
)
LLC_CONVERGED = Key(
    "llc/{region}/converged", "1 where every diagnostic passed, else 0", "flag", "maximize",
    Chart("Passed every diagnostic", "llc_trace", log=False),
)  # fmt: skip
LLC_SHIFT = Key("llc/{region}/shift", "n_beta times the loss at the centre of the chains, less that at w*", "1")
LLC_VIRIAL = Key("llc/{region}/virial", "mean of ((w - c) B grad U - tr B)/2; 0 for exact sampling", "1")
LLC_VIRIAL_MCSE = Key("llc/{region}/virial_mcse", "standard error of the virial", "1")
LLC_VIRIAL_KEPT = Key("llc/{region}/virial_kept", "fraction of the virial that the estimate holds", "fraction")
LLC_EQUIPARTITION = Key("llc/{region}/equipartition", "E[(w - c) n_beta grad L]/2, with the centre c of draws", "1")
LLC_EQUIPARTITION_MCSE = Key("llc/{region}/equipartition_mcse", "standard error of the equipartition", "1")
LLC_ORDER = Key(
    "llc/{region}/order",
    "order of the loss about the centre: 2 regular, 4 quartic",
    "1",
    None,
    Chart("Order", "llc_trace", log=False),
)
LLC_ORDER_LO = Key("llc/{region}/order_lo", "lower end of the order's 95 % interval", "1")
LLC_ORDER_HI = Key("llc/{region}/order_hi", "upper end of the order's 95 % interval", "1")
LLC_WALK = Key("llc/{region}/walk", "control: n_beta times the rise of the loss where localization alone acts", "1")
LLC_WALK_MCSE = Key("llc/{region}/walk_mcse", "standard error of the walk", "1")
LLC_LOCALIZATION_SHARE = Key(
    "llc/{region}/localization_share", "localization |w - w*|^2 / d; 1 where localization alone holds the chains", "1"
)
LLC_ACCEPTANCE = Key("llc/{region}/acceptance", "mean Metropolis acceptance of a step of Euler's scheme", "probability")
LLC_BELOW = Key("llc/{region}/below", "fraction of draws below 0", "fraction")
LLC_GRAD_NORM = Key("llc/{region}/grad_norm", "norm of the loss's gradient by the region's weights", "loss per weight")
LLC_WEIGHT_NORM = Key("llc/{region}/weight_norm", "norm of the region's weights", "weights")
LLC_STEP_SIZE = Key("llc/{region}/step_size", "step size of the sampler, in units of its preconditioner", "1")
LLC_N_BETA = Key("llc/{region}/n_beta", "inverse temperature times the number of samples", "1 per loss")
LLC_LOCALIZATION = Key("llc/{region}/localization", "strength of the pull towards w*", "1 per squared weight")

# The Gauss-Newton spectrum of a region.
CURVATURES = {"c10": 10.0, "c1": 1.0, "c0p1": 0.1}
"""Curvatures c, in units of the loss per squared weight, from which directions are counted; by their name in keys."""


def _geometry(quantity: str, name: str) -> Key:
    meaning, unit, chart = {
        "d_eff": ("directions that count, sum h/(h + c), at c = {c:g}", "directions", "Directions that count"),
        "occupancy": (
            "mean of f = h/(h + c) weighted by f, at c = {c:g}: 1 counts directions, 0 sharpness",
            "1",
            "Occupancy",
        ),
        "d_eff_error": (
            "standard error of d_eff at c = {c:g}, of a matrix that is too large to hold",
            "directions",
            "",
        ),
        "doubling": ("relative change of d_eff from half of the states to all, at c = {c:g}", "fraction", ""),
    }[quantity]
    c = CURVATURES[name]
    charts = [Chart(f"{chart} at c = {c:g}", "geometry", only=HEAD)] if chart else []
    return Key(f"geometry/{{region}}/{quantity}/{name}", meaning.format(c=c), unit, None, *charts)


GEOMETRY_TRACE = Key(
    "geometry/{region}/trace", "trace of the Gauss-Newton matrix of `model` or of head `L{l}H{h}`: sharpness",
    "loss per squared weight", None, Chart("Trace of the Gauss-Newton matrix", "geometry", only=HEAD),
)  # fmt: skip
GEOMETRY_N_STATES = Key("geometry/{region}/n_states", "states that the matrix is the mean over", "states")
D_EFF_10, D_EFF_1, D_EFF_0P1 = (_geometry("d_eff", name) for name in CURVATURES)
D_EFF_ERROR_10, D_EFF_ERROR_1, D_EFF_ERROR_0P1 = (_geometry("d_eff_error", name) for name in CURVATURES)
OCCUPANCY_10, OCCUPANCY_1, OCCUPANCY_0P1 = (_geometry("occupancy", name) for name in CURVATURES)
DOUBLING_10, DOUBLING_1, DOUBLING_0P1 = (_geometry("doubling", name) for name in CURVATURES)

# Emergence.
_EXPONENT = Chart("Exponent of the power law, with its 95 % interval", "emergence", log=False)
_FORECAST = Chart("Forecast of the score", "emergence")
EXPONENT = Key("emergence/{head}/exponent", "exponent of the power law of the approach so far", "1", None, _EXPONENT)
EXPONENT_LO = Key("emergence/{head}/exponent_lo", "lower end of the exponent's 95 % interval", "1", None, _EXPONENT)
EXPONENT_HI = Key("emergence/{head}/exponent_hi", "upper end of the exponent's 95 % interval", "1", None, _EXPONENT)
ONSET_STEP = Key(
    "emergence/{head}/onset_step", "step at which the partner score departed from its baseline for good",
    "optimizer steps", None, Chart("Step of onset", "emergence"),
)  # fmt: skip
FORECAST = Key(
    "emergence/{head}/forecast", "partner score to expect at the last step", "fraction of attention", None, _FORECAST
)
FORECAST_LO = Key(
    "emergence/{head}/forecast_lo", "lower end of the forecast's 95 % interval", "fraction of attention", None,
    _FORECAST,
)  # fmt: skip
FORECAST_HI = Key(
    "emergence/{head}/forecast_hi", "upper end of the forecast's 95 % interval", "fraction of attention", None,
    _FORECAST,
)  # fmt: skip
N_EMERGING = Key("emergence/n_emerging", "heads whose score has left its baseline for good", "heads")

# Clocks.
TIME_TRAIN = Key("time/train", "time in training batches since the start", "seconds")
TIME_TRAIN_CPU = Key("time/train_cpu", "CPU time of training batches, all threads", "seconds")
TIME_LOG = Key("time/log", "time in loggers", "seconds")
TIME_PROBE = Key("time/probe", "time in probes", "seconds")
TIME_EMERGENCE = Key("time/emergence", "time in fits of growth laws", "seconds")
TIME_SNAPSHOTS = Key("time/snapshots", "time in snapshots", "seconds")
TIME_LLC = Key("time/llc", "time in estimates of learning coefficients", "seconds")
TIME_GEOMETRY = Key("time/geometry", "time in Gauss-Newton spectra", "seconds")

KEYS = tuple(value for value in list(globals().values()) if isinstance(value, Key) and value is not REPORT_FIGURE)
"""All of them, in the order of this file."""
OF_EVERY_LOG = {
    "time": Key(
        "time", "time since training began, without what lay between an interruption and its resume", "seconds"
    ),
    "epoch": Key("epoch", "passes through the training data", "epochs"),
}
"""What Lightning and ``metrics.jsonl`` add to rows: no measurements."""
PROBE = {key.quantity: key for key in KEYS if key.startswith("probe/") and key.endswith("/{head}")}
"""The scores of heads by name."""
LLC = {key.quantity: key for key in KEYS if key.startswith("llc/")}
"""What is logged of an estimate, by name."""
GEOMETRY = {key.removeprefix("geometry/{region}/"): key for key in KEYS if key.startswith("geometry/")}
"""What is logged of the spectrum of a region, by name."""
EMERGENCE = {key.quantity: key for key in KEYS if key.startswith("emergence/{head}/")}
"""What is logged of the growth of a head, by name."""
ROLLOUT = {key.quantity: key for key in KEYS if key.startswith("rollout/")}
"""Errors of the network as a simulator, by name."""
TIME = {key.quantity: key for key in KEYS if key.startswith("time/")}
"""Clocks, by what they measure."""

# Tables and arrays: not numbers by step, but what a figure is drawn from.
ATTENTION_DISTANCE = "probe/attention_distance"
SNAPSHOTS = "probe/snapshots"
INSIDE = "probe/inside"
ROLLOUT_FLOORS = "rollout/floors"
LLC_TRACE = "llc/trace"
LLC_CALIBRATION = "llc/calibration"
GROWTH_TABLE = "emergence/heads"
HEAD_TABLE = "report/heads"
ESTIMATE_TABLE = "report/estimates"
ESTIMATE_COLUMNS = ("region", "step", "mean", "low", "high", "converged")
"""Of a row of :data:`ESTIMATE_TABLE`: a learning coefficient, with two standard errors either way."""
DIVERGED_BATCH = "train/diverged"
TABLES = (
    ATTENTION_DISTANCE, SNAPSHOTS, INSIDE, ROLLOUT_FLOORS, LLC_TRACE, LLC_CALIBRATION, GROWTH_TABLE, HEAD_TABLE,
    ESTIMATE_TABLE, DIVERGED_BATCH,
)  # fmt: skip


def of_split(split: str, quantity: str) -> str:
    """The key of a quantity of :class:`lightning_physim.metrics.OneStepError` on an evaluation split."""
    return f"{split}/{quantity}"


def time_of(name: str) -> str:
    """The key of the clock of a callback, which may be anybody's; :data:`TIME` lists ours."""
    return f"time/{name}"


def rollout_of(split: str, error: str) -> str:
    """The key of an error of :class:`lightning_physim.metrics.RolloutError` on an evaluation split."""
    return f"rollout/{error}" if split == "val" else f"{split}/rollout_{error}"


def find(key: str) -> Key | None:
    """The row that a logged key belongs to, or None."""
    return next((row for row in KEYS if row.match(key) is not None), None)


def told_by(key: str) -> Key | None:
    """The row that tells what a logged key is: of another split than ``val`` that of ``val``; None where none does."""
    if place := re.fullmatch(r"(?:test|ood_\w+)/(rollout_)?(.+)", key):
        key = (rollout_of if place[1] else of_split)("val", place[2])
    return OF_EVERY_LOG.get(key) or find(key)


def split_head(key: str) -> tuple[str, str] | None:
    """``("llc/{head}/mean", "L0H1")`` of ``llc/L0H1/mean``; None of a key that is of no head."""
    place = re.search(rf"/({HEAD})(?=/|$)", key)
    return place and (f"{key[: place.start(1)]}{{head}}{key[place.end(1) :]}", place[1])


def without_head(key: str) -> str:
    """The column of a quantity in a table with a row for each head: ``llc/mean`` of ``llc/{head}/mean``."""
    return key.replace("/{head}", "")


def markdown_table() -> str:
    """The table of keys as the documentation shows it, one row a key."""
    rows = ["| key | meaning | unit | better |", "|---|---|---|---|"]
    better = {"minimize": "lower", "maximize": "higher", None: ""}
    for key in KEYS:
        name = key.replace("{head}", "L{l}H{h}").replace("{k}", "K")
        rows.append(f"| `{name}` | {key.meaning} | {key.unit} | {better[key.goal]} |")
    return "\n".join(rows) + "\n"
