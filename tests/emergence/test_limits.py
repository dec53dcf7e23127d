"""Rules at their limits: the number of points, the decade, the threshold, the noise, the rounds of draws."""

from dataclasses import replace

import numpy as np
import pytest

from lightning_physim.emergence import (
    approach,
    compare_fits,
    compare_growth_laws,
    emergence_threshold,
    emerging,
    extrapolate,
    fit_laws,
    fit_power_law,
    forecast,
    onset_step,
)
from lightning_physim.emergence.fit import Fitter, constant_aicc
from lightning_physim.emergence.growth import aicc_weights
from lightning_physim.emergence.laws import LAWS
from lightning_physim.emergence.posterior import ENOUGH, MIN_ROUNDS, PER_ROUND, ROUNDS, quantiles
from lightning_physim.errors import InputError
from tests.helpers.defaults import defaults
from tests.helpers.growth import CURVES, STEPS, correlated

RISING = CURVES["power_law"] + correlated(np.random.default_rng(1), 0.0, 0.01)


def test_the_threshold_is_a_tenth_of_the_way_from_the_median_of_three_to_the_ceiling():
    values = np.array([0.1, 0.3, 0.2, 0.9, 0.9])
    assert emergence_threshold(values) == pytest.approx(0.28)
    assert emergence_threshold(10 * values, ceiling=10.0) == pytest.approx(2.8)
    assert emergence_threshold(values - 0.2) == pytest.approx(0.1)


def test_five_values_above_the_threshold_have_emerged_and_four_have_not():
    start = [0.1, 0.1, 0.1]  # the threshold is 0.19
    assert emerging(np.array([*start, *[0.2] * 5]))
    assert not emerging(np.array([*start, 0.18, *[0.2] * 4]))
    assert not emerging(np.array([*start, *[0.2] * 4, 0.19]))
    assert not emerging(np.array([0.0, 0.0, 0.0, 1.0]))  # four are no five


def test_an_approach_begins_at_the_first_point_that_is_on_the_level():
    steps = np.arange(1.0, 9.0)
    values = np.array([0.0, 0.0, 0.0, 0.25, 0.5, 1.0, 1.0, 1.0])
    assert approach(steps, values, 0.5)[0][0] == 5.0  # on it: not below
    assert approach(steps, values, 0.51)[0][0] == 6.0
    assert approach(steps, -values, 0.5)[0][0] == 5.0  # the way may go down
    assert len(approach(steps[:5], values[:5], 0.5)[0]) == 5  # five points have no way
    assert len(approach(steps[2:], values[2:], 0.5)[0]) == 3  # six have: the half of 0.25 to 1 is 0.625
    for bad in (-0.1, 1.0):
        with pytest.raises(InputError, match=r"rise must lie in \[0, 1\)"):
            approach(steps, values, bad)


def test_a_step_of_zero_is_left_out_and_a_falling_or_negative_one_is_refused():
    assert approach(np.array([0.0, 1.0, 2.0]), np.zeros(3), 0.0)[0].tolist() == [1.0, 2.0]
    for steps in ([0.0, 0.0, 1.0], [-1.0, 1.0, 2.0], [1.0, 3.0, 2.0]):
        with pytest.raises(InputError, match="steps must ascend from 0 or above"):
            approach(np.array(steps), np.zeros(3), 0.0)
    for steps, values in ((np.zeros((2, 2)), np.zeros((2, 2))), (np.arange(3.0), np.zeros(2))):
        with pytest.raises(InputError, match="two rows of one length"):
            approach(steps, values, 0.0)


def test_fifteen_points_over_a_decade_are_enough():
    steps = np.geomspace(10, 100, 15)
    values = 1 - 5 / steps
    assert fit_power_law(steps, values, rise=0.0).exponent == pytest.approx(1.0, abs=0.05)
    with pytest.raises(InputError, match="15 points"):
        fit_power_law(steps[1:], values[1:], rise=0.0)
    with pytest.raises(InputError, match="a decade"):
        fit_power_law(np.append(steps[:-1], 99.0), values, rise=0.0)


def test_an_extrapolation_takes_twelve_points_and_five_that_are_held_out():
    steps = np.geomspace(10, 100, 12)
    values = 0.9 - 0.8 * np.exp(-(steps - 10) / 20) + correlated(np.random.default_rng(0), 0.0, 0.002, 12)
    # Twelve up to a third of the last step, and the rest of 300 to 1000.
    later = np.concatenate([steps, [400.0, 500.0, 600.0, 700.0, 300.0 / 0.3]])
    more = np.append(values, [0.9] * 5)
    assert extrapolate(later, more, fraction=0.1, rise=0.0).reason == ""
    assert extrapolate(later[1:], more[1:], fraction=0.1, rise=0.0).reason.endswith("after the rise; there are 11")
    assert extrapolate(later[:-1], more[:-1], fraction=100 / 700, rise=0.0).reason.startswith("it takes 5 held-out")


