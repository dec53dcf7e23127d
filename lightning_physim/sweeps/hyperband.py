"""W&B's rule for trials that are not worth going on with.

Own code, as optuna's ``HyperbandPruner`` is another rule: it deals trials to brackets, has no ``s`` and no ``strict``,
and compares a trial with those of its bracket alone.
"""

import math
from collections.abc import Mapping, Sequence, Set
from typing import Any

from lightning_physim.errors import InputError

SETTINGS = {"type", "min_iter", "max_iter", "s", "eta", "strict"}
LAST_BAND = 10**9
"""No trial logs its metric so often."""


class Hyperband:
    """``early_terminate: {type: hyperband, ...}`` as W&B's engine (sweeps 0.3) reads it.

    Bands are numbers of logged values of the metric, not training steps: ``min_iter``, ``min_iter * eta``, ... upwards,
    or ``max_iter / eta``, ``max_iter / eta**2``, ... downwards, ``s`` of them. A trial goes on if it is among the best
    ``1 / eta`` of all trials at the highest band that it has reached: by its best value so far or, with ``strict``, by
    that at the band. ``strict`` is off where it is not given; their engine turns it on.

    Args:
        settings: of the file.
        maximize: whether large values of the metric are good.

    Raises:
        InputError: settings that W&B does not take.
    """

    def __init__(self, settings: Any, maximize: bool) -> None:
        if not _valid(settings):
            raise InputError(
                "early_terminate must be {type: hyperband, min_iter: N} or {type: hyperband, max_iter: N, s: M}, "
                f"with eta above 1; got {settings}"
            )
        self.eta = settings.get("eta", 3)
        self.strict = settings.get("strict", False)
        self.sign = -1.0 if maximize else 1.0
        if "max_iter" in settings:
            bands = [settings["max_iter"] / self.eta**i for i in range(1, settings["s"] + 1)]
        else:
            bands = [float(settings["min_iter"])]
            while bands[-1] * self.eta < LAST_BAND:
                bands.append(bands[-1] * self.eta)
        self.bands = sorted(int(band) for band in bands if band >= 1)

    def to_stop(self, histories: Mapping[str, Sequence[float]], judged: Set[str]) -> set[str]:
        """Which trials to stop.

        Args:
            histories: the metric as each trial has logged it so far, by run id.
            judged: run ids of those that may be stopped.
        """
        finite = {key: [self.sign * x for x in values if math.isfinite(x)] for key, values in histories.items()}
        return {key for key in judged & finite.keys() if self._is_behind(finite[key], list(finite.values()))}

    def _is_behind(self, values: list[float], everybody: list[list[float]]) -> bool:
        reached = [band for band in self.bands if band <= len(values)]
        if not reached:
            return False
        band = reached[-1]
        there = sorted(each[band - 1] for each in everybody if len(each) >= band)
        return (values[band - 1] if self.strict else min(values)) > there[int(len(there) / self.eta)]


def _valid(settings: Any) -> bool:
    if not isinstance(settings, dict) or settings.get("type") != "hyperband" or not settings.keys() <= SETTINGS:
        return False
    eta = settings.get("eta", 3)
    if isinstance(eta, bool) or not isinstance(eta, int | float) or not 1 < eta < math.inf:
        return False
    if not isinstance(settings.get("strict", False), bool):
        return False
    counts = ("max_iter", "s") if "max_iter" in settings else ("min_iter",)
    if not all(type(settings.get(key)) is int and settings[key] >= 1 for key in counts):
        return False
    return "max_iter" not in settings or settings["max_iter"] >= eta  # or there is no band
