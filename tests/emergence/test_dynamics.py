"""Velocities, orders of growth and approaches, against closed forms and scipy's solutions of differential equations."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from lightning_physim.emergence import Relaxation, collapse, growth_order, relaxation, shape_ratio, velocity
from lightning_physim.emergence.dynamics import GrowthEquation
from lightning_physim.errors import InputError

TIME = np.geomspace(1.0, 1000.0, 181)
LOGISTIC = 1 / (1 + np.exp(-(TIME - 150) / 27))
EXPONENTIAL = 1 - np.exp(-TIME / 200)


def test_velocities_are_those_of_closed_forms():
    for curve, rate in ((EXPONENTIAL, np.exp(-TIME / 200) / 200), (np.log(TIME), 1 / TIME)):
        found = velocity(TIME, curve)
        np.testing.assert_allclose(found.rate[5:-5], rate[5:-5], rtol=0.05)
        np.testing.assert_allclose(found.value, curve, atol=0.004)
        np.testing.assert_array_equal(found.time, TIME)
    # A quadratic in the logarithm of time is smoothed by nothing.
    found = velocity(TIME, 3 + np.log(TIME) ** 2, bandwidth=0.5)
    np.testing.assert_allclose(found.rate, 2 * np.log(TIME) / TIME, rtol=1e-6, atol=1e-9)


def test_neighbours_beyond_the_bandwidth_have_no_say():
    kinked = np.where(TIME < 100, 0.0, np.log(TIME / 100))
    early, late = TIME < 30, TIME > 300
    found = velocity(TIME, kinked)
    np.testing.assert_allclose(found.rate[early], 0, atol=1e-6)
    np.testing.assert_allclose(found.rate[late] * TIME[late], 1, rtol=1e-4)
    assert np.abs(velocity(TIME, kinked, bandwidth=1.0).rate[early]).max() > 1e-4


@pytest.mark.parametrize("order, approach", [(1, 1), (2, 1), (0, 1), (0, 2), (1.5, 3), (-1, 1)])
def test_the_equation_of_growth_is_solved_as_scipy_solves_it(order, approach):
    growth = GrowthEquation(order, approach, 0.05, 100.0)
    at = np.linspace(100, 250, 40)
    flow = solve_ivp(
        lambda _, y: 0.05 * y**order * (1 - y) ** approach, (100, 250), [0.5], t_eval=at, rtol=1e-10, atol=1e-12
    )
    np.testing.assert_allclose(growth.share(at), flow.y[0], atol=2e-5)
    back = np.linspace(100, 98, 10)  # an order of -1 has started just before
    flow = solve_ivp(
        lambda _, y: 0.05 * y**order * (1 - y) ** approach, (100, 98), [0.5], t_eval=back, rtol=1e-10, atol=1e-12
    )
    np.testing.assert_allclose(growth.share(back), flow.y[0], atol=2e-5)


def test_a_start_that_is_reached_in_finite_time_stays_at_0():
    slope = GrowthEquation(0.0, 1.0, 0.01, 100.0)  # y = 1 - exp(-(t - t0) / 100), which is 1/2 at 100
    begin = 100 - 100 * np.log(2)
    at = np.array([begin - 5, begin + 50])
    np.testing.assert_allclose(slope.share(at), [0.0, 1 - np.exp(-0.5)], atol=1e-4)


@pytest.mark.parametrize(
    "curve, order", [(LOGISTIC, 1.0), (EXPONENTIAL, 0.0), (GrowthEquation(2.0, 1.0, 0.05, 150.0).share(TIME), 2.0)]
)
def test_orders_of_growth_are_found_whatever_the_units(curve, order):
    values = 0.1 + 0.6 * curve + np.random.default_rng(0).normal(0, 0.002, len(TIME))
    found = growth_order(TIME, values, 0.1, 0.7)
    assert found.order == pytest.approx(order, abs=0.08)
    assert found.share(TIME) == pytest.approx(curve, abs=0.1)
    later = growth_order(3 * TIME, values, 0.1, 0.7)
    assert later.order == pytest.approx(found.order, abs=0.02) and later.half == pytest.approx(3 * found.half, rel=0.01)


def test_only_the_growth_is_fitted():
    stalled = np.where(LOGISTIC > 0.85, 0.85, LOGISTIC)
    assert growth_order(TIME, stalled, 0.0, 1.0).order == pytest.approx(1.0, abs=0.02)


def test_what_does_not_grow_has_no_order():
    with pytest.raises(InputError, match=r"takes a rise; got 0.5 to 0.5"):
        growth_order(TIME, LOGISTIC, 0.5, 0.5)
    with pytest.raises(InputError, match="8 points below 0.8 of the rise; got 7"):
        growth_order(TIME[:20], np.where(np.arange(20) < 7, 0.1, 0.9), 0.0, 1.0)
    assert growth_order(TIME[:20], np.where(np.arange(20) < 8, 0.1, 0.9), 0.0, 1.0).order > -2.1
    with pytest.raises(InputError, match="a velocity takes 8 points; got 7"):
        velocity(TIME[:7], LOGISTIC[:7])
    assert len(velocity(TIME[:8], LOGISTIC[:8]).rate) == 8


def test_shape_ratios_are_those_of_closed_forms_whatever_rise_and_scale():
    for curve, ratio in ((LOGISTIC, 0.0), (EXPONENTIAL, np.log(np.log(5) / np.log(1.8)))):
        for scale in (1.0, 7.0):
            assert shape_ratio((scale * TIME, 0.2 + 0.5 * curve), 0.2, 0.7) == pytest.approx(ratio, abs=0.02)
    assert np.isnan(shape_ratio((TIME, 0.8 * LOGISTIC), 0.0, 1.0))


def test_curves_of_one_flow_collapse_and_others_do_not():
    slower = (TIME, 1 / (1 + np.exp(-(TIME - 165) / 30)))
    assert collapse((TIME, LOGISTIC), (TIME, LOGISTIC), 0.5) == 0
    assert collapse((TIME, LOGISTIC), slower, 0.5) == pytest.approx(np.log(150 / 165), abs=1e-3)
    assert collapse(slower, (TIME, LOGISTIC), 0.5) > 0
    assert np.isnan(collapse((TIME, 0.4 * LOGISTIC), slower, 0.5))


def noisy(curve: np.ndarray, noise: float = 0.005) -> np.ndarray:
    return curve + np.random.default_rng(1).normal(0, noise, len(curve))


def test_approaches_are_called_by_their_law_or_not_at_all():
    power = 1 - (1 + TIME / 10) ** -1.0
    found = relaxation(TIME, noisy(power))
    assert found.verdict == "power_law" and found.span > 10 and found.ahead > 10
    assert found.power.interval("exponent")[0] < 1 < found.power.interval("exponent")[1]
    assert relaxation(TIME, noisy(EXPONENTIAL)).verdict == "exponential"
    # A power law that is seen over less than a decade since its origin, or hardly above noise, is not called one.
    short = TIME < 60
    shown = relaxation(TIME[short], noisy(1 - (1 + TIME[short] / 30) ** -1.0))
    assert shown.span < 10 and shown.verdict == "undecided"
    assert relaxation(TIME, noisy(power, 0.2)).verdict == "undecided"


def test_what_is_judged_is_the_approach():
    late = TIME >= TIME[np.flatnonzero(LOGISTIC > 0.5)[0]]
    found = relaxation(TIME, LOGISTIC)
    np.testing.assert_array_equal(found.power.fitter.steps, TIME[late])
    with pytest.raises(InputError, match="judged by 15 points; there are"):
        relaxation(TIME[:80], noisy(TIME[:80] ** 2))


def two_laws(ahead: float = 12.0, span: float = 12.0, lowest: float = 0.5) -> Relaxation:
    """A power law over ten points, the last but one of which is seen above noise, and an exponential behind it."""
    steps = np.linspace(1.0, 1.0 + (span - 1.0) * 9 / 8, 10)  # the origin is 0
    left = np.append(np.full(9, 0.031), 0.029)
    power = SimpleNamespace(
        fitter=SimpleNamespace(steps=steps), plateau=0.8, noise=0.01, first_step=1.0, shapes={"time": 1.0},
        predict=lambda at: 0.8 - left, aicc=100.0, interval=lambda name: (lowest, 9.0),
    )  # fmt: skip
    return Relaxation(power, SimpleNamespace(aicc=100.0 + ahead))


@pytest.mark.parametrize(
    "change, verdict",
    [
        ({}, "power_law"),
        ({"ahead": 10.5, "span": 10.5}, "power_law"),
        ({"ahead": 9.5}, "undecided"),
        ({"span": 9.5}, "undecided"),
        ({"ahead": 1.5, "lowest": 3.1}, "exponential"),
        ({"ahead": 2.5, "lowest": 3.1}, "undecided"),
        ({"ahead": 1.5, "lowest": 2.9}, "undecided"),
    ],
)
def test_verdicts_on_approaches_have_the_limits_of_the_docs(change, verdict):
    assert two_laws(**change).verdict == verdict


def test_a_span_ends_with_the_last_point_above_noise():
    found = two_laws(span=12.0)
    assert found.span == pytest.approx(12.0) and found.ahead == 12.0
    found.power.noise = 0.02
    assert found.span == 1.0
