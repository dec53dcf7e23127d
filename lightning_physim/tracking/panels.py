"""What a page about emergence shows, in which order: one list for the HTML report and for dashboards in W&B."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Curves:
    """Metrics over the training step, in one chart of an online dashboard; the step is logarithmic.

    Args:
        title: of the chart.
        keys: regular expression that matches the keys of its metrics.
        log: whether the values are logarithmic too; not for those that may be negative.
    """

    title: str
    keys: str
    log: bool = True


@dataclass(frozen=True)
class Panel:
    """One section: a figure of our own, logged to W&B under :attr:`key`, and curves that W&B draws by itself.

    In the HTML report the viewer stands at ``attention_map``, and shows ``rollout_animation`` as well.

    Args:
        name: of the figure.
        title: of the section.
        curves: none where the figure says it all.
    """

    name: str
    title: str
    curves: tuple[Curves, ...] = ()

    @property
    def key(self) -> str:
        """Key of the figure in W&B."""
        return f"report/{self.name}"


HEAD = r"L\d+H\d+"
PANELS = (
    Panel("attention_map", "What the heads look at"),
    Panel(
        "scores",
        "Heads that find near particles",
        (
            Curves("Attention to near particles, times uniform", rf"^probe/enrichment/{HEAD}$"),
            Curves("Partner score", rf"^probe/partner_score/{HEAD}$"),
            Curves("Collision score of the paper", rf"^probe/collision_score/{HEAD}$"),
            Curves("AUROC of pairs that touch", rf"^probe/auroc/{HEAD}$", log=False),
            Curves("Average precision of pairs that touch", rf"^probe/average_precision/{HEAD}$"),
            Curves("Rise of the colliding loss without near keys", rf"^probe/ablation/{HEAD}$", log=False),
        ),
    ),
    Panel(
        "loss",
        "What it has learned",
        (
            Curves("Loss: colliding, all, free, and the floors", r"^val/(loss|floor_no_pair|floor_ballistic)(_\w+)?$"),
            Curves("Training loss", r"^train/loss$"),
        ),
    ),
    Panel(
        "emergence",
        "How they grow",
        (
            Curves(
                "Exponent of the power law, with its 95 % interval",
                rf"^emergence/{HEAD}/exponent(_lo|_hi)?$",
                log=False,
            ),
            Curves("Step of onset", rf"^emergence/{HEAD}/onset_step$"),
            Curves("Forecast of the score", rf"^emergence/{HEAD}/forecast"),
        ),
    ),
    Panel(
        "llc",
        "When heads take on structure",
        (
            Curves("Learning coefficient of each head", rf"^llc/{HEAD}/mean$", log=False),
            Curves("Learning coefficient of the model", r"^llc/model/mean$", log=False),
            Curves("Standard error", rf"^llc/(model|{HEAD})/mcse$"),
        ),
    ),
    Panel(
        "llc_trace",
        "Do the chains mix?",
        (
            Curves("R-hat, at most 1.1", r"^llc/.+/rhat$", log=False),
            Curves("Effective sample size, at least 20", r"^llc/.+/ess$"),
            Curves("Step stability, below 1", r"^llc/.+/step_stability$"),
            Curves("Gradient-noise ratio, at most 0.1", r"^llc/.+/noise_ratio$"),
            Curves("Dead chains", r"^llc/.+/n_dead$", log=False),
            Curves("Passed every diagnostic", r"^llc/.+/converged$", log=False),
        ),
    ),
    Panel("calibration", "Settings of the sampler"),
    Panel("attention_distance", "How far they look"),
    Panel(
        "rollout",
        "As a simulator",
        (
            Curves("Position error after K intervals", r"^rollout/mse@\d+$"),
            Curves("Energy error after K intervals", r"^rollout/energy_error@\d+$"),
        ),
    ),
    Panel("rollout_animation", "The network beside the truth"),
)
HEAD_TABLE = "report/heads"
"""Key of the table of heads in W&B."""
