"""What a bayes sweep tries next: optuna's Gaussian process, told what became of the trials before."""

import math
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from lightning_physim.errors import InputError
from lightning_physim.files import nest
from lightning_physim.sweeps.parameters import Parameter
from lightning_physim.sweeps.state import ENDED

STARTUP = 10
"""Results that a Gaussian process is fitted to at least, as by optuna. Trials before that are drawn."""
FAR_TAIL = 1e-3
"""Share of draws at an infinite end of a distribution that nothing is suggested from."""
UNFINISHED = ("started", "interrupted")
"""States of trials that run, or will go on. All others that have no result have failed."""


class SweepEngine:
    """The engine behind ``method: bayes``.

    It keeps nothing between suggestions: each follows from the seed, the index of the trial and the results so far, so
    that a sweep that was killed goes on as if it had not been. Ranges are searched by their percentiles, as by W&B.

    Args:
        content: of the sweep file: its ``metric``.
        parameters: what the file varies and fixes.
        seed: of the sweep.

    Raises:
        InputError: optuna is not installed, or nothing varies.
    """

    def __init__(self, content: Mapping[str, Any], parameters: Sequence[Parameter], seed: int) -> None:
        self.optuna = _import()
        self.seed = seed
        self.parameters = parameters
        self.goal = content["metric"].get("goal", "minimize")
        self.space = {str(i): self._range(each) for i, each in enumerate(parameters) if each.varies}
        if not self.space:
            raise InputError(
                "a bayes sweep needs a parameter to vary; got values that are fixed: list values, or a range"
            )

    def suggest(self, index: int, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
        """Parameters for the trial ``index``, nested as in the file; None where there are too few results.

        Args:
            index: of the trial.
            rows: the last line of every trial so far, as in ``sweep.jsonl``.
        """
        results = self._results(rows)
        if sum(value is not None for _, value in results) < STARTUP:
            return None
        (seed,) = np.random.SeedSequence([self.seed, index]).generate_state(1).tolist()
        sampler = self.optuna.samplers.GPSampler(seed=seed, n_startup_trials=STARTUP)
        study = self.optuna.create_study(direction=self.goal, sampler=sampler)
        trial_state = self.optuna.trial.TrialState
        for given, value in results:
            state = trial_state.RUNNING if value is None else trial_state.COMPLETE
            study.add_trial(
                self.optuna.trial.create_trial(
                    state=state, value=value, params=self._point(given), distributions=self.space
                )
            )
        found = study.ask(self.space).params
        return nest(
            (parameter.name, self._value(parameter, found[str(i)]) if parameter.varies else parameter.values[0])
            for i, parameter in enumerate(self.parameters)
        )

    def _results(self, rows: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], float | None]]:
        """Parameters and value of every trial, None for one that is not through. One that failed has the worst value of
        all, W&B's default: a search that left it out would try the same again.
        """
        values = [math.nan if row["metric"] is None else float(row["metric"]) for row in rows]
        through = [x for x, row in zip(values, rows, strict=True) if row["state"] in ENDED and math.isfinite(x)]
        worst = (max if self.goal == "minimize" else min)(through, default=None)
        results: list[tuple[Mapping[str, Any], float | None]] = []
        for row, value in zip(rows, values, strict=True):
            if row["state"] in UNFINISHED:
                results.append((row["parameters"], None))
            elif worst is not None:
                good = row["state"] in ENDED and math.isfinite(value)
                results.append((row["parameters"], value if good else worst))
        return results

    def _range(self, parameter: Parameter) -> Any:
        ranges = self.optuna.distributions
        if isinstance(parameter.values, range):
            return ranges.IntDistribution(0, len(parameter.values) - 1)
        if parameter.values:
            return ranges.CategoricalDistribution(range(len(parameter.values)))
        low, high = parameter.law.support()
        return ranges.FloatDistribution(
            FAR_TAIL if math.isinf(low) else 0.0, 1.0 - FAR_TAIL if math.isinf(high) else 1.0
        )

    def _value(self, parameter: Parameter, found: Any) -> Any:
        return parameter.values[found] if parameter.values else parameter.at(found)

    def _point(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Where a trial's parameters lie in the space that is searched."""
        point = {}
        for name, distribution in self.space.items():
            parameter = self.parameters[int(name)]
            value: Any = given
            for key in parameter.name:
                value = value[key]
            if parameter.values:
                point[name] = parameter.index(value)
            else:
                point[name] = min(max(parameter.share(value), distribution.low), distribution.high)
        return point


def _import() -> ModuleType:
    try:
        import optuna
    except ImportError:
        raise InputError(
            "method bayes needs optuna; type `pip install 'lightning_physim[bayes]'`, or run it on W&B's server with "
            "--online"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # it warns of packages that would make it faster
    return optuna
