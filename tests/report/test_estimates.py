"""The axes that estimates are shown on."""

import numpy as np
import pytest

from lightning_physim.report.estimates import Estimates, Scale
from tests.helpers.estimates import INF, NAN, estimate


def line(*rows):
    return Estimates.of(range(len(rows)), rows, [""] * len(rows))


def test_a_logarithmic_axis_reaches_to_half_of_the_smallest_that_is_known_to_be_above_zero():
    scale = Scale.of([line(estimate(8.0, mcse=0.5), estimate(0.05, mcse=0.01)), line(estimate(0.001, mcse=0.1))])
    assert scale == Scale(0.025, 9.0, log=True)
    # Where none is known, half of the smallest above zero; nothing far above counts, but for a decade.
    scale = Scale.of([line(estimate(8.0, mcse=5.0), estimate(0.5, mcse=0.4), estimate(-3.0))])
    assert scale == Scale(0.25, 18.0, log=True)
    far = {"n_dead": 1.0, "converged": 0.0}
    scale = Scale.of([line(estimate(8.0), estimate(0.5), estimate(70.0) | far, estimate(500.0) | far)])
    assert scale == Scale(0.25, 70.0, log=True)


def test_it_has_a_decade_at_least_and_four_at_most():
    assert Scale.of([line(estimate(3.0), estimate(4.0, mcse=0.5))]) == Scale(0.5, 5.0, log=True)
    rows = [estimate(mean, mcse=mean / 10) for mean in (1e-9, 1.0, 100.0)]
    scale = Scale.of([line(*rows)])
    assert scale == Scale(pytest.approx(0.012), 120.0, log=True)
    np.testing.assert_array_equal(line(*rows).within(scale), [NAN, 1.0, 100.0])


@pytest.mark.parametrize(("means", "log"), [
    ([1.0, 2.0, -3.0], True), ([1.0, -2.0], False), ([-1.0, -2.0, 0.1], False), ([0.0], False), ([NAN], False),
    ([INF], False), ([NAN, 2.0], True), ([], False),
])  # fmt: skip
def test_it_is_logarithmic_where_most_are_above_zero(means, log):
    scale = Scale.of([line(*map(estimate, means))])
    assert scale.log is log and np.isfinite([scale.low, scale.high]).all() and scale.low < scale.high
    axis = scale.axis(270)
    assert np.isfinite(axis["range"]).all() and axis["range"][0] < axis["range"][1]


def test_ticks_are_labelled_at_1_2_and_5_where_there_is_room():
    decades = Scale(0.01, 100.0, log=True)
    assert decades.axis(270)["dtick"] == "D2" and decades.axis(150)["dtick"] == 1
    assert Scale(1.0, 10.0, log=True).axis(150)["dtick"] == "D2"


def test_a_linear_axis_holds_what_it_is_told_to():
    points = line(estimate(2.1), estimate(2.6, mcse=0.15))
    assert Scale.linear([points], hold=(1.5, 4.0)) == Scale(1.5, 4.0)
    assert Scale.linear([points]) == Scale(0.0, pytest.approx(2.9))
