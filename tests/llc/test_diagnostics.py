"""The rule of belief at its limits: what lies on one has passed, what lies beyond has failed, and is told in words."""

import math

import pytest

from lightning_physim.llc.diagnostics import diagnose, is_far_off, virial_is_tested

GOOD = {
    "mean": 2.0, "n_dead": 0, "step_stability": 0.1, "rhat": 1.0, "ess": 500.0, "noise_ratio": 0.0, "virial": 0.0,
    "virial_mcse": 0.1,
}  # fmt: skip


@pytest.mark.parametrize(
    "quantity, passes, fails, words",
    [
        ("mean", -3.0, math.nan, "no chain survived"),
        ("n_dead", 0, 1, "1 chain diverged"),
        ("n_dead", 0, 2, "2 chains diverged"),
        ("step_stability", 1.0, 1.25, "step size 1.2 times the limit of stability"),
        ("rhat", 1.1, 1.11, "R-hat 1.11 above 1.1"),
        ("rhat_position", 1.1, 1.11, "R-hat of positions 1.11 above 1.1"),
        ("ess", 20.0, 19.0, "effective sample size 19 below 20"),
        ("noise_ratio", 0.1, 0.11, "gradient noise ratio 0.11 above 0.1"),
        (
            "virial",
            0.3,
            0.31,
            "chains hotter than what they sample, by 0.31: less step, zero_variance, or more localization",
        ),
        ("virial", -0.3, -0.31, "chains have not arrived, they lack 0.31: more burn-in and draws, or localization"),
    ],
)
def test_each_diagnostic_fails_beyond_its_limit(quantity, passes, fails, words):
    assert diagnose(GOOD | {quantity: passes}) == {}
    assert diagnose(GOOD | {quantity: fails})[quantity] == words


@pytest.mark.parametrize("sign", [1, -1])
def test_a_virial_within_three_errors_or_a_tenth_of_the_estimate_passes(sign):
    assert diagnose(GOOD | {"virial": sign * 0.6, "virial_mcse": 0.2}) == {}
    assert "virial" in diagnose(GOOD | {"virial": sign * 0.6, "virial_mcse": 0.19})
    assert diagnose(GOOD | {"mean": -6.0, "virial": sign * 0.6}) == {}  # a tenth of its size, whatever its sign
    assert "virial" in diagnose(GOOD | {"mean": -5.9, "virial": sign * 0.6})


@pytest.mark.parametrize(
    "kept, passes, fails", [(1.0, 0.06, 0.061), (0.5, 0.12, 0.121), (0.3, 0.2, 0.201), (0.0, 0.2, 0.201)]
)
def test_what_an_estimate_holds_of_the_virial_is_a_few_percent_of_it(kept, passes, fails):
    values = GOOD | {"virial_mcse": 0.01, "virial_kept": kept}
    for sign in (1, -1):
        assert diagnose(values | {"virial": sign * passes}) == {}
        assert "virial" in diagnose(values | {"virial": sign * fails})


def test_a_virial_tests_nothing_from_an_error_of_a_quarter_of_the_estimate():
    assert virial_is_tested(GOOD | {"virial_mcse": 0.5})
    assert not virial_is_tested(GOOD | {"virial_mcse": 0.51})
    assert not virial_is_tested(GOOD | {"virial": math.nan}) and not virial_is_tested({})


def test_what_was_not_logged_has_not_failed_but_for_the_mean():
    assert diagnose({"mean": 1.0}) == {}
    assert list(diagnose({})) == ["mean"]


@pytest.mark.parametrize(
    "quantity, near, far",
    [("n_dead", 0, 1), ("step_stability", 1.0, 1.01), ("noise_ratio", 0.5, 0.51), ("rhat", 2.0, 2.01)],
)
def test_far_off_begins_beyond_limits_of_its_own(quantity, near, far):
    assert not is_far_off(GOOD | {quantity: near})
    assert is_far_off(GOOD | {quantity: far})
    assert not is_far_off({})
