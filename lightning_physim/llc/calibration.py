"""Which settings an estimate does not depend on: a grid of them, run as extra replicas of the same loop."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from torch import nn

from lightning_physim import keys
from lightning_physim.errors import InputError
from lightning_physim.llc.config import SGLDConfig
from lightning_physim.llc.estimator import default_n_beta, sample
from lightning_physim.llc.objective import LossFn, Objective, as_tensors, without_trace
from lightning_physim.llc.ranks import Ranks
from lightning_physim.llc.regions import Region, RegionSpec
from lightning_physim.llc.result import RegionResult
from lightning_physim.llc.sampler import Job

Position = tuple[int, ...]
FACTORS = (1 / 3, 1.0, 3.0)
TOLERANCE = 0.1
"""Relative difference up to which two estimates lie on one plateau, or the standard error of the difference."""


@dataclass(frozen=True)
class Calibration:
    """Estimates over a grid of settings.

    Attributes:
        axes: values of ``step_factor``, ``n_beta`` and ``localization``, ascending.
        results: ``{(region, position on the axes): RegionResult}``.
        recommended: position of the widest plateau, or None where no setting passes its diagnostics.
    """

    axes: tuple[list[float], list[float], list[float]]
    results: dict[tuple[str, Position], RegionResult]
    recommended: Position | None

    def settings(self) -> dict[str, float]:
        """The recommended ``step_factor``, ``n_beta`` and ``localization``."""
        if self.recommended is None:
            return {}
        names = ("step_factor", "n_beta", "localization")
        return {name: axis[i] for name, axis, i in zip(names, self.axes, self.recommended, strict=True)}

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Columns, and a row for each region and setting."""
        rows = [
            [region, *(getattr(result, quantity) for quantity in keys.LLC), position == self.recommended]
            for (region, position), result in self.results.items()
        ]
        return ["region", *keys.LLC, "recommended"], rows


def calibrate(
    module: nn.Module,
    loss_fn: LossFn,
    data: Any,
    regions: Mapping[str, RegionSpec] | None = None,
    config: SGLDConfig | None = None,
    step_factors: Sequence[float] = FACTORS,
    n_betas: Sequence[float] | None = None,
    localizations: Sequence[float] | None = None,
    distributed: bool = False,
    residual_fn: LossFn | None = None,
) -> Calibration:
    """Estimate at every combination of settings, and recommend the one in the middle of the widest plateau.

    A plateau is a set of settings, neighbours on the grid, that pass their diagnostics. Their estimates agree with the
    one at its centre, within a tenth or the standard error. Its size is summed over regions. What an LLC of a network
    depends on most is ``localization / n_beta``, the curvature from which a direction counts.

    Args:
        module, loss_fn, data, regions, distributed, residual_fn: as of :func:`lightning_physim.llc.estimate_llc`.
        config: around which the grid lies.
        step_factors: multiples of the config's step size.
        n_betas: None for a third, one and three times the config's.
        localizations: None for the same of the config's.

    Raises:
        InputError: as ``estimate_llc``, or an axis without values.
    """
    # Settings are compared at equal draws.
    config = replace(config or SGLDConfig(), doublings=0)
    regions = {"model": None} if regions is None else regions
    with without_trace(module):
        objective = Objective(module, loss_fn, as_tensors(data), residual_fn)
        n_beta = config.n_beta or default_n_beta(objective.n)
        axes = (
            _axis("step_factors", step_factors),
            _axis("n_betas", n_betas or [n_beta * f for f in FACTORS]),
            _axis("localizations", localizations or [config.localization * f for f in FACTORS]),
        )
        grid = list(product(*(range(len(axis)) for axis in axes)))
        jobs: list[Job] = []
        settings: list[tuple[str, Position]] = []
        for name, spec in regions.items():
            region = Region(name, spec, objective.frozen)
            for i, j, k in grid:
                jobs.append(Job(region, axes[1][j], axes[2][k], config.step_size, axes[0][i]))
                settings.append((name, (i, j, k)))
        ranks = Ranks(distributed)
        estimates, _ = sample(objective, jobs, config, ranks)
    results = dict(zip(settings, estimates, strict=True))
    return Calibration(axes, results, _widest_plateau(results))


def _axis(name: str, values: Sequence[float]) -> list[float]:
    axis = sorted(set(values))
    if not axis or not all(math.isfinite(value) and value >= 0 for value in axis):
        raise InputError(f"{name} must be one or more finite numbers, none negative; got {list(values)}")
    return axis


def _widest_plateau(results: Mapping[tuple[str, Position], RegionResult]) -> Position | None:
    sizes: dict[Position, int] = {}
    by_region: dict[str, dict[Position, RegionResult]] = {}
    for (region, position), result in results.items():
        if result.converged:
            by_region.setdefault(region, {})[position] = result
    for passed in by_region.values():
        for centre in passed:
            sizes[centre] = sizes.get(centre, 0) + len(_plateau(centre, passed))
    # Of equals the one in the middle of the grid.
    middle = [(max(axis) + min(axis)) / 2 for axis in zip(*(position for _, position in results), strict=True)]
    return max(sizes, key=lambda position: (sizes[position], -math.dist(position, middle)), default=None)


def _plateau(centre: Position, passed: Mapping[Position, RegionResult]) -> set[Position]:
    reached, edge = {centre}, [centre]
    while edge:
        here = edge.pop()
        for axis, step in product(range(len(here)), (-1, 1)):
            there = (*here[:axis], here[axis] + step, *here[axis + 1 :])
            if there in passed and there not in reached and _agree(passed[centre], passed[there]):
                reached.add(there)
                edge.append(there)
    return reached


def _agree(a: RegionResult, b: RegionResult) -> bool:
    return abs(a.mean - b.mean) <= max(TOLERANCE * abs(a.mean), math.hypot(a.mcse, b.mcse))
