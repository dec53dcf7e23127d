"""Growth laws against scipy's distributions and likelihoods, and their calls against curves whose law is known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize, stats

from lightning_physim.emergence import (
    approach,
    compare_fits,
    compare_growth_laws,
    emerging,
    extrapolate,
    fit_laws,
    fit_power_law,
    onset_step,
)
from lightning_physim.emergence.fit import Fitter
from lightning_physim.emergence.laws import LAWS
from lightning_physim.errors import InputError
from tests.helpers.growth import CURVES, STEPS, T, correlated


@pytest.mark.parametrize(
    ("law", "shapes", "cdf"),
    [
        ("power_law", (50.0, 1.3), stats.lomax(1.3, scale=50.0).cdf),
        ("exponential", (50.0,), stats.expon(scale=50.0).cdf),
        ("broken_power_law", (50.0, 1.3, 2.6), stats.burr12(2.6, 0.5, scale=50.0).cdf),
    ],
)
def test_shares_covered_are_scipy_distributions(law, shapes, cdf):
    np.testing.assert_allclose(1 - LAWS[law].left(T, *shapes), cdf(T), rtol=1e-12, atol=1e-14)


def test_laws_with_an_origin_are_scipy_distributions_seen_from_the_first_point():
    weibull = stats.weibull_min(0.6, scale=50.0)
    left = LAWS["stretched_exponential"].left(T, 50.0, 0.6, 7.0)
    np.testing.assert_allclose(left, weibull.sf(T + 7.0) / weibull.sf(7.0), rtol=1e-12)
    left = LAWS["logistic"].left(T, 50.0, 0.3)
    np.testing.assert_allclose(left, stats.logistic(-50.0 * np.log(0.3), 50.0).sf(T), rtol=1e-12)


def test_the_criterion_is_the_likelihood_of_correlated_noise():
    values = CURVES["power_law"] + correlated(np.random.default_rng(0), 0.5, 0.01)
    fit = Fitter("power_law", STEPS).fit(values)
    n, k = len(STEPS), 6
    lags = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))

    def deviance(log_noise: float) -> float:
        covariance = np.exp(2 * log_noise) * fit.correlation**lags
        return -2 * stats.multivariate_normal(fit.predict(STEPS), covariance).logpdf(values)

    best = optimize.minimize_scalar(deviance, bounds=(-8, 0), method="bounded", options={"xatol": 1e-8}).fun
    # What the criterion leaves out is what the points alone determine.
    expected = best - n * np.log(2 * np.pi) - n + 2 * k + 2 * k * (k + 1) / (n - k - 1)
    assert fit.aicc == pytest.approx(expected, abs=1e-5)


def test_no_better_point_than_the_fit_is_found_by_scipy():
    values = CURVES["power_law"] + correlated(np.random.default_rng(1), 0.0, 0.01)
    fit = Fitter("power_law", STEPS).fit(values)
    start = (fit.plateau, fit.amplitude, fit.shapes["time"], fit.shapes["exponent"])

    def whitened(x: np.ndarray) -> np.ndarray:
        r = values - (x[0] - x[1] * (1 + T / x[2]) ** -x[3])
        return np.concatenate([[np.sqrt(1 - fit.correlation**2) * r[0]], r[1:] - fit.correlation * r[:-1]])

    found = optimize.least_squares(whitened, start, x_scale=np.abs(start))
    assert found.x[3] == pytest.approx(fit.shapes["exponent"], rel=2e-3)
    assert found.x[0] == pytest.approx(fit.plateau, rel=1e-4)


@pytest.mark.parametrize("law", LAWS)
def test_a_clear_curve_gets_its_own_law(law):
    result = compare_growth_laws(STEPS, CURVES[law] + correlated(np.random.default_rng(3), 0.0, 0.002), rise=0.05)
    assert result.verdict == law, result.reason
    assert sum(result.weights.values()) == pytest.approx(1.0)
    assert law in (result.best, "exponential", "power_law")


def test_a_power_law_is_found_with_its_parameters():
    onset = STEPS[0] - 80
    fit = fit_power_law(STEPS, CURVES["power_law"] + correlated(np.random.default_rng(4), 0.3, 0.002))
    assert fit.exponent_lo < 1.0 < fit.exponent_hi
    assert fit.interval("plateau")[0] < 0.9 < fit.interval("plateau")[1]
    assert fit.interval("onset")[0] < onset < fit.interval("onset")[1]
    later = np.array([2e4, 5e4])
    np.testing.assert_allclose(fit.predict(later), 0.9 - 0.8 * (1 + (later - STEPS[0]) / 80) ** -1.0, atol=0.005)
    assert np.isnan(fit.predict(STEPS[:1] - 1)).all()
    assert fit.order == pytest.approx(2 + 1 / fit.exponent)
    assert fit.order_llc == pytest.approx(1 / fit.order)


def test_order_and_its_learning_coefficient_follow_the_exponent_in_their_intervals_too():
    fit = fit_power_law(STEPS, CURVES["power_law"] + correlated(np.random.default_rng(4), 0.3, 0.01))
    np.testing.assert_allclose(fit.interval("order"), (2 + 1 / fit.exponent_hi, 2 + 1 / fit.exponent_lo), rtol=2e-3)
    np.testing.assert_allclose(fit.interval("order_llc"), 1 / np.array(fit.interval("order"))[::-1], rtol=2e-3)


def test_an_interval_where_everything_is_linear_is_the_textbook_one():
    """An exponential of known time on white noise: Student's t for the plateau, from scipy's least squares."""
    from lightning_physim.emergence import posterior
    from lightning_physim.emergence.laws import Law, Shape

    steps = np.arange(1.0, 400.0)
    left = np.exp(-(steps - 1) / 80)
    values = 0.9 - 0.8 * left + 0.02 * np.random.default_rng(2).normal(size=len(steps))
    fitter = Fitter("exponential", steps)
    # A range so narrow that the time is known.
    fitter.law = Law("line", fitter.law.left, {"time": Shape(0.2, 0.21, time=True)})
    fitter.lo, fitter.hi = np.log([80.0]), np.log([80.0001])
    fitter.grid = fitter.lo[None]
    draws = posterior.sample(fitter, fitter.lo, 0.0, values)
    line = stats.linregress(left, values)
    half = stats.t(len(steps) - 2).ppf(0.975) * line.intercept_stderr
    lo, hi = draws.interval(draws["plateau"])
    # The correlation is estimated as well, which this allows for.
    assert lo == pytest.approx(line.intercept - half, abs=0.3 * half)
    assert hi == pytest.approx(line.intercept + half, abs=0.3 * half)


def test_gradient_flow_down_a_potential_has_the_order_that_its_exponent_implies():
    # x' = -x**3 is gradient flow in x**4 / 4, integrated by scipy rather than by the closed form.
    from scipy.integrate import solve_ivp

    steps = np.logspace(0, 4, 60)
    x = solve_ivp(lambda _, x: -(x**3), (0, steps[-1]), [1.0], t_eval=steps, rtol=1e-9, atol=1e-12).y[0]
    fit = fit_power_law(steps, 1 - x)
    assert fit.order == pytest.approx(4.0, abs=0.05)
    assert fit.plateau == pytest.approx(1.0, abs=1e-3)


def test_only_the_points_after_the_rise_are_kept():
    values = np.where(STEPS < 300, 0.1, 0.9)
    steps, _ = approach(STEPS, values, 0.5)
    assert steps[0] == STEPS[STEPS >= 300][0]
    assert len(approach(STEPS, values, 0.0)[0]) == len(STEPS)
    # A dip below the middle starts it anew.
    values[40] = 0.2
    assert approach(STEPS, values, 0.5)[0][0] == STEPS[41]


def test_too_little_is_refused_with_the_reason():
    few = compare_growth_laws(STEPS[::5], CURVES["power_law"][::5])
    assert few.verdict == "undecided" and "15 points" in few.reason and few.best is None
    steps = np.linspace(1000, 9000, 50)
    short = compare_growth_laws(steps, 1 - 1 / steps, rise=0.0)
    assert short.verdict == "undecided" and "decade" in short.reason
    with pytest.raises(InputError, match="decade"):
        fit_power_law(steps, 1 - 1 / steps, rise=0.0)


def test_what_does_not_grow_gets_no_law():
    flat = compare_growth_laws(STEPS, correlated(np.random.default_rng(5), 0.5, 0.01), rise=0.0)
    assert flat.verdict == "undecided" and "constant" in flat.reason
    falling = compare_growth_laws(STEPS, -CURVES["power_law"], rise=0.0)
    assert falling.verdict == "undecided", falling.reason


@pytest.mark.parametrize(
    ("steps", "values", "rule"),
    [
        ([1, 2, 3], [1, 2], "one length"),
        ([1, 1, 2], [1, 2, 3], "ascend"),
        ([-1, 1, 2], [1, 2, 3], "negative"),
        ([1, 2, 3], [1, np.nan, 3], "finite"),
    ],
)
def test_bad_input_is_refused(steps, values, rule):
    with pytest.raises(InputError, match=rule):
        compare_growth_laws(np.array(steps), np.array(values))


def test_an_extrapolation_is_scipy_on_the_first_third_and_its_error_on_the_rest():
    values = CURVES["exponential"] + correlated(np.random.default_rng(8), 0.0, 0.01)
    result = extrapolate(STEPS, values, rise=0.0)
    early = STEPS <= STEPS[-1] / 3

    def law(t, plateau, amplitude, time):
        return plateau - amplitude * np.exp(-t / time)

    found, _ = optimize.curve_fit(law, T[early], values[early], (0.9, 0.8, 700))
    error = np.sqrt(np.mean((law(T[~early], *found) - values[~early]) ** 2))
    # scipy takes the noise as white, which it is.
    assert result.errors["exponential"] == pytest.approx(error, rel=0.05)
    assert result.persistence == pytest.approx(np.sqrt(np.mean((values[early][-1] - values[~early]) ** 2)))
    assert result.winner == min(result.errors, key=result.errors.get)


def test_an_extrapolation_sees_nothing_of_what_it_predicts():
    values = CURVES["power_law"] + correlated(np.random.default_rng(8), 0.0, 0.01)
    changed = np.where(STEPS > STEPS[-1] / 3, 7.0, values)
    ours, theirs = extrapolate(STEPS, values), extrapolate(STEPS, changed)
    assert ours.errors != theirs.errors
    fitted = [extrapolate(STEPS, v).persistence for v in (values, changed)]
    assert fitted[0] < 0.2 and fitted[1] > 5


def test_an_extrapolation_from_too_little_says_so():
    late = np.where(STEPS < 4000, 0.1, 0.9)
    late = late + correlated(np.random.default_rng(3), 0.0, 0.01)
    assert "points after the rise" in extrapolate(STEPS[35:], CURVES["logistic"][35:]).reason
    assert "constant" in extrapolate(STEPS, late, rise=0.0).reason
    assert extrapolate(STEPS, CURVES["logistic"], fraction=0.95).reason.startswith("it takes 5 held-out")
    assert "there are 0" in extrapolate(np.empty(0), np.empty(0)).reason
    with pytest.raises(InputError, match="between 0 and 1"):
        extrapolate(STEPS, CURVES["logistic"], fraction=1.0)


def test_an_onset_lies_where_the_curve_crosses_and_its_interval_holds_the_measurements_around():
    values = 0.1 + 0.8 / (1 + (STEPS / 800) ** -4.0)
    onset = onset_step(STEPS, values, threshold=0.3)
    truth = 800 * (0.2 / 0.6) ** 0.25
    assert onset.step == pytest.approx(truth, rel=0.01)
    before, after = STEPS[STEPS < truth][-1], STEPS[STEPS > truth][0]
    assert (onset.lo, onset.hi) == (before, after)
    noisy = onset_step(STEPS, values + correlated(np.random.default_rng(0), 0.0, 0.05), threshold=0.3)
    assert noisy.lo < before and noisy.hi > after
    assert onset_step(STEPS, values).threshold == pytest.approx(0.1 + 0.1 * 0.8, abs=0.005)


def test_a_curve_that_has_not_crossed_has_no_onset_yet():
    values = 0.1 + 0.8 / (1 + (STEPS / 800) ** -4.0)
    onset = onset_step(STEPS, values, threshold=0.95, noise=0.01)
    assert np.isnan(onset.step) and onset.hi == np.inf
    with pytest.raises(InputError, match="15 points"):
        onset_step(STEPS[:10], values[:10])


def test_emerging_is_for_good():
    flat = 0.1 + correlated(np.random.default_rng(0), 0.5, 0.01)
    assert not emerging(flat)
    assert emerging(CURVES["logistic"])
    assert not emerging(np.append(CURVES["logistic"], 0.12))
    # An enrichment of up to 10: the same rule on its scale.
    assert emerging(10 * CURVES["logistic"], ceiling=10.0) and not emerging(10 * flat, ceiling=10.0)


@pytest.mark.parametrize(
    "values",
    [0 * STEPS, 0 * STEPS + 0.3, np.where(STEPS < 900, 0.1, 0.9), np.log(STEPS), 1e-9 * CURVES["logistic"]],
    ids=["zero", "constant", "jump", "logarithm", "tiny"],
)
def test_curves_without_noise_or_growth_end_in_finite_intervals_and_no_warning(values):
    for fit in compare_growth_laws(STEPS, values, rise=0.0).fits.values():
        for name in fit.draws.values:
            assert np.isfinite(fit.interval(name)).all(), (fit.law, name)


def test_the_interval_of_an_onset_shares_its_level_among_the_doubtful_measurements_alone():
    # Four lie within three standard errors of the threshold: 5 % over four, both sides, is 2.50 standard errors. Over
    # the other 36 it would be 3.20, and the measurements at 2.8 would say nothing.
    distance = np.concatenate([np.full(18, -9.0), [-2.8, -1.0, 1.0, 2.8], np.full(18, 9.0)])
    steps = np.geomspace(10, 1000, len(distance))
    onset = onset_step(steps, 0.5 + 0.01 * distance, threshold=0.5, noise=0.01)
    assert (onset.lo, onset.hi) == (steps[18], steps[21])


@pytest.mark.parametrize("lead, verdict", [(1.0, "exponential"), (30.0, "stretched_exponential")])
def test_a_law_with_a_simpler_one_in_it_has_to_earn_its_parameter(lead, verdict):
    steps = np.geomspace(10, 3000, 60)
    noise = 0.01 * np.random.default_rng(0).standard_normal(60)
    fits = fit_laws(steps, 0.8 - 0.7 * np.exp(-(steps - 10) / 400) + noise)
    best = min(fit.aicc for fit in fits.values())
    told = {"exponential": best, "stretched_exponential": best - lead}
    told = {name: replace(fit, aicc=told.get(name, best + 100.0)) for name, fit in fits.items()}
    assert compare_fits(told).verdict == verdict
