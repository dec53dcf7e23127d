"""The growth of the heads of a run, from its metrics."""

import numpy as np
import pytest

from lightning_physim import keys
from lightning_physim.emergence import fit_power_law, growth_of_collision_heads, growth_of_head, growth_of_loss
from tests.helpers.growth import CURVES, STEPS, correlated

NOISE = correlated(np.random.default_rng(3), 0.0, 0.004)


def test_the_growth_of_a_head_is_that_of_its_finite_partner_scores():
    score = CURVES["power_law"] + NOISE
    holes = score.copy()
    holes[[2, 7]] = np.nan
    metrics = {keys.PARTNER_SCORE.of(head="L0H1"): (STEPS, holes)}
    growth = growth_of_head(metrics, "L0H1", "a run")
    assert (growth.run, growth.name) == ("a run", "L0H1")
    kept = np.isfinite(holes)
    assert np.array_equal(growth.curve[0], STEPS[kept]) and np.array_equal(growth.curve[1], score[kept])
    fit = fit_power_law(*growth.curve)
    assert growth.verdict == "power_law" and growth.is_decided and growth.is_power_law
    assert growth.fit is not None and growth.fit.exponent == fit.exponent
    assert growth.text == f"power law, α {fit.exponent:.2g}"
    steps, values = growth.line(7)
    assert len(steps) == 7 and (steps[0], steps[-1]) == pytest.approx((fit.steps[0], fit.steps[-1]))
    np.testing.assert_allclose(values, fit.predict(steps))
    assert growth.extrapolation.winner is not None
    assert not len(growth_of_head(metrics, "L9H9").curve[0])


def test_another_law_is_told_by_its_name_and_has_no_line():
    metrics = {keys.PARTNER_SCORE.of(head="L0H1"): (STEPS, CURVES["logistic"] + NOISE)}
    growth = growth_of_head(metrics, "L0H1")
    assert growth.verdict == "logistic" and growth.is_decided and not growth.is_power_law
    assert growth.text == "logistic" and growth.line() is None


def test_what_is_too_short_has_no_law_and_no_fit():
    metrics = {keys.PARTNER_SCORE.of(head="L0H1"): (STEPS[:5], CURVES["logistic"][:5])}
    growth = growth_of_head(metrics, "L0H1")
    assert not growth.is_decided and growth.fit is None and growth.line() is None and growth.text == "undecided"


def test_collision_heads_alone_have_a_growth_and_the_loss_is_turned_about():
    metrics = {}
    for head, top in (("L0H0", 9.0), ("L0H1", 2.0)):
        metrics[keys.ENRICHMENT.of(head=head)] = (STEPS, np.full(len(STEPS), top))
        metrics[keys.PARTNER_SCORE.of(head=head)] = (STEPS, 0.1 * CURVES["logistic"])
    assert list(growth_of_collision_heads(metrics, "a")) == ["L0H0"]
    assert growth_of_loss(metrics) is None
    metrics[keys.VAL_LOSS_COLLIDING] = (STEPS, 2 - CURVES["exponential"] + NOISE)
    growth = growth_of_loss(metrics, "a")
    assert growth is not None and (growth.run, growth.name, growth.verdict) == ("a", "loss", "exponential")
