"""The benchmarks' own arithmetic, and that they run."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from benchmarks import approaches, dynamics, forecasts, llc_seeds, table
from benchmarks.table import Row, last, store, worse
from lightning_physim.emergence import STRONG, forecast, relaxation
from tests.helpers import studies

ROOT = Path(__file__).parents[1]


def test_a_ratio_says_how_many_times_better_whatever_the_unit():
    assert Row("step", 2.0, "ms", "peer", 3.0).ratio == 1.5
    assert Row("rate", 3.0, "M particle-steps/s", "peer", 2.0).ratio == 1.5
    assert Row("alone", 3.0, "ms").ratio is None
    assert Row("step", 2.0, "ms", "peer", 3.0).line() == "| step | 2 ms | peer | 3 | **1.50** |"


def test_what_was_stored_last_is_found_and_a_fallen_ratio_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "RESULTS", tmp_path / "results")
    assert last("step") is None
    before = [Row("a", 1.0, "ms", "peer", 2.0), Row("b", 1.0, "ms", "peer", 2.0), Row("c", 1.0, "ms")]
    monkeypatch.setattr(table, "version", lambda: "0.1.0")
    path = store("step", before)
    assert "cores" in json.loads(path.read_text())["step"]["machine"]
    assert last("step") == ("0.1.0", before)
    now = [
        Row("a", 1.0, "ms", "peer", 1.9),
        Row("b", 1.0, "ms", "peer", 1.5),
        Row("c", 9.0, "ms"),
        Row("new", 1.0, "ms"),
    ]
    assert worse(now, before) == ["b: 1.50, was 2.00"]
    kept = json.loads(path.read_text())
    kept["step"]["date"] = "2000-01-01"
    path.write_text(json.dumps(kept))
    monkeypatch.setattr(table, "version", lambda: "0.2.0")
    store("step", now)
    assert last("step") == ("0.2.0", now)


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    command, own = [sys.executable, "-m", "benchmarks", *arguments], {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=os.environ | own, capture_output=True, text=True)


def test_an_unknown_benchmark_is_refused_with_the_names(tmp_path):
    done = run("speed", cwd=tmp_path)
    assert done.returncode == 2 and "a benchmark is one of step, growth, simulator" in done.stderr


@pytest.mark.slow
def test_they_run_where_no_peer_is_installed_and_keep_nothing_when_quick(tmp_path):
    kept = sorted((ROOT / "benchmarks" / "results").glob("*"))
    done = run("--quick", "growth", "simulator", "probes", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    for line in ("| layers 8 |", "| 4096 discs, and 256 |", "| 32 particles, all |"):
        assert line in done.stdout
    assert sorted((ROOT / "benchmarks" / "results").glob("*")) == kept


STEPS = np.unique(np.geomspace(1, 10_000, 81).round())
NOISE = np.random.default_rng(0).normal(0, 0.005, len(STEPS))


def a_run(folder: Path, **curves: np.ndarray) -> Path:
    """A run directory with the partner scores of some heads."""
    folder.mkdir()
    rows = [
        {"step": int(step), **{f"probe/partner_score/{head}": float(values[i]) for head, values in curves.items()}}
        for i, step in enumerate(STEPS)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_hindcasts_use_nothing_beyond_their_origin(tmp_path):
    rising = 0.1 + 0.7 / (1 + (STEPS / 500) ** -2.0) + NOISE
    late = 0.1 + 0.7 / (1 + (STEPS / 6000) ** -12.0) + NOISE
    run = a_run(tmp_path / "run", L0H0=rising, L0H1=0.1 + NOISE, L1H0=late)
    found = list(forecasts.cases(run))
    # One head never emerges, and another only after seven tenths of the run.
    assert [(case.head, round(case.origin, 2)) for case in found] == [
        ("L0H0", 0.1), ("L0H0", 0.2), ("L0H0", 0.33), ("L0H0", 0.5), ("L0H0", 0.7)
    ]  # fmt: skip
    for case in found:
        early = STEPS <= case.origin * 10_000
        assert (case.at, case.truth) == (10_000, rising[-1])
        np.testing.assert_array_equal([case.steps, case.values], [STEPS[early], rising[early]])
        np.testing.assert_array_equal(case.ahead.hi, forecast(STEPS[early], rising[early], 10_000).hi)


def hindcast(now: float, truth: float, slope: float, origin: float = 0.5) -> forecasts.Case:
    """A head that rises in the logarithm of the step from 200 on, and ends at a score."""
    steps = STEPS[STEPS <= origin * 10_000]
    line = np.where(steps < 200, 0.1, now + slope * np.log(steps / steps[-1]))
    return forecasts.Case("run", "L0H0", origin, steps, line, 10_000.0, truth)


def test_coverage_is_counted_on_both_sides():
    inside = hindcast(0.8, 0.82, 0.02)
    lo, hi = inside.ahead.lo[0], inside.ahead.hi[0]
    found = [inside._replace(truth=truth, run=f"{i}") for i, truth in enumerate((lo, hi, lo - 0.01, hi + 0.02))]
    counted = forecasts.count(found)
    assert (counted["covered"], counted["below"], counted["above"]) == (0.5, 0.25, 0.25)
    assert counted["runs"] == 4 and counted["median width"] == pytest.approx(hi - lo)


def test_calibration_finds_the_numbers_that_heads_were_made_with():
    rng = np.random.default_rng(0)
    made = []
    for _ in range(400):
        slope, origin = rng.uniform(0.0, 0.2), rng.choice([0.2, 0.5])
        case = hindcast(0.75, 0.0, slope, origin)
        e_folds = np.log(10_000 / case.steps[-1])
        reach = (1 - np.exp(-2 * e_folds)) / 2
        spread = 0.02 * np.sqrt(e_folds**2 + 0.25 + (20 * slope * reach) ** 2)
        made.append(case._replace(truth=0.75 + (0.05 + 0.6 * slope) * reach + spread * rng.normal()))
    weak = [hindcast(0.3, 0.3 - 0.02, slope) for slope in (0.01, 0.02, 0.05)]
    creeps = forecasts.calibrate([*made, *weak])
    found = creeps["STRONG"]
    assert (found.drift, found.damping) == pytest.approx((0.05, 0.6), abs=0.08)
    assert (found.lo, found.hi) == pytest.approx((-0.02 * 2.24, 0.02 * 2.24), abs=0.012)
    assert creeps["WEAK"].drift == pytest.approx(-0.02 / (1 - (0.5**2)) * 2, abs=0.03)
    assert found != STRONG


def test_forecasts_keep_their_word_by_the_rule_of_the_docs():
    good = {"covered, low": 0.93, "covered, high": 0.97, "below": 0.025}
    assert forecasts.keeps_its_word(good)
    for change in (
        {"covered, low": 0.90},
        {"covered, low": 0.951},
        {"covered, high": 0.949},
        {"below": 0.026},
    ):
        assert not forecasts.keeps_its_word(good | change), change


def test_synthetic_heads_are_what_they_are_called():
    np.testing.assert_allclose(
        dynamics.flow(1, 1), 1 / (1 + np.exp(-(dynamics.TIME - 150) * np.log(19) / 80)), atol=2e-4
    )
    exponential = dynamics.flow(0, 1)
    assert np.interp([70, 150], dynamics.TIME, exponential) == pytest.approx([0.05, 0.5], abs=1e-3)
    squared = dynamics.flow(2, 1, 2)
    np.testing.assert_allclose(squared, dynamics.flow(2, 1) ** 2, atol=1e-9)
    assert [dynamics._answer(np.array([order] * 5) + np.arange(5) / 100) for order in (0.5, 1.0, 1.5)] == [
        "slope", "open", "degenerate"
    ]  # fmt: skip


class Estimate(NamedTuple):
    mean: float
    mcse: float
    failures: dict[str, str] = {}


def test_errors_that_are_true_stay_below_the_limit_and_too_small_ones_do_not():
    rng = np.random.default_rng(0)

    def repeated(stated):
        return llc_seeds.gather([Estimate(mean, stated) for mean in rng.normal(5.0, 0.3, 32)])

    assert repeated(0.3).limit == pytest.approx(1.40, abs=0.005)  # the square root of a quantile of chi-square over 31
    true = [repeated(0.3) for _ in range(2000)]
    assert np.median([each.ratio for each in true]) == pytest.approx(1.0, abs=0.03)
    assert sum(each.ratio > each.limit for each in true) <= 9  # of 2: by chance one in ten thousand is more
    assert repeated(0.15).ratio > repeated(0.15).limit
    failed = llc_seeds.gather(
        [Estimate(1.0, 0.1), Estimate(3.0, 0.1), Estimate(9.0, 0.1, {"virial": "far", "ess": "few"})]
    )
    assert failed.failed == 1 and failed.failures == {"virial": 1, "ess": 1}
    assert failed.ratio == pytest.approx(2**0.5 / 0.1) and failed.row(10, "L0H0").startswith(
        "| 10 | L0H0 | 3 | virial 1, ess 1 | 2.000 "
    )
    assert np.isnan(llc_seeds.gather([Estimate(1.0, 0.1)]).ratio)


def test_a_law_is_the_answer_where_four_of_five_heads_have_it():
    def answer(*kinds):
        found = [
            approaches.Approach("run", "L0H0", 100.0, relaxation(times, values(kind, np.random.default_rng(i))))
            for i, kind in enumerate(kinds)
        ]
        return approaches.answer(found)

    times = np.geomspace(2.0, 960.0, 108)

    def values(approach, rng):
        return 0.1 + 0.7 * studies.risen(times, 1, approach, 1e-6, 100.0) + rng.normal(0, 0.002, len(times))

    assert answer(1, 1, 1, 1, 3) == "of 5 heads 4 exponential, 1 power law: exponential"
    assert answer(3, 3, 3, 3, 3) == "of 5 heads 5 power law: power law"
    assert answer(1, 1, 1, 3, 3) == "of 5 heads 3 exponential, 2 power law: undecided"
    assert answer(1, 1, 1, 1) == "of 4 heads 4 exponential: undecided"


def test_a_run_that_is_not_there_is_refused_in_one_line(tmp_path):
    command = [sys.executable, "-m", "benchmarks.forecasts", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and str(tmp_path / "none") in done.stderr
