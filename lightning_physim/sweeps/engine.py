"""W&B's own sweep engine, the package ``sweeps``: what to try next, and which trials are not worth going on with."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from lightning_physim.errors import InputError
from lightning_physim.files import nest
from lightning_physim.sweeps.spec import Parameter

STATES = {"started": "running", "interrupted": "running", "finished": "finished", "stopped": "finished"}
"""What the engine calls the states of a trial; all others have failed."""


class SweepEngine:
    """The engine behind ``method: bayes`` and ``early_terminate``.

    It gets flat parameters with short names, as nested ones are what its versions differ in.

    Args:
        content: of the sweep file: its ``method``, ``metric`` and ``early_terminate``.
        parameters: what the file varies and fixes.
        seed: with the index of a trial and the results so far it determines the next suggestion.

    Raises:
        InputError: the package is not installed, or the settings are not what it takes.
    """

    def __init__(self, content: Mapping[str, Any], parameters: Sequence[Parameter], seed: int) -> None:
        self.sweeps = _import()
        self.seed = seed
        self.parameters = {f"p{i}": parameter for i, parameter in enumerate(parameters)}
        self.metric = content["metric"]["name"]
        self.config = {
            "method": content["method"],
            "metric": {"goal": "minimize"} | content["metric"],
            "parameters": {key: _given(parameter) for key, parameter in self.parameters.items()},
        }
        if content["method"] == "bayes" and all(p.distribution == "constant" for p in parameters):
            raise InputError(
                "a bayes sweep needs a parameter to vary; got values that are fixed: list values, or a range"
            )
        if "early_terminate" in content:
            self.config["early_terminate"] = content["early_terminate"]
            if self.sweeps.schema_violations_from_proposed_config(self.config):
                raise InputError(
                    "early_terminate must be {type: hyperband, min_iter: N} or {type: hyperband, max_iter: N, s: M}, "
                    f"with eta above 1; got {content['early_terminate']}"
                )

    def suggest(self, index: int, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Parameters for the trial ``index``, nested as in the file, of Python's own types.

        Args:
            index: of the trial.
            rows: the last line of every trial so far, as in ``sweep.jsonl``.
        """
        with _quiet([self.seed, index]):
            found = self.sweeps.next_run(self.config, [self._run(row) for row in rows]).config
        return nest((parameter.name, parameter.tidy(found[key]["value"])) for key, parameter in self.parameters.items())

    def to_stop(self, histories: Mapping[str, Sequence[float]], running: set[str]) -> set[str]:
        """Which running trials to stop early.

        Args:
            histories: the metric as each trial has logged it so far, by run id. Hyperband counts these values, not
                training steps.
            running: run ids.
        """
        # Under this name, and not under its own, the history arrives in every version.
        runs = [
            self.sweeps.SweepRun(
                name=run_id,
                state="running" if run_id in running else "finished",
                sampledHistory=[{self.metric: float(value)} for value in values],
            )
            for run_id, values in histories.items()
        ]
        with _quiet([self.seed]):
            return {run.name for run in self.sweeps.stop_runs(self.config, runs)}

    def _run(self, row: Mapping[str, Any]) -> Any:
        given = row["parameters"]
        metric = {} if row["metric"] is None else {self.metric: float(row["metric"])}
        return self.sweeps.SweepRun(
            name=row["run_id"],
            state=STATES.get(row["state"], "failed"),
            config={key: {"value": _inside(given, parameter.name)} for key, parameter in self.parameters.items()},
            summaryMetrics=metric,
        )


def _import() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it declares its models in a way that pydantic 2 deprecates
        try:
            import sweeps
        except ImportError:
            raise InputError(
                "method bayes and early_terminate need W&B's engine for sweeps; type "
                "`pip install 'lightning_physim[bayes]'`, or run it on their server with --online"
            ) from None
    return sweeps


@contextmanager
def _quiet(seed: list[int]) -> Iterator[None]:
    """numpy's global generator, which the engine draws from, seeded; and no advice on how its regression converged."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        np.random.set_state(state)


def _given(parameter: Parameter) -> dict[str, Any]:
    """The parameter as a sweep file spells it."""
    if parameter.distribution == "constant":
        return {"distribution": "constant", "value": parameter.values[0]}
    if parameter.distribution == "categorical":
        return {"distribution": "categorical", "values": list(parameter.values)}
    quantum = {"q": parameter.quantum} if parameter.distribution == "q_uniform" else {}
    return {"distribution": parameter.distribution, "min": parameter.low, "max": parameter.high} | quantum


def _inside(nested: Mapping[str, Any], name: tuple[str, ...]) -> Any:
    value: Any = nested
    for key in name:
        value = value[key]
    return value
