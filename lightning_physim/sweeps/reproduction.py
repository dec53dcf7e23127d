"""The trainings behind the claims as one resumable list of runs."""

import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from lightning_physim import keys
from lightning_physim.claims.across import CELLS, OF_CELLS, SEEDS_PER_CELL, Cell
from lightning_physim.claims.plan import CONSTANT, MIN_STEPS, OF_SEEDS, OF_TRAINED, ROLES, SEED
from lightning_physim.errors import InputError
from lightning_physim.sweeps.spec import Trial


@dataclass(frozen=True)
class Trainings:
    """What :class:`lightning_physim.sweeps.LocalSweep` runs in place of a sweep file: one configuration, several seeds.

    Args:
        config: YAML file that every training starts from.
        n_seeds: trainings that differ in their seed alone.
        options: of ``physim fit``, for every training.
        runs: folder that holds the run directories.
        first_seed: the lowest of the seeds.

    Raises:
        InputError: no seed, an option that is none, or a configuration that does not say how many steps it takes.
    """

    config: Path
    n_seeds: int = 5
    options: tuple[str, ...] = ()
    runs: str = "runs"
    first_seed: int = 0
    metric = str(keys.VAL_LOSS_COLLIDING)
    parameters = ()
    content: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.n_seeds < 1:
            raise InputError(f"--seeds must be at least 1; got {self.n_seeds}")
        if self.first_seed < 0:
            raise InputError(f"--first_seed must be at least 0; got {self.first_seed}")
        for option in self.options:
            if not re.match(r"--(model|data|trainer)\.[\w.]+=|--(threads|artifacts)=", option):
                raise InputError(f"options of the trainings are spelled --trainer.max_steps=1000; got {option}")
        if self.max_steps < 1:
            raise InputError(f"trainings need an end; {self.config} has none: type --trainer.max_steps=N")

    @cached_property
    def text(self) -> str:
        """The configuration, read once."""
        return self.config.read_text(encoding="utf-8")

    @property
    def trainer(self) -> Mapping[str, Any]:
        """Its section of that name."""
        section = (yaml.safe_load(self.text) or {}).get("trainer") or {}
        if not isinstance(section, dict):
            raise InputError(
                f"section trainer of {self.config} must hold options; got {section!r}: type max_steps: 1000"
            )
        return section

    @property
    def max_steps(self) -> int:
        """Of the trainings of the seeds: as the options say, or the configuration, and then at least 3000."""
        given = [option.split("=", 1)[1] for option in self.options if option.startswith("--trainer.max_steps=")]
        steps = given[-1] if given else self.trainer.get("max_steps", -1)
        try:
            steps = int(steps)
        except (TypeError, ValueError):
            raise InputError(f"trainer.max_steps must be a whole number; got {steps}: type e.g. 1000") from None
        return max(steps, MIN_STEPS) if steps > 0 and not given else steps

    @property
    def folder(self) -> Path:
        """Of the results, beside the run directories."""
        return Path(self.runs) / self.id()

    def id(self, seed: int = 0) -> str:
        """The name of the configuration, and a hash of all that makes the trainings but their number."""
        raise NotImplementedError

    def trials(self, count: int | None = None, seed: int = 0) -> list[Trial]:
        """The trainings."""
        raise NotImplementedError

    def command(self, trial: Trial) -> list[str]:
        """The words of a training's command."""
        raise NotImplementedError

    def _id(self, kind: str, *made_by: str) -> str:
        key = "\n".join((self.text, *CONSTANT, *made_by, *self.options, str(self.max_steps)))
        return f"{kind}-{self.config.stem}-{hashlib.sha256(key.encode()).hexdigest()[:6]}"

    def _fit(self, own: Sequence[str], steps: int, seed: int) -> list[str]:
        words = [sys.executable, "-m", "lightning_physim", "fit", f"--config={self.config}", *CONSTANT, *self.options]
        return [*words, *own, f"--trainer.max_steps={steps}", f"--seed_everything={seed}"]


@dataclass(frozen=True)
class Reproduction(Trainings):
    """The seeds, their controls and peers.

    Args:
        claims: the letters of the claims whose trainings are wanted; all others as of :class:`Trainings`.
    """

    claims: str = OF_TRAINED

    def id(self, seed: int = 0) -> str:
        return self._id("reproduce", *OF_SEEDS, repr(ROLES))

    def trials(self, count: int | None = None, seed: int = 0) -> list[Trial]:
        """The roles of the first seed, the seeds, the roles of the other seeds, and last what is trained once.

        The shortest is the last one of all, so that no core waits long for another.
        """
        first, *more = range(self.first_seed, self.first_seed + self.n_seeds)
        roles = {name: role for name, role in ROLES.items() if role.claims in self.claims}
        of_seeds = [name for name, role in roles.items() if role.every_seed]
        named = [(name, first) for name in of_seeds]
        if OF_TRAINED in self.claims:
            named += [(SEED, number) for number in (first, *more)]
        named += [(name, number) for number in more for name in of_seeds]
        named += [(name, first) for name in roles if name not in of_seeds]
        return [
            Trial(
                index,
                {"role": role, "seed": number},
                f"{self.id()}-{role.replace('_', '-')}-{number}",
                job_type=role,
                tags=() if role == SEED else (ROLES[role].tag,),
            )
            for index, (role, number) in enumerate(named)
        ]

    def command(self, trial: Trial) -> list[str]:
        own = [*OF_SEEDS] if trial.parameters["role"] == SEED else []
        steps = self.max_steps
        if role := ROLES.get(trial.parameters["role"]):
            own += role.options
            steps = round(role.stretch * steps)
        return self._fit(own, steps, trial.parameters["seed"])


@dataclass(frozen=True)
class Across(Trainings):
    """Every cell of the map, a few seeds each."""

    n_seeds: int = SEEDS_PER_CELL

    def id(self, seed: int = 0) -> str:
        return self._id("across", *OF_CELLS, repr([cell.options for cell in CELLS]))

    def trials(self, count: int | None = None, seed: int = 0) -> list[Trial]:
        """A seed of every cell, then the next: what is there after a part of the time is a map already."""
        seeds = range(self.first_seed, self.first_seed + self.n_seeds)
        named = [(number, cell) for number in seeds for cell in CELLS]
        return [
            Trial(index, {**asdict(cell), "seed": number}, f"{self.id()}-{CELLS.index(cell)}-{number}")
            for index, (number, cell) in enumerate(named)
        ]

    def cell(self, trial: Trial) -> Cell:
        """The cell that a training belongs to."""
        return Cell(**{name: value for name, value in trial.parameters.items() if name != "seed"})

    def command(self, trial: Trial) -> list[str]:
        return self._fit((*OF_CELLS, *self.cell(trial).options), self.max_steps, trial.parameters["seed"])
