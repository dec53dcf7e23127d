"""When to measure: steps evenly spaced in the logarithm, the same on every rank and after every resume."""

import math
from dataclasses import dataclass

import pytorch_lightning as pl

from lightning_physim.ranges import check_counts


@dataclass(frozen=True)
class LogSchedule:
    """The steps ``round(10 ** (i / per_decade))``, i = 0, ``every``, 2 ``every``, ...

    Membership is a function of the step alone: there is nothing to save, and nothing that ranks could disagree on.

    Raises:
        InputError: ``per_decade`` or ``every`` below 1.
    """

    per_decade: int
    every: int = 1

    def __post_init__(self) -> None:
        check_counts(steps_per_decade=self.per_decade, every=self.every)

    def due(self, step: int) -> bool:
        """Whether ``step`` belongs to the schedule; step 0 does not."""
        if step < 1:
            return False
        nearest = round(self.per_decade * math.log10(step) / self.every)
        # Nearest in the logarithm; among small steps the one below may be the one that rounds to ``step``.
        return step in (self._step(nearest), self._step(nearest - 1))

    def steps(self, max_step: int) -> list[int]:
        """All steps of the schedule up to and including ``max_step``."""
        last = math.ceil(self.per_decade * math.log10(max(max_step, 1)) / self.every) + 1
        return sorted({step for i in range(last) if (step := self._step(i)) <= max_step})

    def _step(self, i: int) -> int:
        return round(10 ** (i * self.every / self.per_decade))


def is_final_step(trainer: pl.Trainer) -> bool:
    """Whether the step just taken is the last that ``trainer.max_steps`` allows."""
    return trainer.global_step == trainer.max_steps
