"""Whether losses of several runs can be compared, and in which unit."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lightning_physim.curves import Curve, Metrics, last
from lightning_physim.report.summary import FLOORS

FREE_FLIGHT = {str(loss): str(free_flight) for loss, (free_flight, _) in FLOORS.items()}
"""Losses, and that of free flight on the same data."""
OTHER_DATA = ("data.system.", "data.source", "data.permute_targets", "data.velocity_std", "data.ood")
"""How parameters begin that make other data, not more of the same."""
SAME_SCALE = 0.05
"""Relative difference up to which free flight has the same loss: that of samples of one distribution."""
SHARE = "loss over that of free flight on the same data"
"""Title of an axis of losses that have been divided."""


def on_one_scale(runs: Sequence[Metrics], varied: Sequence[str]) -> tuple[list[Metrics], str]:
    """The curves of runs with losses that can be compared.

    Args:
        varied: names of the parameters that the runs differ in.

    Returns:
        The curves, and what was done about their losses in a sentence; empty where they had one scale. Losses of other
        data are divided by free flight's where every run has logged it, and left out where one has not.
    """
    other = [name for name in varied if name.startswith(OTHER_DATA)]
    floors = {loss: [last(metrics, floor) for metrics in runs] for loss, floor in FREE_FLIGHT.items()}
    logged = {loss: values for loss, values in floors.items() if any(loss in metrics for metrics in runs)}
    if not other and all(_alike(values) for values in logged.values()):
        return list(runs), ""
    known = {loss: values for loss, values in logged.items() if np.isfinite(values).all()}
    scaled: list[dict[str, Curve]] = [
        {name: curve for name, curve in metrics.items() if name not in FREE_FLIGHT or name in known} for metrics in runs
    ]
    for loss, values in known.items():
        for metrics, floor in zip(scaled, values, strict=True):
            if loss in metrics:
                steps, curve = metrics[loss]
                metrics[loss] = (steps, curve / floor)
    if len(known) == len(logged):
        divided = "The runs have different data, and their losses are given over free flight’s on the same data."
        return [*scaled], divided
    left_out = "The runs have different data, and a run without the loss of free flight: no losses are compared."
    return [{name: curve for name, curve in metrics.items() if name not in FREE_FLIGHT} for metrics in runs], left_out


def can_be_told_apart(values: Sequence[Mapping[str, Any]], varied: Sequence[str]) -> bool:
    """Whether there are more runs than parameters that they differ in, by two at least."""
    return len(values) >= len(varied) + 2


def _alike(values: Sequence[float]) -> bool:
    finite = [value for value in values if np.isfinite(value)]
    return not finite or max(finite) <= (1 + SAME_SCALE) * min(finite)