def test_an_onset_takes_fifteen_points_and_its_noise_from_twelve():
    steps = np.geomspace(10, 1000, 15)
    values = np.where(np.arange(15) < 5, 0.0, 1.0) * 0.8 + 0.1
    found = onset_step(steps, values, threshold=0.5, noise=1e-3)
    assert (found.lo, found.hi) == (steps[4], steps[5]) and found.threshold == 0.5
    with pytest.raises(InputError, match="15 points; got 14"):
        onset_step(steps[1:], values[1:], threshold=0.5, noise=1e-3)
    with pytest.raises(InputError, match="12 points after the rise; there are 10"):
        onset_step(steps, values, threshold=0.5)
    # Without a threshold: a tenth of the way from the first three to the last three.
    assert onset_step(steps, values, noise=1e-3).threshold == pytest.approx(0.1 + 0.1 * 0.8)


def test_an_onset_interval_is_the_quantile_that_the_level_asks_for():
    # One measurement is doubtful, 1.8 noise widths below the threshold: beyond 1.64, the 90 % level, and within 1.96.
    distance = np.concatenate([np.full(10, -9.0), [-1.8], np.full(10, 9.0)])
    steps = np.geomspace(10, 1000, len(distance))
    given = {"threshold": 0.5, "noise": 0.01}
    assert onset_step(steps, 0.5 + 0.01 * distance, level=0.9, **given).lo == steps[10]
    assert onset_step(steps, 0.5 + 0.01 * distance, **given).lo == steps[9]
    above = onset_step(steps, 0.5 - 0.01 * np.minimum(distance, 0) + 0.01, **given)
    assert above.lo == 0.0 and above.hi == steps[0] and above.step == steps[0]


def test_weights_are_those_of_the_criterion():
    fits = fit_laws(STEPS, RISING)
    told = {name: replace(fit, aicc=10.0 + 2 * i) for i, (name, fit) in enumerate(fits.items())}
    expected = np.exp(-np.arange(len(LAWS)))
    assert list(aicc_weights(told).values()) == pytest.approx(expected / expected.sum())
    assert compare_fits(told).best == next(iter(told))


@pytest.mark.parametrize(
    "lead, verdict", [(1.9, "power_law"), (2.1, "undecided"), (5.8, "undecided"), (6.0, "broken_power_law")]
)
def test_a_law_and_its_generalisation_share_a_weight_until_one_of_them_is_far_ahead(lead, verdict):
    # exp(-5.89 / 2) = 0.0526: from there on the better has 95 % of the two's weight.
    fits = fit_laws(STEPS, RISING)
    told = {name: replace(fit, aicc=-1000.0, at_edge=()) for name, fit in fits.items()}
    told["power_law"] = replace(told["power_law"], aicc=-1100.0)
    told["broken_power_law"] = replace(told["broken_power_law"], aicc=-1100.0 - lead)
    assert compare_fits(told).verdict == verdict


@pytest.mark.parametrize("lead, verdict", [(5.8, "undecided"), (6.0, "logistic")])
def test_a_law_is_called_from_a_weight_of_0_95_on(lead, verdict):
    fits = fit_laws(STEPS, RISING)
    told = {name: replace(fit, aicc=-1000.0, at_edge=()) for name, fit in fits.items()}
    told["logistic"] = replace(told["logistic"], aicc=-1100.0)
    told["power_law"] = replace(told["power_law"], aicc=-1100.0 + lead)
    found = compare_fits(told)
    assert found.verdict == verdict
    assert ("not clearly ahead of power law" in found.reason) == (verdict == "undecided")
    told["logistic"] = replace(told["logistic"], at_edge=("time",))
    assert compare_fits(told).verdict == "undecided"


def test_a_law_that_may_end_at_an_edge_is_called_all_the_same():
    fits = fit_laws(STEPS, RISING)
    told = {name: replace(fit, aicc=-1000.0, at_edge=()) for name, fit in fits.items()}
    told["stretched_exponential"] = replace(told["stretched_exponential"], aicc=-1100.0, at_edge=("before",))
    assert compare_fits(told).verdict == "stretched_exponential"


