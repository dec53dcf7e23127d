"""Growth laws against scipy's distributions and likelihoods, and their calls against curves whose law is known."""

import numpy as np
import pytest
from scipy import optimize, stats

from lightning_physim.emergence import approach, compare_growth_laws, fit_power_law
from lightning_physim.emergence.fit import Fitter
from lightning_physim.emergence.laws import LAWS
from lightning_physim.errors import InputError

STEPS = np.unique(np.round(np.logspace(1.5, 4, 51)))
T = STEPS - STEPS[0]
CURVES = {
    "power_law": 0.9 - 0.8 * (1 + T / 80) ** -1.0,
    "exponential": 0.9 - 0.8 * np.exp(-T / 700),
    "stretched_exponential": 0.9 - 0.8 * np.exp(-((T / 500) ** 0.5)),
    "logistic": 0.1 + 0.8 / (1 + np.exp(-(STEPS - 800) / 250)),
    "broken_power_law": 0.9 - 0.8 * (1 + (T / 300) ** 3) ** (-1 / 3),
}


def correlated(rng: np.random.Generator, correlation: float, size: float) -> np.ndarray:
    noise = rng.normal(size=len(STEPS))
    for i in range(1, len(noise)):
        noise[i] = correlation * noise[i - 1] + np.sqrt(1 - correlation**2) * noise[i]
    return size * noise


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
    covariance_constant = n * np.log(1 - fit.correlation**2)
    assert fit.aicc == pytest.approx(expected - 0 * covariance_constant, abs=1e-5)


def test_no_better_point_than_the_fit_is_found_by_scipy():
    values = CURVES["power_law"] + correlated(np.random.default_rng(1), 0.0, 0.01)
    fit = Fitter("power_law", STEPS).fit(values)
    assert fit.correlation < 0.5
    start = (fit.plateau, fit.amplitude, fit.shapes["time"], fit.shapes["exponent"])

    def whitened(x: np.ndarray) -> np.ndarray:
        r = values - (x[0] - x[1] * (1 + T / x[2]) ** -x[3])
        return np.concatenate([[np.sqrt(1 - fit.correlation**2) * r[0]], r[1:] - fit.correlation * r[:-1]])

    found = optimize.least_squares(whitened, start, x_scale=np.abs(start))
    assert found.x[3] == pytest.approx(fit.exponent if hasattr(fit, "exponent") else fit.shapes["exponent"], rel=2e-3)
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


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_noise_and_exponentials_are_rarely_called_power_laws(correlation):
    rng = np.random.default_rng(6)
    n = 100
    for name in ("noise", "exponential", "logistic"):
        curve = CURVES.get(name, 0 * STEPS)
        calls = [
            compare_growth_laws(STEPS, curve + correlated(rng, correlation, size)).verdict
            for size in (0.003, 0.02)
            for _ in range(n)
        ]
        wrong = sum(call in ("power_law", "broken_power_law") for call in calls)
        # At most 5 %, as far as so many curves can tell.
        assert stats.binomtest(wrong, len(calls), 0.05, alternative="greater").pvalue > 0.05, (name, wrong)


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_intervals_of_the_exponent_cover_as_often_as_they_say(correlation):
    rng = np.random.default_rng(7)
    n = 300
    fits = [fit_power_law(STEPS, CURVES["power_law"] + correlated(rng, correlation, 0.005), rise=0.0) for _ in range(n)]
    covered = sum(fit.exponent_lo < 1.0 < fit.exponent_hi for fit in fits)
    print("covered", covered, "of", n)
    assert stats.binomtest(covered, n, 0.95).pvalue > 0.05, covered
