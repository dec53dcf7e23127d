"""The marks that stand for estimates: hollow, at the edge, or with bars; and what they say under the pointer."""

import re

import numpy as np
import pytest

from lightning_physim.llc import LLCResult, RegionResult, diagnose
from lightning_physim.report import llc_figure
from lightning_physim.report.estimates import Estimates
from lightning_physim.report.style import head_style
from tests.helpers.estimates import ESTIMATES, INF, NAN, STEPS, as_metrics, drawn, estimate, hollow


def test_bands_are_two_standard_errors_and_stop_where_there_is_no_estimate():
    figure = llc_figure(as_metrics())
    band = drawn(figure, "L0H1", "fill")
    assert band.x.tolist() == [*STEPS, *STEPS[::-1]]
    floor = 10 ** figure.layout.yaxis.range[0]
    assert 0.1 < floor < 0.15  # the band ends there, and the smallest estimate above zero, 0.3, is on the axis
    np.testing.assert_allclose(band.y, [floor, 0.8, 5.2, 9.0, 11.0, 6.8, 1.2, 0.5])
    assert re.fullmatch(r"rgba\(\d+, \d+, \d+, 0\.1\d?\)", band.fillcolor) and band.line.width == 0
    # A head without two neighbouring estimates has no band, but bars.
    assert not [trace for trace in figure.data if trace.name == "L1H0" and trace.fill]
    np.testing.assert_allclose(drawn(figure, "L1H0", "markers").error_y.array, [0.2, 0, 0.2, 0])
    assert drawn(figure, "L0H1", "markers").error_y.array is None


def test_failed_estimates_are_hollow_and_say_why():
    figure = llc_figure(as_metrics())
    assert hollow(drawn(figure, "L0H0", "markers")) == [False, False, False, True]
    assert hollow(drawn(figure, "L0H1", "markers")) == [False] * 4
    markers = drawn(figure, "L0H0", "markers")
    assert set(markers.marker.line.color.split()) == {head_style("L0H0")[0]}
    assert markers.hovertext[1] == "LLC -0.4 ± 0.1 (standard error)"
    assert markers.hovertext[3].endswith("failed: R-hat 1.30 above 1.1")
    # None and far-off estimates keep a place of their own, and do not flatten the others.
    markers = drawn(figure, "L1H0", "markers")
    low, high = 10 ** np.array(figure.layout.yaxis.range)
    assert list(markers.marker.symbol) == ["circle", "x", "circle", "triangle-up"]
    assert hollow(markers) == [False, True, False, True]
    assert 10 < markers.y[3] < high < 15 and low < markers.y[1] < 0.2
    assert markers.hovertext[1].endswith("no finite value, failed: no chain survived; 4 chains diverged")
    assert "500 ± 90" in markers.hovertext[3]
    assert markers.hovertext[3].endswith("failed: 1 chain diverged; step size 1.3 times the limit of stability")
    np.testing.assert_array_equal(drawn(figure, "L1H0", "lines").y, [0.3, NAN, 0.4, NAN])


def test_an_estimate_at_or_below_zero_stands_at_the_floor_with_a_bar_up_to_what_it_may_be():
    rows = {
        "L0H0": [estimate(3.0), estimate(-0.4, mcse=0.1), estimate(5.0), estimate(-0.1, mcse=0.5, converged=0.0)],
        "L0H1": [estimate(0.3, mcse=0.01), estimate(-0.2, mcse=0.3), estimate(0.1, mcse=0.2), estimate(1.0)],
    }
    figure = llc_figure(as_metrics(rows))
    scale = 10 ** np.array(figure.layout.yaxis.range)
    markers = {head: drawn(figure, head, "markers") for head in rows}
    assert list(markers["L0H0"].marker.symbol) == ["circle", "triangle-down"] * 2
    assert list(markers["L0H1"].marker.symbol) == ["circle", "triangle-down", "triangle-down", "circle"]
    assert hollow(markers["L0H0"]) == [False, False, False, True] and hollow(markers["L0H1"]) == [False] * 4
    floor = markers["L0H1"].y[1]
    assert floor == pytest.approx(0.15) and scale[0] < floor == markers["L0H0"].y[3]
    # Bars of L0H0: its two that stand alone, and none of the one that failed. Of L0H1: up to 0.4 and 0.5, none down.
    np.testing.assert_allclose(markers["L0H0"].error_y.array, [0.2, 0, 0.2, 0])
    np.testing.assert_allclose(markers["L0H1"].error_y.array, [0.02, 0.4 - floor, 0.5 - floor, 0.2])
    np.testing.assert_allclose(markers["L0H1"].error_y.arrayminus, [0.02, 0, 0, 0.2])
    # They do not hide each other, and the lines have gaps there.
    assert markers["L0H0"].x[1] != markers["L0H1"].x[1] and markers["L0H0"].x[0] == markers["L0H1"].x[0] == STEPS[0]
    np.testing.assert_array_equal(drawn(figure, "L0H1", "lines").y, [0.3, NAN, NAN, 1.0])
    assert "LLC -0.2 ± 0.3" in markers["L0H1"].hovertext[1]