def test_rounds_of_draws_end_once_they_say_enough():
    rounds = []
    for values in (RISING, CURVES["logistic"] + correlated(np.random.default_rng(4), 0.9, 0.2)):
        for law in LAWS:
            draws = Fitter(law, STEPS).fit(values).draws
            rounds.append(len(draws.weights) / PER_ROUND)
            assert MIN_ROUNDS <= rounds[-1] <= ROUNDS
            assert rounds[-1] == ROUNDS or draws.ess >= ENOUGH
    assert min(rounds) == MIN_ROUNDS and max(rounds) > MIN_ROUNDS


def test_quantiles_of_equal_weights_are_those_of_hazen():
    values = np.random.default_rng(0).normal(size=50)
    shares = np.array([0.05, 0.5, 0.9])
    expected = np.quantile(values, shares, method="hazen")
    np.testing.assert_allclose(quantiles(values, np.full(50, 0.3), shares), expected)
    # Twice a value is the value with twice the weight, wherever it lies.
    once = quantiles(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 1.0]), np.array([0.125, 0.5, 0.875]))
    assert once.tolist() == [1.0, 2.0, 3.0]


def test_draws_of_the_noise_and_its_correlation_lie_around_those_of_the_fit():
    values = CURVES["exponential"] + correlated(np.random.default_rng(6), 0.6, 0.02)
    fit = Fitter("exponential", STEPS).fit(values)
    for name, truth in (("noise", 0.02), ("correlation", 0.6), ("plateau", 0.9), ("amplitude", 0.8), ("time", 700.0)):
        lo, hi = fit.interval(name)
        found = fit.shapes["time"] if name == "time" else getattr(fit, name)
        middle = quantiles(fit.draws[name], fit.draws.weights, np.array([0.5]))[0]
        assert lo < truth < hi and lo < found < hi, name
        assert middle == pytest.approx(found, rel=0.2 if name != "correlation" else 0.35), name


def test_defaults():
    assert defaults(compare_growth_laws) == {"rise": 0.1} and defaults(fit_power_law) == {"rise": 0.5}
    assert defaults(extrapolate) == {"fraction": 1 / 3, "rise": 0.1}
    assert defaults(forecast) == {"ceiling": 1.0}
    assert defaults(onset_step) == {"threshold": None, "level": 0.95, "noise": None}
    assert defaults(emerging) == defaults(emergence_threshold) == {"ceiling": 1.0}


def test_a_number_of_draws_is_as_many_of_equal_weight():
    draws = Fitter("exponential", STEPS).fit(RISING).draws
    assert draws.ess == pytest.approx(1 / (draws.weights**2).sum()) and draws.weights.sum() == pytest.approx(1.0)


def test_what_a_power_law_says_of_itself_follows_from_its_shapes():
    fit = fit_power_law(STEPS, RISING, rise=0.0)
    time, exponent = fit.fit.shapes["time"], fit.exponent
    assert fit.onset == pytest.approx(STEPS[0] - time) and fit.onset < STEPS[0]
    later = np.array([1e3, 1e5])
    closed = fit.plateau - fit.fit.amplitude * ((later - fit.onset) / time) ** -exponent
    np.testing.assert_allclose(fit.predict(later), closed, rtol=1e-9)
    lo, hi = fit.interval("onset")
    assert lo < fit.onset < hi and (lo, hi) == fit.interval("onset", 0.95) and fit.interval("onset", 0.5)[0] > lo


def test_noise_and_criterion_count_their_parameters():
    fit = Fitter("exponential", STEPS).fit(RISING)
    residuals = RISING - fit.predict(STEPS)
    rho, n = fit.correlation, len(STEPS)
    innovations = residuals[1:] - rho * residuals[:-1]
    rest = (1 - rho**2) * residuals[0] ** 2 + (innovations**2).sum()
    # Plateau, amplitude and one shape take three degrees of freedom.
    assert fit.noise == pytest.approx(np.sqrt(rest / (n - 3) / (1 - rho**2)), rel=1e-6)
    # A constant has a level, a noise and a correlation.
    best = min(
        n * np.log(((1 - r**2) * d[0] ** 2 + ((d[1:] - r * d[:-1]) ** 2).sum()) / n) - np.log(1 - r**2)
        for r in np.linspace(-0.5, 0.95, 581)
        for d in [RISING - _level(RISING, r)]
    )
    assert constant_aicc(RISING) == pytest.approx(best + 6 + 24 / (n - 4), abs=0.2)


def _level(values, rho):
    """The best constant under noise of this correlation, by the inverse of its covariance."""
    lags = np.abs(np.subtract.outer(np.arange(len(values)), np.arange(len(values))))
    weights = np.linalg.inv(rho**lags + 1e-12 * np.eye(len(values))).sum(0)
    return weights @ values / weights.sum()
