"""What is trained for the claims: seeds, and beside them a training for every role."""

import math
from dataclasses import dataclass, field

SEED = "seed"
"""Role of the trainings that differ in their seed alone."""
CONSTANT = ("--model.schedule=constant", "--model.lr=2e-3")
"""Options of every training: a falling rate bends the approach to the plateau. Other options win over them."""
MIN_STEPS = 3000
"""Steps of a training whose configuration has fewer. Claim (a) asks for half of the loss on colliding particles that a
network without attention has. At this rate ``smoke`` leaves 62 % after its own 1000 steps and 40 % after 3000."""
OF_TRAINED, OF_FLOW = "ab", "c"
"""Letters of the claims about what is trained as usual, and of that about gradient flow."""
OF_SEEDS = ("--geometry.steps_per_decade=8", "--geometry.every=8", "--llc.steps_per_decade=4")
"""Options of the trainings of the seeds: half-rises of the spectra are compared with those of scores. The rule takes
the last two orders, and those of quiet heads rise late: fewer estimates would judge an earlier network."""

WITHOUT_GEOMETRY = ("--llc=false", "--geometry=false")
"""Options of trainings of whose geometry no claim asks."""


@dataclass(frozen=True)
class Role:
    """A training beside those of the seeds.

    Args:
        label: for people.
        network: what it is called among the peers.
        options: of ``physim fit``, after all others.
        stretch: its steps over those of the seeds.
        every_seed: trained for every seed, in place of the first alone.
        claims: the letters of the claims that it is trained for.
        time: of gradient flow, per step; NaN where it follows none.
        tag: of its runs in W&B: what it is to the trainings of the seeds.
    """

    label: str
    network: str
    options: tuple[str, ...]
    stretch: float = 1.0
    every_seed: bool = False
    claims: str = OF_TRAINED
    time: float = math.nan
    tag: str = field(default="control", repr=False)  # what is trained has its id from the rest


FLOW = (
    "--model.optimizer=rkc",
    "--model.warmup_steps=0",
    *WITHOUT_GEOMETRY,
    "--snapshots=false",
    "--emergence=false",
    "--probe.steps_per_decade=40",
    "--validation.steps_per_decade=40",
)
"""Options of gradient flow. Claim (c) asks for curves of scores and losses, and for nothing else."""
FLOW_TIME, LATE_FLOW_TIME = 320, 960
"""At which fine and coarse steps end, where a seed takes :data:`MIN_STEPS`. The coarse ones go on, to tell how scores
level off."""


def _flow(words: str, lr: float, stages: int, batch_size: int, until: float) -> Role:
    """Gradient flow at a step of time, which its label tells."""
    own = (f"--model.lr={lr}", f"--model.stages={stages}", f"--data.batch_size={batch_size}")
    return Role(
        f"gradient flow{words}",
        f"transformer, gradient flow{words}",
        (*FLOW, *own),
        stretch=until * stages / lr / MIN_STEPS,
        every_seed=True,
        claims=OF_FLOW,
        time=lr / stages,
        tag="flow",
    )


ROLES = {
    # Steps of half the time, and a third of the noise of minibatches. Stable up to curvatures of 1800 and 1500; those
    # of `smoke` grow beyond 800.
    "flow_fine": _flow(", fine steps", lr=0.125, stages=11, batch_size=512, until=FLOW_TIME),
    "flow": _flow("", lr=0.25, stages=14, batch_size=256, until=LATE_FLOW_TIME),
    "permuted": Role(
        "permuted outcomes",
        "transformer, permuted outcomes",
        # The order once a decade, and spectra at both ends: what heads of the seeds are compared with.
        (
            "--data.permute_targets=true",
            "--llc.steps_per_decade=1",
            "--geometry.steps_per_decade=2",
            "--geometry.every=8",
        ),
        every_seed=True,
    ),
    "interaction": Role(
        "interaction network",
        "interaction network",
        ("--model.architecture=interaction", *WITHOUT_GEOMETRY),
        tag="peer",
    ),
    "no_attention": Role("no attention", "no attention", ("--model.architecture=no_attention", *WITHOUT_GEOMETRY)),
}
"""By name, in the order in which they are trained; those of a single seed come after all others."""
