"""Sweeps: the trials that a file in W&B's format asks for, each with the command that ``wandb agent`` would run."""

import hashlib
import itertools
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lightning_physim.errors import InputError
from lightning_physim.files import UNREADABLE, nest

FILE_KEYS = (
    "name", "description", "project", "entity", "program", "command", "method", "metric", "parameters",
    "early_terminate",
)  # fmt: skip
DISTRIBUTIONS = {
    "constant": {"value"},
    "categorical": {"values"},
    "uniform": {"min", "max"},
    "int_uniform": {"min", "max"},
    "q_uniform": {"min", "max", "q"},
    "log_uniform_values": {"min", "max"},
}
"""What can be drawn from, with the keys that each needs."""
COMMAND = ["${env}", "${interpreter}", "${program}", "${args}"]
ELSEWHERE = "or let W&B's server run it: --online"


@dataclass(frozen=True)
class Parameter:
    """What one parameter of a sweep can be.

    Args:
        name: its keys from the outside in, one unless ``parameters`` are nested.
        distribution: a key of :data:`DISTRIBUTIONS`.
        values: of a constant or categorical parameter.
        low, high: bounds, inclusive.
        quantum: of ``q_uniform``: draws are its multiples.
    """

    name: tuple[str, ...]
    distribution: str
    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    quantum: float = 1.0

    def grid(self) -> tuple[Any, ...]:
        """Every value, in order."""
        if self.distribution == "int_uniform":
            return tuple(range(int(self.low), int(self.high) + 1))
        if not self.values:
            raise InputError(
                f"a grid needs values, or min and max that are integers; got {self.distribution} for "
                f"{'.'.join(self.name)}: list values, or type method: random"
            )
        return self.values

    def draw(self, generator: np.random.Generator) -> Any:
        """A random value, of Python's own types: numpy's would be spelled ``np.float64(0.1)`` in nested parameters."""
        if self.values:
            return self.values[generator.integers(len(self.values))]
        if self.distribution == "int_uniform":
            return int(generator.integers(int(self.low), int(self.high), endpoint=True))
        if self.distribution == "log_uniform_values":
            drawn = math.exp(generator.uniform(math.log(self.low), math.log(self.high)))
            return self.tidy(drawn)
        return self.tidy(generator.uniform(self.low, self.high))

    def tidy(self, value: Any) -> Any:
        """A value as somebody has drawn it, within the bounds, a multiple of the quantum, and of Python's own types."""
        if self.values:
            return value
        if self.distribution == "int_uniform":
            return int(value)
        value = float(value)
        if self.distribution == "q_uniform":
            # Rounded to the decimals of the quantum: 3 * 0.1 is 0.30000000000000004.
            return round(round(value / self.quantum) * self.quantum, 12)
        return min(max(value, self.low), self.high)


@dataclass(frozen=True, eq=False)
class Trial:
    """One point of a sweep.

    Args:
        index: from 0, in the order of the grid or of the draws.
        parameters: as the command gets them, nested where the file nests them.
        run_id: of its run directory and in W&B: sweep, index, hash of the parameters.
        job_type: what W&B calls its kind, by which runs of a group are told apart; empty for none.
        tags: of its run in W&B.
    """

    index: int
    parameters: Mapping[str, Any]
    run_id: str
    job_type: str = ""
    tags: tuple[str, ...] = ()

    @classmethod
    def of(cls, sweep: str, index: int, parameters: Mapping[str, Any]) -> "Trial":
        """The trial of the sweep with this id."""
        digest = hashlib.sha256(json.dumps(parameters).encode()).hexdigest()[:6]
        return cls(index, parameters, f"{sweep}-{index:03d}-{digest}")


