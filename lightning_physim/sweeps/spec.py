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
from lightning_physim.sweeps.parameters import ELSEWHERE, Parameter, check_known, check_words, read_parameters

FILE_KEYS = (
    "name", "description", "project", "entity", "program", "command", "method", "metric", "parameters",
    "early_terminate",
)  # fmt: skip
MOST_TRIALS = 10**6
"""Of a grid. They are all made before the first one starts."""
COMMAND = ["${env}", "${interpreter}", "${program}", "${args}"]


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
        check_known(content, FILE_KEYS, f"a sweep file, here {path}")
        if content.get("method") not in ("grid", "random", "bayes"):
            raise InputError(
                f"method must be grid, random or bayes; got {content.get('method')}: change it, {ELSEWHERE}"
            )
        metric = content.get("metric")
        if not isinstance(metric, dict) or not isinstance(metric.get("name"), str):
            raise InputError(f"metric must name what trials are compared by; got {metric}: type {{name: val/loss}}")
        check_known(metric, ("name", "goal", "target"), "metric")
        if metric.get("goal", "minimize") not in ("minimize", "maximize"):
            raise InputError(f"the metric's goal must be minimize or maximize; got {metric['goal']}")
        command = content.get("command", COMMAND)
        if not isinstance(command, list) or not command:
            raise InputError(f'command must be a list of words; got {command}: type ["${{program}}", "${{args}}"]')
        if "${program}" in command and not isinstance(content.get("program"), str):
            raise InputError(
                f"program must be what ${{program}} in the command stands for; got {content.get('program')}"
            )
        for word in (*command, content.get("program"), content.get("project")):
            check_words("each word of command, program and project", str(word))
        return cls(path, content, tuple(read_parameters(content.get("parameters"))))

    @property
    def metric(self) -> str:
        """Key of the metric that trials are compared by."""
        return self.content["metric"]["name"]

    def id(self, seed: int) -> str:
        """The file's name and a hash of its content; unless it is a grid of the seed too, as it makes the trials."""
        key = self.path.read_bytes() + (b"" if self.content["method"] == "grid" else f"seed {seed}".encode())
        return f"{_plain(self.path.stem) or 'sweep'}-{hashlib.sha256(key).hexdigest()[:6]}"

    def trials(self, count: int | None, seed: int) -> list[Trial]:
        """The trials, the same ones at every call. Those of a bayes sweep are draws from its ranges: what is tried in
        their place depends on results, and :class:`LocalSweep` asks the engine for it when it starts one.

        Args:
            count: how many; None for all of a grid.
            seed: of random trials. A trial depends on it and on its index, not on ``count``.

        Raises:
            InputError: random or bayes without a count, or a grid over a continuous range or of too many values.
        """
        if count is not None and count < 1:
            raise InputError(f"--count must be at least 1; got {count}")
        names = [parameter.name for parameter in self.parameters]
        points: Iterator[tuple[Any, ...]]
        if self.content["method"] == "grid":
            grids = [p.grid() for p in self.parameters]
            count = min(math.prod(map(len, grids)), count or sys.maxsize)
            if count > MOST_TRIALS:
                raise InputError(
                    f"a grid has at most {MOST_TRIALS:,} trials; got {count:,}: list fewer values, or type --count 20"
                )
            # The first `count` points take no more values of any parameter, and product() makes a tuple of all.
            points = itertools.islice(itertools.product(*(values[:count] for values in grids)), count)
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


def _plain(name: str) -> str:
    """What W&B takes in an id."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:60]
