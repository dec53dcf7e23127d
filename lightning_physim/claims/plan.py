"""What is trained for the claims: seeds, and beside them a training for every role."""

from dataclasses import dataclass

SEED = "seed"
"""Role of the trainings that differ in their seed alone."""
CONSTANT = ("--model.schedule=constant", "--model.lr=2e-3")
"""Options of every training: a falling rate bends the approach to the plateau. Other options win over them."""


@dataclass(frozen=True)
class Role:
    """A training beside those of the seeds.

    Args:
        label: for people.
        network: what it is called among the peers.
        options: of ``physim fit``, after all others.
        stretch: its steps over those of the seeds.
    """

    label: str
    network: str
    options: tuple[str, ...]
    stretch: float = 1.0


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
        "permuted outcomes", "transformer, permuted outcomes", ("--data.permute_targets=true", "--llc=false")
    ),
    "interaction": Role(
        "interaction network", "interaction network", ("--model.architecture=interaction", "--llc=false")
    ),
    "no_attention": Role("no attention", "no attention", ("--model.architecture=no_attention", "--llc=false")),
}
"""By name, in the order in which they are trained."""
