"""How often intervals cover, and verdicts err, on curves whose law and noise are known. Counts, so a few minutes."""

import numpy as np
import pytest
from scipy import optimize, stats

from lightning_physim.emergence import compare_growth_laws, fit_power_law, onset_step
from lightning_physim.emergence.fit import Fitter
from lightning_physim.emergence.laws import LAWS
from tests.helpers.growth import CURVES, SHAPES, STEPS, correlated

pytestmark = pytest.mark.slow


def covers(interval: tuple[float, float], truth: float) -> bool:
    return interval[0] <= truth <= interval[1]


@pytest.mark.parametrize("correlation", [0.0, 0.5])
@pytest.mark.parametrize("law", LAWS)
def test_the_interval_of_every_parameter_covers_as_often_as_it_says(law, correlation):
    rng = np.random.default_rng(7)
    # As many as time allows: the three shapes of the others take several times as long to draw.
    n = 150 if len(SHAPES[law]) < 3 else 60
    truth = SHAPES[law] | {"plateau": 0.9, "amplitude": 0.8, "correlation": correlation, "noise": 0.01}
    fitter = Fitter(law, STEPS)
    covered = dict.fromkeys(truth, 0)
    for _ in range(n):
        fit = fitter.fit(CURVES[law] + correlated(rng, correlation, 0.01))
        for name, value in truth.items():
            covered[name] += covers(fit.interval(name), value)
    # Sixty-two counts in all: one of them falls below a thousandth by chance in one run of sixteen.
    for name, count in covered.items():
        assert stats.binomtest(count, n, 0.95).pvalue > 1e-3, (name, count)


@pytest.mark.parametrize(("n_points", "exponent", "correlation"), [(30, 0.6, 0.5), (60, 2.0, 0.0), (60, 1.2, 0.5)])
def test_exponent_plateau_and_onset_of_a_power_law_are_covered(n_points, exponent, correlation):
    rng = np.random.default_rng(8)
    n = 100
    steps = np.logspace(2, 4.5, n_points)
    curve = 0.85 - 0.7 * (1 + (steps - steps[0]) / 150) ** -exponent
    truth = {"exponent": exponent, "plateau": 0.85, "onset": steps[0] - 150}
    covered = dict.fromkeys(truth, 0)
    for _ in range(n):
        fit = fit_power_law(steps, curve + correlated(rng, correlation, 0.01, n_points), rise=0.0)
        for name, value in truth.items():
            covered[name] += covers(fit.interval(name), value)
    for name, count in covered.items():
        assert stats.binomtest(count, n, 0.95).pvalue > 0.005, (name, count)


@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_noise_and_exponentials_are_rarely_called_power_laws(correlation):
    rng = np.random.default_rng(6)
    for name in ("noise", "exponential", "logistic"):
        curve = CURVES.get(name, 0 * STEPS)
        calls = [
            compare_growth_laws(STEPS, curve + correlated(rng, correlation, size)).verdict
            for size in (0.003, 0.02)
            for _ in range(40)
        ]
        wrong = sum(call in ("power_law", "broken_power_law") for call in calls)
        # At most 5 %, as far as so many curves can tell.
        assert stats.binomtest(wrong, len(calls), 0.05, alternative="greater").pvalue > 0.05, (name, wrong)


@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_onset_intervals_cover_at_least_as_often_as_they_say(correlation):
    rng = np.random.default_rng(10)
    n = 100

    def curve(step: np.ndarray | float) -> np.ndarray:
        return 0.1 + 0.8 / (1 + (step / 800) ** -3.0)

    truth = optimize.brentq(lambda step: curve(step) - 0.2, 1, 1e4)
    found = [onset_step(STEPS, curve(STEPS) + correlated(rng, correlation, 0.01), 0.2) for _ in range(n)]
    covered = sum(covers((onset.lo, onset.hi), truth) for onset in found)
    assert stats.binomtest(covered, n, 0.95, alternative="less").pvalue > 0.05, covered
    # And not for being endless.
    assert np.median([onset.hi / onset.lo for onset in found]) < 3
