"""Are the stated errors of learning coefficients true? Estimates at checkpoints of a run, repeated with other seeds.

    python -m benchmarks.llc_seeds RUN [--steps 100 1000] [--seeds=32] [--first_seed=100] [--regions L0H2] [--draws=560]

A stated error is true where repeated estimates spread by it. The ratio of the two is that of a sample of normal numbers
to their standard deviation, so that chance alone exceeds the limit of the table once in a thousand.
"""

import argparse
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import chi2

from benchmarks import refusals
from benchmarks.worlds import one_core
from lightning_physim import Run
from lightning_physim.callbacks import NETWORK_SGLD
from lightning_physim.callbacks.learning_coefficient import default_regions, own_loss, own_residuals
from lightning_physim.errors import InputError
from lightning_physim.llc import RegionResult, estimate_llc

FIRST_SEED = 100
"""Settings were chosen on lower ones."""
CHANCE = 1e-3
"""With which a ratio above the limit comes by chance."""
COLUMNS = ("step", "region", "estimates", "fail", "LLC", "spread", "stated error", "ratio", "limit")
"""Of the table."""


class Repeated(NamedTuple):
    """Estimates of one region with several seeds.

    Attributes:
        means, errors: of those that pass, ``[passed]``.
        failures: diagnostics that others fail, with how many estimates do.
        failed: estimates that fail one or more.
    """

    means: np.ndarray
    errors: np.ndarray
    failures: Counter[str]
    failed: int

    @property
    def spread(self) -> float:
        """Standard deviation over seeds; NaN of fewer than two."""
        return float(self.means.std(ddof=1)) if len(self.means) > 1 else math.nan

    @property
    def stated(self) -> float:
        """Root mean square of the stated errors; NaN of none."""
        return float(np.sqrt(np.mean(self.errors**2))) if len(self.errors) else math.nan

    @property
    def ratio(self) -> float:
        """Spread over the stated error."""
        return self.spread / self.stated

    @property
    def limit(self) -> float:
        """Ratio that true errors exceed with a probability of :data:`CHANCE`."""
        freedom = len(self.means) - 1
        return float(np.sqrt(chi2.ppf(1 - CHANCE, freedom) / freedom)) if freedom > 0 else math.nan

    def row(self, step: int, region: str) -> str:
        """Of the table."""
        failed = ", ".join(f"{name} {count}" for name, count in self.failures.items())
        mean = self.means.mean() if len(self.means) else math.nan
        return (
            f"| {step} | {region} | {len(self.means) + self.failed} | {failed or 0} | {mean:.3f} | "
            f"{self.spread:.3f} | {self.stated:.3f} | {self.ratio:.2f} | {self.limit:.2f} |"
        )


def gather(estimates: Sequence[RegionResult]) -> Repeated:
    """Repeated estimates of one region, those that fail their diagnostics left out."""
    passed = [estimate for estimate in estimates if not estimate.failures]
    means, errors = (np.array([getattr(estimate, name) for estimate in passed]) for name in ("mean", "mcse"))
    failures = Counter(name for estimate in estimates for name in estimate.failures)
    return Repeated(means, errors, failures, len(estimates) - len(passed))


def repeat(
    run: Run, step: int, seeds: Sequence[int], names: Sequence[str] | None, draws: int | None
) -> dict[str, Repeated]:
    """Estimates at one checkpoint, of the heads or of some regions."""
    module = run.model(step)
    data = run.data.estimation_set(run.config["llc"]["n_samples"])
    every = default_regions(module, whole_model=True)
    if unknown := set(names or ()) - set(every):
        raise InputError(f"a region is one of {', '.join(every)}; got {', '.join(sorted(unknown))}")
    regions = {name: every[name] for name in names or (name for name in every if name != "model")}
    config = NETWORK_SGLD if draws is None else replace(NETWORK_SGLD, n_draws=draws, doublings=0)

    found = [
        estimate_llc(module, own_loss, data, regions, replace(config, seed=seed), residual_fn=own_residuals)
        for seed in seeds
    ]
    return {name: gather([each[name] for each in found]) for name in regions}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.llc_seeds", description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="run directory")
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 1000, 10_000], help="of checkpoints")
    parser.add_argument("--seeds", type=int, default=32, help="how many (default: 32)")
    parser.add_argument("--first_seed", type=int, default=FIRST_SEED, help=f"of the sampler (default: {FIRST_SEED})")
    parser.add_argument("--regions", nargs="+", help="in place of all heads")
    parser.add_argument("--draws", type=int, help="of a chain, and no more, in place of those that an error asks for")
    given = parser.parse_args()
    one_core()
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for step in given.steps:
        began = time.process_time()
        found = repeat(Run(given.run), step, seeds, given.regions, given.draws)
        for region, repeated in found.items():
            print(repeated.row(step, region), flush=True)
        ratios = [repeated.ratio for repeated in found.values()]
        print(
            f"step {step}: ratios from {np.nanmin(ratios):.2f} to {np.nanmax(ratios):.2f}, median "
            f"{np.nanmedian(ratios):.2f}; {sum(r.failed for r in found.values())} of {len(seeds) * len(found)} fail; "
            f"{(time.process_time() - began) / len(seeds):.1f} CPU s a seed",
            flush=True,
        )


if __name__ == "__main__":
    with refusals():
        main()