def test_nothing_failed_leaves_hollow_markers_unexplained():
    figure = llc_figure(as_metrics({"L0H1": ESTIMATES["L0H1"]}))
    assert "failed a diagnostic" not in [trace.name for trace in figure.data]


def test_estimates_that_fail_by_little_have_their_place():
    """However many there are, and however far they rise above those that pass."""
    rows = [estimate(3.0), *(estimate(mean, noise_ratio=0.12, converged=0.0) for mean in (2.0, 15.0, 30.0))]
    figure = llc_figure(as_metrics({"model": rows}, scores={}))
    markers = drawn(figure, "whole model", "markers", "y")
    assert hollow(markers) == [False, True, True, True] and set(markers.marker.symbol) == {"circle"}
    assert markers.y.tolist() == drawn(figure, "whole model", "lines", "y").y.tolist() == [3.0, 2.0, 15.0, 30.0]
    for gross in ({"noise_ratio": 3.0}, {"rhat": 4.0}, {"n_dead": 1.0}, {"step_stability": 1.1}):
        figure = llc_figure(as_metrics({"model": [*rows[:3], estimate(800.0, converged=0.0) | gross]}, scores={}))
        assert list(drawn(figure, "whole model", "markers", "y").marker.symbol) == ["circle"] * 3 + ["triangle-up"]
        assert 10 ** figure.layout.yaxis.range[1] < 50


@pytest.mark.parametrize("mean", [NAN, INF, -INF])
def test_estimates_without_a_finite_value_are_marked(mean):
    figure = llc_figure(as_metrics({"L0H1": [estimate(0.3), estimate(mean), estimate(0.5), estimate(0.7, mcse=INF)]}))
    markers = drawn(figure, "L0H1", "markers")
    assert hollow(markers) == [False, True, False, False]
    assert markers.marker.symbol[1] == {NAN: "x", INF: "triangle-up", -INF: "triangle-down"}.get(mean, "x")
    assert np.isfinite(markers.y).all() and np.isfinite(figure.layout.yaxis.range).all()
    assert markers.hovertext[1].endswith("failed: no chain survived")


@pytest.mark.parametrize(
    ("quantity", "changes"),
    [
        ("n_dead", {"n_dead": 1.0}),
        ("step_stability", {"step_stability": 1.5}),
        ("rhat", {"rhat": 1.2}),
        ("ess", {"ess": 10.0}),
        ("noise_ratio", {"noise_ratio": 0.3}),
        ("virial", {"virial": 2.0, "virial_mcse": 0.1}),
        ("mean", {"mean": NAN}),
    ],
)
def test_whatever_refuses_an_estimate_is_logged_and_told_on_the_page(quantity, changes):
    values = dict.fromkeys(RegionResult.__dataclass_fields__, 0.0) | {"mean": 1.0, "trace": [0, 0], "ess": 100.0}
    sound, refused = RegionResult(**values), RegionResult(**(values | changes))
    assert sound.converged and list(refused.failures) == [quantity]
    rows = [{key: [value] for key, value in LLCResult(model=result).metrics().items()} for result in (sound, refused)]
    metrics = {key: (np.array([10, 100]), np.array(rows[0][key] + rows[1][key], dtype=float)) for key in rows[0]}
    markers = drawn(llc_figure(metrics), "whole model", "markers", "y")
    assert "failed" not in markers.hovertext[0]
    assert markers.hovertext[1].endswith(f"failed: {refused.failures[quantity]}")


def test_a_row_of_which_nothing_was_logged_has_failed_in_nothing_but_its_mean():
    assert list(diagnose({})) == ["mean"] and diagnose({"mean": 1.0, "rhat": NAN}) == {}


def test_the_pointer_tells_the_walk_that_an_estimate_must_differ_from():
    row = {"mean": 2.0, "mcse": 0.1, "rhat": 1.0, "ess": 50.0}
    told, silent = Estimates.of([1, 2], [row | {"walk": 3.21}, row], ["a", "b"]).hover
    assert told.endswith("<br>a walk without the loss would give 3.21") and "walk" not in silent
