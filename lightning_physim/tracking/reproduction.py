"""The trainings behind the claims: several seeds, their controls and their peers, as one resumable list of runs."""

import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lightning_physim.errors import InputError
from lightning_physim.tracking.sweep import Trial

SEED = "seed"
CONSTANT = ("--model.schedule=constant", "--model.lr=2e-3")
"""A falling rate bends the approach to the plateau. Before the caller's options, which may say otherwise."""
SGD_STRETCH = 2.5
"""Steps of the run under SGD over those of the others: it learns that much more slowly."""


@dataclass(frozen=True)
class Role:
    """A training beside those of the seeds.

    Args:
        options: after all others.
        without: callbacks of the configuration that it leaves out.
    """

    options: tuple[str, ...]
    without: tuple[str, ...]


_HEADS = ("CollisionProbe", "EmergenceMonitor", "LearningCoefficient")
ROLES = {
    # No momentum: gradient flow is what the effective potential is about.
    "sgd": Role(("--model.optimizer=sgd", "--model.lr=0.1", "--model.momentum=0"), ("LearningCoefficient",)),
    "permuted": Role(("--data.permute_targets=true",), ("LearningCoefficient",)),
    "no_attention": Role(("--model.architecture=no_attention",), _HEADS),
    "interaction": Role(("--model.architecture=interaction",), _HEADS),
}


@dataclass(frozen=True)
class Reproduction:
    """What :class:`lightning_physim.tracking.LocalSweep` runs in place of a sweep file.

    Args:
        config: YAML file that every training starts from.
        n_seeds: trainings that differ in their seed alone.
        options: of ``physim fit``, for every training.

    Raises:
        InputError: no seed, or a configuration without ``trainer.max_steps``.
    """

    config: Path
    n_seeds: int = 5
    options: tuple[str, ...] = ()
    metric = "val/loss_colliding"

    def __post_init__(self) -> None:
        if self.n_seeds < 1:
            raise InputError(f"--seeds must be at least 1; got {self.n_seeds}")
        for option in self.options:
            if not re.match(r"--(model|data|trainer)\.[\w.]+=", option):
                raise InputError(f"options of the trainings are spelled --model.lr=1e-3; got {option}")

    @property
    def content(self) -> Mapping[str, Any]:
        return yaml.safe_load(self.config.read_text())

    def id(self) -> str:
        """Names the configuration, and a hash of all that makes the trainings."""
        key = "\n".join((self.config.read_text(), *self.options, repr(ROLES), *CONSTANT))
        return f"reproduce-{self.config.stem}-{hashlib.sha256(key.encode()).hexdigest()[:6]}"

    def trials(self) -> list[Trial]:
        """The seeds, then one training of every other role, which has the first seed."""
        named = [(SEED, seed) for seed in range(self.n_seeds)] + [(role, 0) for role in ROLES]
        return [
            Trial(index, {"role": role, "seed": seed}, f"{self.id()}-{role.replace('_', '-')}-{seed}")
            for index, (role, seed) in enumerate(named)
        ]
