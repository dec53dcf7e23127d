"""Forecasts: a damped trend, worked out by hand and by scipy."""

import numpy as np
import pytest
from scipy import stats

from lightning_physim.emergence import STRONG, WEAK, Creep, flattened, forecast, trend
from lightning_physim.errors import InputError

STEPS = np.unique(np.geomspace(1, 3000, 70).round())
RISING = 0.1 + 0.6 / (1 + (STEPS / 500) ** -2.0)
LOW = 0.1 + 0.4 * (RISING - 0.1)


def by_hand(values: np.ndarray, at: float, creep: Creep) -> np.ndarray:
    """Middle and ends for ``STEPS``."""
    recent = np.arange(len(STEPS)) >= len(STEPS) - 5  # four of them within 0.2 decades
    line = stats.linregress(np.log(STEPS[recent]), values[recent])
    now, e_folds = line.intercept + line.slope * np.log(STEPS[-1]), np.log(at / STEPS[-1])
    reach = (1 - np.exp(-2 * e_folds)) / 2
    middle = now + (creep.drift + creep.damping * line.slope) * reach
    error = np.sqrt(e_folds**2 + 0.25 + (20 * line.slope * reach) ** 2)
    return np.clip(middle + np.array([0.0, creep.lo, creep.hi]) * error, 0, 1)


@pytest.mark.parametrize("values, creep", [(RISING, STRONG), (LOW, WEAK)])
def test_it_is_the_formula_of_the_docs(values, creep):
    for at in (3001.0, 6000.0, 20_000.0):
        ahead = forecast(STEPS, values, at)
        np.testing.assert_allclose([ahead.value[0], ahead.lo[0], ahead.hi[0]], by_hand(values, at, creep), rtol=1e-9)
    both = forecast(STEPS, values, [3001.0, 6000.0])
    assert both.hi[1] == forecast(STEPS, values, 6000.0).hi[0] and (both.lo < both.value).all()


def test_its_numbers_are_those_of_the_docs():
    assert (WEAK, STRONG) == (Creep(-0.077, 1.527, -0.122, 0.12), Creep(0.021, 0.74, -0.065, 0.064))


def test_a_head_is_strong_from_five_times_its_baseline_on():
    for level, creep in ((0.501, STRONG), (0.499, WEAK)):
        flat = np.where(STEPS < 300, 0.1, level)
        np.testing.assert_allclose(forecast(STEPS, flat, 6000.0).hi, by_hand(flat, 6000.0, creep)[2], rtol=1e-9)


def test_only_the_last_points_make_the_trend():
    fine = np.geomspace(100, 3000, 296)  # 200 a decade: 40 intervals in 0.2 decades
    one_out = np.where(np.arange(296) == 296 - 42, 9.0, np.log(fine))
    assert trend(fine, one_out)[1] == pytest.approx(1)
    assert trend(fine, np.where(np.arange(296) == 296 - 38, 9.0, np.log(fine)))[1] != pytest.approx(1, abs=0.1)
    changed = np.where(STEPS < STEPS[-1] / 10**0.21, RISING - 0.01, RISING)
    assert trend(STEPS, changed) == trend(STEPS, RISING)
    coarse = np.geomspace(1, 3000, 12)
    now, slope = trend(coarse, np.log(coarse))  # five points, though they span more than 0.2 decades
    assert now == pytest.approx(np.log(3000)) and slope == pytest.approx(1)
    bent = np.where(np.arange(12) < 7, 9.0, np.log(coarse))
    assert trend(coarse, bent)[1] == pytest.approx(1)
    assert trend(coarse, np.where(np.arange(12) < 8, 9.0, np.log(coarse)))[1] != pytest.approx(1, abs=0.1)


def test_a_trend_goes_on_as_it_is_at_first_and_comes_to_half_an_e_fold():
    assert flattened(np.array([1e-6, 50.0])) == pytest.approx([1e-6, 0.5])
    assert flattened(np.array(0.5)) == pytest.approx(0.5 * (1 - 1 / np.e))


def test_the_middle_of_a_strong_head_is_never_below_where_it_stands_and_that_of_a_weak_one_may_be():
    for values, falls in ((RISING, False), (LOW, True)):
        fallen = values - 0.5 * np.maximum(np.log(STEPS / 2500), 0)
        ahead, (now, slope) = forecast(STEPS, fallen, 6000.0), trend(STEPS, fallen)
        assert slope < 0 and (ahead.value[0] < now) == falls and (falls or ahead.value[0] == now)
        assert ahead.lo[0] < ahead.value[0] <= ahead.hi[0]


def test_a_forecast_stays_between_nothing_and_the_ceiling_in_any_units():
    steep = np.minimum(RISING + 0.3, 0.97)
    ahead = forecast(STEPS, steep, 20_000.0)
    assert ahead.hi[0] == 1.0
    tens = forecast(STEPS, 10 * steep, 20_000.0, ceiling=10.0)
    np.testing.assert_allclose([tens.value, tens.lo, tens.hi], 10 * np.array([ahead.value, ahead.lo, ahead.hi]))
    low = np.where(STEPS < 100, 0.01, 0.12)
    assert forecast(STEPS, low, 30_000.0).lo[0] == 0.0


def test_what_cannot_be_forecast_is_refused():
    with pytest.raises(InputError, match="after the last, 3000; got 3000"):
        forecast(STEPS, RISING, [3000.0, 6000.0])
    with pytest.raises(InputError, match="to 12 times the last step, 3000; got 36001"):
        forecast(STEPS, RISING, 36_001.0)
    assert forecast(STEPS, RISING, 36_000.0).value > 0
    with pytest.raises(InputError, match="has not left its baseline for good"):
        forecast(STEPS, np.full(len(STEPS), 0.1), 6000.0)
    with pytest.raises(InputError, match="has not left its baseline"):
        forecast(STEPS, RISING, 6000.0, ceiling=20.0)
