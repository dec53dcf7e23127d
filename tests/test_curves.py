"""When a curve passes a level: in closed form, and at the ends where there is nothing to interpolate."""

import numpy as np
import pytest

from lightning_physim.curves import NOTHING, crossing_step, values_at

STEPS = np.array([1.0, 10.0, 100.0, 1000.0])


def test_a_curve_that_rises_in_the_logarithm_of_the_step_passes_a_level_where_it_says():
    values = np.log10(STEPS)
    for level in (0.25, 1.5, 2.9):
        assert crossing_step((STEPS, values), level) == pytest.approx(10**level, rel=1e-12)


def test_only_the_last_crossing_counts():
    assert crossing_step((STEPS, np.array([0.0, 2.0, 0.0, 2.0])), 1.0) == pytest.approx(10**2.5)


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ([2.0, 3.0, 4.0, 5.0], 7.0),  # above from the first point on
        ([0.0, 1.0, 2.0, 3.0], 10.0),  # equal to the level: passed from there on
        ([0.0, 0.0, 0.0, 1.0], np.nan),  # only reached
        ([2.0, 2.0, 2.0, 0.0], np.nan),  # fallen back
    ],
)
def test_the_ends_are_as_promised(values, step):
    assert crossing_step((STEPS, np.array(values)), 1.0, if_above=7.0) == pytest.approx(step, nan_ok=True)


def test_nothing_and_step_0_have_no_crossing():
    nothing = np.zeros(0)
    assert np.isnan(crossing_step((nothing, nothing), 1.0, if_above=7.0))
    assert np.isnan(crossing_step((np.array([0.0, 1.0]), np.array([0.0, 2.0])), 1.0))
    assert np.isnan(crossing_step((STEPS, STEPS + 1), 1.0))


def test_values_at_steps_are_nan_where_there_is_none():
    curve = (np.array([1, 10, 100]), np.array([3.0, 4.0, 5.0]))
    np.testing.assert_array_equal(values_at(curve, np.array([100.0, 7.0, 1.0])), [5.0, np.nan, 3.0])
    assert np.isnan(values_at(NOTHING, np.array([1]))).all() and len(values_at(curve, np.zeros(0))) == 0
