"""Do forecasts of scores keep their word? Hindcasts of runs that have ended, counted.

    python -m benchmarks.forecasts RUN ...
    python -m benchmarks.forecasts RUN ... --calibrate

At a third, a half and seven tenths of each run the score of every head that emerges is forecast at the last step, from
the measurements up to there and nothing else. The rules of calibration and verdict are in ``docs/growth.md``.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lightning_physim import keys
from lightning_physim.claims.statistics import bootstrap_clusters, interval
from lightning_physim.curves import head_curves
from lightning_physim.emergence import (
    DEPARTURE,
    MIN_FORECAST,
    NO_DISCREPANCY,
    OF_HEADS,
    Discrepancy,
    approach,
    baseline,
    emerging,
    fit_laws,
    forecast_of,
)
from lightning_physim.emergence.fit import LawFit
from lightning_physim.tracking import read_metrics

ORIGINS = (1 / 3, 1 / 2, 0.7)
"""Shares of the run up to which measurements are used."""
DRIFTS, FALLS = np.arange(0.0, 0.2001, 0.005), np.arange(0.0, 1.0001, 0.025)
"""What calibration chooses from."""
MISSES = 0.025
"""Share of ends beyond either end of the intervals, at most, where these are calibrated."""
ASKED, LEAST, MOST_BELOW, WIDEST = 0.95, 0.90, 0.025, 1.4
"""Coverage that the interval of the coverage must contain; that it must lie above; share of ends below the interval,
and median width over that without discrepancy, at most."""


class Case(NamedTuple):
    """What was known of a head at an origin, and how it ended.

    Attributes:
        run, head: names.
        origin: of :data:`ORIGINS`.
        start: baseline of the score.
        fits: of the laws to the points up to there; None where no forecast is made.
        at: last step of the run.
        truth: score there.
    """

    run: str
    head: str
    origin: float
    start: float
    fits: dict[str, LawFit] | None
    at: float
    truth: float


def cases(run: Path) -> Iterator[Case]:
    """Of every head and origin of a run whose score has left its baseline there."""
    for head, (steps, values) in sorted(head_curves(read_metrics(run / "metrics.jsonl"), keys.PARTNER_SCORE).items()):
        for origin in ORIGINS:
            early = (steps > 0) & (steps <= origin * steps[-1])
            if not emerging(values[early]):
                continue
            risen = approach(steps[early], values[early], DEPARTURE)
            fits = fit_laws(*risen) if len(risen[0]) >= MIN_FORECAST else None
            yield Case(run.name, head, origin, baseline(values[early]), fits, float(steps[-1]), float(values[-1]))


def ends(found: Sequence[Case], discrepancy: Discrepancy) -> np.ndarray:
    """Middle, lower and upper end of the 95 % interval, and truth, of every forecast ``[cases, 4]``."""
    rows = []
    for case in found:
        assert case.fits is not None
        ahead = forecast_of(case.fits, case.start, np.array([case.at]), 0.95, (0.0, 1.0), discrepancy)
        rows.append([ahead.value[0], ahead.lo[0], ahead.hi[0], case.truth])
    return np.array(rows)


def count(found: Sequence[Case], discrepancy: Discrepancy) -> dict[str, float]:
    """Coverage with its interval over runs, misses on both sides, and widths."""
    rows, plain = ends(found, discrepancy), ends(found, NO_DISCREPANCY)
    value, lo, hi, truth = rows.T
    covered = (lo <= truth) & (truth <= hi)
    groups = [covered[[case.run == run for case in found]] for run in dict.fromkeys(case.run for case in found)]
    low, high = interval(bootstrap_clusters(lambda sample: float(sample.mean()), groups))
    width = float(np.median(hi - lo))
    return {
        **vars(discrepancy),
        "runs": len(groups),
        "forecasts": len(found),
        "covered": float(covered.mean()),
        "covered, low": low,
        "covered, high": high,
        "below": float((truth < lo).mean()),
        "above": float((truth > hi).mean()),
        "median width": width,
        "over that without discrepancy": width / float(np.median(plain[:, 2] - plain[:, 1])),
        "median error of the middle": float(np.median(np.abs(value - truth))),
    }


def keeps_its_word(found: dict[str, float]) -> bool:
    """The verdict."""
    return (
        LEAST < found["covered, low"] <= ASKED <= found["covered, high"]
        and found["below"] <= MOST_BELOW
        and found["over that without discrepancy"] <= WIDEST
    )


def calibrate(found: Sequence[Case]) -> Discrepancy:
    """The smallest rate of falling, and then the smallest drift, with few enough misses on their side."""

    def misses(drift: float, fall: float) -> tuple[float, float]:
        _, lo, hi, truth = ends(found, Discrepancy(drift, fall)).T
        return float((truth < lo).mean()), float((truth > hi).mean())

    fall = next(float(fall) for fall in FALLS if misses(0.0, float(fall))[0] <= MISSES)
    drift = next(float(drift) for drift in DRIFTS if misses(float(drift), fall)[1] <= MISSES)
    return Discrepancy(round(drift, 3), round(fall, 3))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forecasts", description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="run directories")
    parser.add_argument("--calibrate", action="store_true", help="choose the discrepancy by these runs")
    given = parser.parse_args()
    every = [case for run in given.runs for case in cases(run)]
    made = [case for case in every if case.fits is not None]
    print(f"{len(every) - len(made)} of {len(every)} have too few points for a forecast")
    discrepancy = calibrate(made) if given.calibrate else OF_HEADS
    for origin in ORIGINS:
        some = count([case for case in made if case.origin == origin], discrepancy)
        print(f"from {origin:.2f} of the run:", json.dumps(some))
    found = count(made, discrepancy)
    print("all:", json.dumps(found))
    print("without discrepancy:", json.dumps(count(made, NO_DISCREPANCY)))
    print("keeps its word" if keeps_its_word(found) else "does not keep its word")


if __name__ == "__main__":
    main()
