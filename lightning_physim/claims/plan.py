"""What is trained for the claims: seeds, and beside them a training for every role."""

from dataclasses import dataclass

SEED = "seed"
"""Role of the trainings that differ in their seed alone."""
CONSTANT = ("--model.schedule=constant", "--model.lr=2e-3")
"""Options of every training: a falling rate bends the approach to the plateau. Other options win over them."""
MIN_STEPS = 3000
"""Steps of a training whose configuration has fewer. Claim (a) asks for half of the loss on colliding particles that a
network without attention has. At this rate ``smoke`` leaves 62 % after its own 1000 steps and 40 % after 3000."""
OF_SEEDS = ("--geometry.steps_per_decade=8", "--geometry.every=8")
"""Options of the trainings of the seeds: half-rises of the spectra are compared with those of scores."""


@dataclass(frozen=True)
class Role:
    """A training beside those of the seeds.

    Args:
        label: for people.
        network: what it is called among the peers.
        options: of ``physim fit``, after all others.
        stretch: its steps over those of the seeds.
        every_seed: trained for every seed, in place of the first alone.
    """

    label: str
    network: str
    options: tuple[str, ...]
    stretch: float = 1.0
    every_seed: bool = False


ROLES = {
    # First, as it takes longest: it learns more slowly. No momentum: gradient flow is what the effective potential is
    # about.
    "sgd": Role(
        "SGD",
        "transformer, SGD",
        ("--model.optimizer=sgd", "--model.lr=0.2", "--model.momentum=0", "--llc=false"),
        stretch=2.5,
    ),
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
        "interaction network", "interaction network", ("--model.architecture=interaction", "--llc=false")
    ),
    "no_attention": Role("no attention", "no attention", ("--model.architecture=no_attention", "--llc=false")),
}
"""By name, in the order in which they are trained."""