@dataclass(frozen=True)
class SweepSpec:
    """A sweep file.

    Args:
        path: the file.
        content: what it holds, checked.
        parameters: what it varies and fixes, in its order.
    """

    path: Path
    content: Mapping[str, Any]
    parameters: tuple[Parameter, ...]

    @classmethod
    def read(cls, path: str | Path) -> "SweepSpec":
        """Read and check a file.

        Raises:
            InputError: no such file, or one that asks for what only W&B's server does.
        """
        path = Path(path)
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            json.dumps(content, default=str)  # nothing that contains itself
        except UNREADABLE as error:
            raise InputError(f"a sweep is a YAML file; got {path}: {str(error)[:300]}") from error
        if not isinstance(content, dict):
            raise InputError(f"a sweep is a YAML file with method, metric and parameters; got {path} without them")
        _known(content, FILE_KEYS, f"a sweep file, here {path}")
        if content.get("method") not in ("grid", "random", "bayes"):
            raise InputError(
                f"method must be grid, random or bayes; got {content.get('method')}: change it, {ELSEWHERE}"
            )
        metric = content.get("metric")
        if not isinstance(metric, dict) or not isinstance(metric.get("name"), str):
            raise InputError(f"metric must name what trials are compared by; got {metric}: type {{name: val/loss}}")
        _known(metric, ("name", "goal", "target"), "metric")
        if metric.get("goal", "minimize") not in ("minimize", "maximize"):
            raise InputError(f"the metric's goal must be minimize or maximize; got {metric['goal']}")
        command = content.get("command", COMMAND)
        if not isinstance(command, list) or not command:
            raise InputError(f'command must be a list of words; got {command}: type ["${{program}}", "${{args}}"]')
        if "${program}" in command and not isinstance(content.get("program"), str):
            raise InputError(
                f"program must be what ${{program}} in the command stands for; got {content.get('program')}"
            )
        return cls(path, content, tuple(_parameters(content.get("parameters"), ())))

    @property
    def metric(self) -> str:
        """Key of the metric that trials are compared by."""
        return self.content["metric"]["name"]

    def id(self, seed: int) -> str:
        """The file's name and a hash of its content; unless it is a grid of the seed too, as it makes the trials."""
        key = self.path.read_bytes() + (b"" if self.content["method"] == "grid" else f"seed {seed}".encode())
        return f"{_plain(self.path.stem)}-{hashlib.sha256(key).hexdigest()[:6]}"

    def trials(self, count: int | None, seed: int) -> list[Trial]:
        """The trials, the same ones at every call. Those of a bayes sweep are draws from its ranges: what is tried in
        their place depends on results, and :class:`LocalSweep` asks the engine for it when it starts one.

        Args:
            count: how many; None for all of a grid.
            seed: of random trials. A trial depends on it and on its index, not on ``count``.

        Raises:
            InputError: random or bayes without a count, or a grid over a continuous range.
        """
        if count is not None and count < 1:
            raise InputError(f"--count must be at least 1; got {count}")
        names = [parameter.name for parameter in self.parameters]
        points: Iterator[tuple[Any, ...]]
        if self.content["method"] == "grid":
            points = itertools.islice(itertools.product(*(p.grid() for p in self.parameters)), count)
        elif count is None:
            method = self.content["method"]
            raise InputError(f"a {method} sweep never ends by itself; got no --count: type e.g. --count 20")
        else:
            generators = (np.random.default_rng([seed, index]) for index in range(count))
            points = (tuple(p.draw(generator) for p in self.parameters) for generator in generators)
        sweep = self.id(seed)
        return [Trial.of(sweep, index, nest(zip(names, point, strict=True))) for index, point in enumerate(points)]

    def command(self, trial: Trial) -> list[str]:
        """The words of a trial's command, by W&B's own functions; ``${interpreter}`` is the Python that runs here.

        Raises:
            InputError: a macro that this version of W&B lacks, or that needs its agent.
        """
        from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

        macros = create_sweep_command_args({"args": {key: {"value": x} for key, x in trial.parameters.items()}})
        macros |= {"env": ["/usr/bin/env"], "interpreter": [sys.executable], "program": [self.content.get("program")]}
        del macros["args_dict"]
        words: list[str] = []
        # A copy: the function writes into the list that it gets.
        for word in map(str, create_sweep_command(list(self.content.get("command", COMMAND)))):
            macro = re.fullmatch(r"\$\{(.*)\}", word)
            if macro and macro[1] not in macros:
                known = ", ".join(f"${{{name}}}" for name in (*macros, "envvar:NAME"))
                raise InputError(f"macros of a command are {known}; got {word}: change it, {ELSEWHERE}")
            words += macros[macro[1]] if macro else [word]
        return words


