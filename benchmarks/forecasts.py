"""Do forecasts of scores keep their word? Hindcasts of runs that have ended, counted.

    python -m benchmarks.forecasts RUN ...
    python -m benchmarks.forecasts RUN ... --calibrate

At several places of each run the score of every head that emerges is forecast at the last step, from the measurements
up to there and nothing else. The rules of calibration and verdict are in ``docs/results/growth.md``.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import refusals
from lightning_physim import keys
from lightning_physim.claims.statistics import bootstrap_clusters, interval
from lightning_physim.curves import head_curves
from lightning_physim.emergence import (
    Creep,
    Forecast,
    baseline,
    emerging,
    error_scale,
    flattened,
    forecast,
    is_strong,
    trend,
)
from lightning_physim.tracking import read_metrics

EARLY, JUDGED = (0.1, 0.2), (1 / 3, 1 / 2, 0.7)
"""Shares of the run up to which measurements are used: those that are reported, and those that are judged. Calibration
takes all of them."""
TAILS = 0.0125, 0.035
"""Shares of the errors below and above an interval, where it is calibrated: 95.25 % within, and few below, as a verdict
asks for both."""
ASKED, LEAST, MOST_BELOW = 0.95, 0.90, 0.025
"""Coverage that the interval of the coverage must contain; that it must lie above; and share of ends below the
intervals, at most."""


class Case(NamedTuple):
    """What was known of a head at an origin, and how it ended.

    Attributes:
        run, head: names.
        origin: of :data:`EARLY` and :data:`JUDGED`.
        steps, values: up to there.
        at: last step of the run.
        truth: score there.
    """

    run: str
    head: str
    origin: float
    steps: np.ndarray
    values: np.ndarray
    at: float
    truth: float

    @property
    def ahead(self) -> Forecast:
        """The forecast of the end."""
        return forecast(self.steps, self.values, self.at)


def cases(run: Path) -> Iterator[Case]:
    """Of every head and origin of a run whose score has left its baseline there."""
    for head, (steps, values) in sorted(head_curves(read_metrics(run / "metrics.jsonl"), keys.PARTNER_SCORE).items()):
        for origin in (*EARLY, *JUDGED):
            early = (steps > 0) & (steps <= origin * steps[-1])
            if emerging(values[early]):
                known = steps[early], values[early]
                yield Case(run.name, head, origin, *known, float(steps[-1]), float(values[-1]))


def count(found: Sequence[Case]) -> dict[str, float]:
    """Coverage with its interval over runs, misses on both sides, width and error."""
    ahead = [case.ahead for case in found]
    value, lo, hi = (np.array([getattr(each, end)[0] for each in ahead]) for end in ("value", "lo", "hi"))
    truth = np.array([case.truth for case in found])
    covered = (lo <= truth) & (truth <= hi)
    groups = [covered[[case.run == run for case in found]] for run in dict.fromkeys(case.run for case in found)]
    low, high = interval(bootstrap_clusters(lambda sample: float(sample.mean()), groups))
    return {
        "runs": len(groups),
        "forecasts": len(found),
        "covered": float(covered.mean()),
        "covered, low": low,
        "covered, high": high,
        "below": float((truth < lo).mean()),
        "above": float((truth > hi).mean()),
        "median width": float(np.median(hi - lo)),
        "median error of the middle": float(np.median(np.abs(value - truth))),
    }


def keeps_its_word(found: dict[str, float]) -> bool:
    """The verdict, but for the width."""
    return LEAST < found["covered, low"] <= ASKED <= found["covered, high"] and found["below"] <= MOST_BELOW


def calibrate(found: Sequence[Case]) -> dict[str, Creep]:
    """The four numbers of heads that others may displace, and of all others.

    Drift and damping by least squares of errors over their width, and ends with :data:`TAILS` of these beyond them.
    """
    lines = np.array([trend(case.steps, case.values) for case in found])
    now, slope = lines.T
    e_folds = np.log([case.at / case.steps[-1] for case in found])
    width = error_scale(e_folds, slope)
    gained = (np.array([case.truth for case in found]) - now) / width
    reach = flattened(e_folds) / width
    strong = np.array([is_strong(at, baseline(case.values)) for at, case in zip(now, found, strict=True)])
    creeps = {}
    for name, members in (("WEAK", ~strong), ("STRONG", strong)):
        terms = np.stack([reach, slope * reach], 1)[members]
        drift, damping = np.linalg.lstsq(terms, gained[members], rcond=None)[0]
        left = gained[members] - terms @ [drift, damping]
        # Half an error is beyond the last one, on either side.
        below, above = (max(tail - 0.5 / len(left), 0.0) for tail in TAILS)
        creeps[name] = Creep(*(round(float(x), 3) for x in (drift, damping, *np.quantile(left, [below, 1 - above]))))
    return creeps


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forecasts", description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="run directories")
    parser.add_argument("--calibrate", action="store_true", help="print the numbers that these runs give, and stop")
    given = parser.parse_args()
    found = [case for run in given.runs for case in cases(run)]
    if given.calibrate:
        for name, creep in calibrate(found).items():
            print(name, creep)
        return
    for origin in (*EARLY, *JUDGED):
        if some := [case for case in found if case.origin == origin]:
            print(f"from {origin:.2f} of the run:", json.dumps(count(some)))
    judged = count([case for case in found if case.origin in JUDGED])
    print("judged:", json.dumps(judged))
    print("keeps its word" if keeps_its_word(judged) else "does not keep its word")


if __name__ == "__main__":
    with refusals():
        main()
