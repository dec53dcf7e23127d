"""When to measure: steps evenly spaced in the logarithm, the same on every rank and after every resume."""

import math
from dataclasses import dataclass

import pytorch_lightning as pl

from lightning_physim.errors import InputError


@dataclass(frozen=True)
class LogSchedule:
    """The steps ``round(10 ** (i / per_decade))``, i = 0, 1, 2, ...

    Membership is a function of the step alone: there is nothing to save, and nothing that ranks could disagree on.

    Raises:
        InputError: ``per_decade`` below 1.
    """

    per_decade: int

    def __post_init__(self) -> None:
        if self.per_decade < 1:
            raise InputError(f"steps_per_decade must be at least 1; got {self.per_decade}")

    def due(self, step: int) -> bool:
        """Whether ``step`` belongs to the schedule; step 0 does not."""
        if step < 1:
            return False
        nearest = round(self.per_decade * math.log10(step))
        return any(round(10 ** (i / self.per_decade)) == step for i in (nearest - 1, nearest, nearest + 1))

    def steps(self, max_step: int) -> list[int]:
        """All steps of the schedule up to and including ``max_step``."""
        last = math.ceil(self.per_decade * math.log10(max(max_step, 1))) + 1
        return sorted({step for i in range(last) if (step := round(10 ** (i / self.per_decade))) <= max_step})


def is_final_step(trainer: pl.Trainer) -> bool:
    """Whether the step just taken is the last that ``trainer.max_steps`` allows."""
    return trainer.global_step == trainer.max_steps