def _parameters(section: Any, outer: tuple[str, ...]) -> Iterator[Parameter]:
    if not isinstance(section, dict) or not section:
        raise InputError(
            f"parameters must be names with what they can be; got {section}: type model.n_heads: {{values: [2, 4]}}"
        )
    for key, given in section.items():
        name = (*outer, str(key))
        if isinstance(given, dict) and "parameters" in given:
            _known(given, ("parameters",), ".".join(name))
            yield from _parameters(given["parameters"], name)
        else:
            yield _parameter(name, given)


def _parameter(name: tuple[str, ...], given: Any) -> Parameter:
    label = ".".join(name)
    if not isinstance(given, dict):
        raise InputError(f"{label} must have value, values, or min and max; got {given}: type {{value: {given}}}")
    _known(given, ("distribution", "value", "values", "min", "max", "q"), label)
    kind = given.get("distribution") or _implied(given)
    if kind not in DISTRIBUTIONS:
        raise InputError(
            f"the distribution of {label} must be {', '.join(DISTRIBUTIONS)}; got {kind}: change it, {ELSEWHERE}"
        )
    # wandb takes q to be 1 where it is not given.
    needed, got = DISTRIBUTIONS[kind], given.keys() - {"distribution"} | ({"q"} if kind == "q_uniform" else set())
    if got != needed:
        raise InputError(
            f"{kind} needs {' and '.join(sorted(needed))} for {label}; got {', '.join(sorted(got)) or None}"
        )
    if kind == "constant":
        return Parameter(name, kind, (given["value"],))
    if kind == "categorical":
        if not isinstance(given["values"], list) or not given["values"]:
            raise InputError(f"values of {label} must be a list; got {given['values']}: type [1, 2]")
        return Parameter(name, kind, tuple(given["values"]))
    low, high, quantum = given["min"], given["max"], given.get("q", 1.0)
    numbers = (int,) if kind == "int_uniform" else (int, float)
    if any(isinstance(x, bool) or not isinstance(x, numbers) for x in (low, high)):
        raise InputError(
            f"min and max of {label} must be {'integers' if kind == 'int_uniform' else 'numbers'}; "
            f"got {low!r} and {high!r} (YAML reads 1.0e-3 as a number, 1e-3 as text)"
        )
    if not -math.inf < low < high < math.inf or (kind == "log_uniform_values" and low <= 0):
        positive = "0 < " if kind == "log_uniform_values" else ""
        raise InputError(f"{label} must have {positive}min < max; got min {low} and max {high}")
    if isinstance(quantum, bool) or not isinstance(quantum, int | float) or not quantum > 0:
        raise InputError(f"q of {label} must be a positive number; got {quantum}")
    return Parameter(name, kind, low=low, high=high, quantum=quantum)


def _implied(given: Mapping[str, Any]) -> str:
    """What wandb takes a parameter without a distribution to be."""
    if "values" in given:
        return "categorical"
    if "value" in given:
        return "constant"
    bounds = (given.get("min"), given.get("max"))
    return "int_uniform" if all(type(x) is int for x in bounds) else "uniform"


def _known(given: Mapping[str, Any], keys: tuple[str, ...], where: str) -> None:
    unknown = [str(key) for key in given if key not in keys]
    if unknown:
        raise InputError(f"{where} can have {', '.join(keys)}; got {', '.join(unknown)}: remove it, {ELSEWHERE}")


def _plain(name: str) -> str:
    """What W&B takes in an id."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:60]
