"""Verdicts on studies whose truth is known, and their statistics against scipy."""

import numpy as np
import pytest
from scipy import stats

from lightning_physim.claims.evidence import half_rise_step, heads_of
from lightning_physim.claims.geometry import emergence_goes_with_degeneracy, half_rises
from lightning_physim.claims.growth import emergence_has_a_potential, growth_of_used_heads
from lightning_physim.claims.heads import collision_heads_exist
from lightning_physim.claims.statistics import (
    bootstrap_within,
    holm,
    interval,
    limit_answer,
    partial_rank_correlation,
    permutation_answer,
    pooled_rank_correlation,
    t_answer,
)
from lightning_physim.claims.verdict import Study
from lightning_physim.curves import final, rise
from lightning_physim.emergence import growth_of_loss
from lightning_physim.report.claims_page import claim_html, headline
from tests.helpers.studies import LLC_STEPS, STEPS, a_run, a_study, rising

LAG = "lag of directions behind the score, median, decades (below 0 they lead)"


def test_a_pooled_correlation_of_one_group_is_spearmans():
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 10, (2, 30)).astype(float)  # ties
    assert pooled_rank_correlation([(x, y)]) == pytest.approx(stats.spearmanr(x, y).statistic)


def test_differences_between_groups_play_no_part_in_it():
    rng = np.random.default_rng(2)
    groups = [(rng.normal(size=8), rng.normal(size=8)) for _ in range(5)]
    shifted = [(x + 100 * i, np.exp(y) + 100 * i) for i, (x, y) in enumerate(groups)]
    assert pooled_rank_correlation(shifted) == pytest.approx(pooled_rank_correlation(groups))


def test_a_bootstrap_interval_of_a_mean_is_students():
    sample = np.random.default_rng(3).normal(1.0, 2.0, 60)
    lo, hi = interval(bootstrap_within(lambda groups: groups[0].mean(-1), [sample]))
    expected = stats.t.interval(0.95, 59, sample.mean(), stats.sem(sample))
    np.testing.assert_allclose((lo, hi), expected, atol=0.1)
    assert np.isnan(interval(np.array([np.nan] * 2 + [1.0] * 8))).all()


def test_rises_and_half_ways_are_those_of_closed_forms():
    curve = (STEPS, rising(STEPS, 0.1, 0.9, 300.0))
    assert final(curve) == pytest.approx(0.9, abs=2e-3)
    assert rise(curve, 3) == pytest.approx(0.8, abs=2e-3)
    assert half_rise_step(curve, 3) == pytest.approx(300.0, rel=0.02)
    assert np.isnan(half_rise_step((STEPS, -curve[1]), 3))
    assert np.isnan(rise((STEPS[:1], STEPS[:1]), 3)) and np.isnan(final((STEPS[:0], STEPS[:0])))


def test_a_half_way_is_counted_from_the_first_value():
    curve = (np.array([1.0, 10.0, 100.0]), np.array([0.0, 6.0, 8.0]))
    # Half of 8 is two thirds of the way from 0 to 6, in the logarithm of the step.
    assert half_rise_step(curve, 1) == pytest.approx(10 ** (2 / 3))
    assert half_rise_step(curve, 2) == pytest.approx(10 ** (3.5 / 6))  # half of the mean of 6 and 8
    assert np.isnan(half_rise_step((curve[0], np.array([1.0, 2.0, 1.0])), 1))  # no rise at all
    assert half_rise_step((curve[0], np.array([0.0, 0.25, 0.5])), 1) == pytest.approx(10.0)


def test_a_correlation_of_two_members_is_one_and_of_equal_ones_unknown():
    x = np.array([1.0, 2.0])
    assert pooled_rank_correlation([(x, x)]) == 1.0 and pooled_rank_correlation([(x, -x)]) == -1.0
    assert np.isnan(pooled_rank_correlation([(x, np.ones(2))]))
    # Ranks -1/2, 1/2 and -1, 0, 1 against themselves and against 0, -1, 1: (1/2 + 1) / (1/2 + 2).
    three = np.array([1.0, 2.0, 3.0]), np.array([2.0, 1.0, 3.0])
    assert pooled_rank_correlation([(x, x), three]) == pytest.approx(1.5 / 2.5)
    many = np.stack([x, -x]), np.stack([x, x])
    assert pooled_rank_correlation([many]).tolist() == [1.0, -1.0]


def test_estimates_that_fail_do_not_count():
    metrics = a_run(np.random.default_rng(4))
    metrics["llc/L0H0/converged"] = (LLC_STEPS, np.array([0.0] * 3 + [1.0] * 9))
    metrics["llc/L0H0/mean"][1][5] = np.nan
    head = heads_of(metrics)[0]
    assert head.name == "L0H0" and head.n_estimates == 12 and len(head.llc[1]) == 8
    assert head.llc[0].tolist() == np.delete(LLC_STEPS, [0, 1, 2, 5]).tolist()
    del metrics["llc/L0H0/converged"]  # where no flags were logged, every finite one counts
    assert len(heads_of(metrics)[0].llc[1]) == 11


def test_a_collision_head_that_is_not_used_is_none_that_claims_are_about():
    metrics = a_run(np.random.default_rng(5))
    assert [head.is_collision_head for head in heads_of(metrics)] == [True] * 4 + [False] * 4
    metrics["probe/ablation/L0H1"] = (STEPS, 0 * STEPS)
    assert [head.is_collision_head for head in heads_of(metrics)][:3] == [True, True, True]
    assert [head.is_used_collision_head for head in heads_of(metrics)][:3] == [True, False, True]
    del metrics["probe/ablation/L0H1"]
    assert heads_of(metrics)[1].is_used_collision_head  # where it was not measured


def test_heads_that_exist_are_found_to():
    claim = collision_heads_exist(a_study())
    assert claim.verdict == "supported", claim.reason
    assert claim.numbers["seeds with a collision head that is used"] == 5 and claim.numbers["collision heads"] == 20


@pytest.mark.parametrize(
    ("change", "verdict", "reason"),
    [
        (lambda s: {"seeds": dict(list(s.seeds.items())[:2])}, "undecided", "3 seeds"),
        (lambda s: {"seeds": dict.fromkeys(s.seeds, s.permuted[0])}, "not supported", "0 of 5"),
        (lambda s: {"permuted": {0: s.seeds[0]}}, "undecided", "permuted outcomes reach 9.3"),
        (lambda s: {"permuted": {}}, "undecided", "not measured"),
        (lambda s: {"no_attention": None}, "undecided", "not measured"),
        (lambda s: {"no_attention": {"val/loss_colliding": (STEPS, 0.3 + 0 * STEPS)}}, "undecided", "67 %"),
        (lambda s: {"seeds": s.seeds | {0: s.permuted[0], 1: s.permuted[1]}}, "undecided", "3 of 5"),
    ],
)
def test_claim_a_is_refused_where_its_rule_says_so(change, verdict, reason):
    study = a_study()
    claim = collision_heads_exist(Study(**(vars(study) | change(study))))
    assert claim.verdict == verdict and reason in claim.reason, claim.reason


def test_heads_that_rise_with_fewer_directions_at_their_own_time_are_found_to():
    claim = emergence_goes_with_degeneracy(a_study(n_directions=12.0))
    assert claim.verdict == "supported", claim.reason
    numbers = claim.numbers
    # Twelve directions over twenty, over ten, and over as many as the other heads have.
    assert numbers["directions over those on permuted outcomes, decades"] == pytest.approx(np.log10(12 / 20), abs=0.01)
    assert numbers["directions over those at initialisation, decades"] == pytest.approx(np.log10(12 / 10), abs=0.02)
    assert numbers["directions over those of other heads, decades"] == pytest.approx(0.0, abs=0.01)
    assert numbers["order"] == pytest.approx(2.0, abs=0.02) and numbers["directions, median"] == pytest.approx(12, 0.02)
    assert abs(numbers[LAG]) < 0.1 and numbers["nearness of half-rises, decades"] > 0.1
    assert numbers["share of estimates that fail"] == 0.0


@pytest.mark.parametrize(
    ("study", "verdict", "words"),
    [
        ({}, "not supported", ("more directions", ": not flatter than other heads", "own time")),
        ({"order": 2.4}, "supported", ("more directions", ": flatter than other heads", "own time")),
        ({"order": 2.4, "own_time": False}, "undecided", ("more directions", ": flatter than other heads")),
        (
            {"n_directions": 12.0, "own_time": False},
            "undecided",
            ("fewer directions", ": not flatter than other heads"),
        ),
        ({"n_seeds": 4}, "undecided", ("open", "own time")),
        ({"n_directions": 20.0}, "undecided", ("1.0", "open", ": not flatter than other heads", "own time")),
    ],
)
def test_claim_b_is_refused_where_its_rule_says_so(study, verdict, words):
    claim = emergence_goes_with_degeneracy(a_study(**study))
    assert claim.verdict == verdict and all(word in claim.reason for word in words), claim.reason
    assert ("own time" in claim.reason) == ("own time" in words)


def test_what_was_not_measured_leaves_a_question_open():
    study = a_study()
    for metrics in study.seeds.values():
        for key in [key for key in metrics if key.endswith("/localization")]:
            metrics[key] = (LLC_STEPS, np.full(12, 10_000.0))  # at c = 10 an order says nothing
    claim = emergence_goes_with_degeneracy(study)
    assert "order is nan, open, as it was measured on 0 seeds" in claim.reason and claim.verdict == "undecided"
    unpaired = emergence_goes_with_degeneracy(Study(study.seeds))
    assert unpaired.numbers["directions over those on permuted outcomes, decades, seeds"] == 0
    assert emergence_goes_with_degeneracy(Study({})).verdict == "undecided"


def test_a_head_without_any_curvature_is_left_out():
    study = a_study()
    for metrics in study.permuted.values():
        metrics["geometry/L0H0/d_eff/c0p1"] = (STEPS, 0 * STEPS)
    claim = emergence_goes_with_degeneracy(study)
    name = "directions over those on permuted outcomes, decades"
    assert claim.numbers[name] == pytest.approx(np.log10(60 / 20), abs=0.01) and claim.numbers[f"{name}, seeds"] == 5


def test_claim_b_is_undecided_where_estimates_fail():
    study = a_study()
    for metrics in study.seeds.values():
        for key in [key for key in metrics if key.endswith("converged")]:
            metrics[key] = (LLC_STEPS, np.tile([1.0, 1.0, 0.0, 1.0], 3))
    claim = emergence_goes_with_degeneracy(study)
    assert claim.verdict == "undecided" and "25 %" in claim.reason


def test_orders_are_told_beside_those_of_other_heads_and_of_permuted_outcomes():
    numbers = emergence_goes_with_degeneracy(a_study(5, order=2.4)).numbers
    assert numbers["order"] == pytest.approx(2.4, abs=0.03)
    assert numbers["order less that of other heads"] == pytest.approx(0.4, abs=0.03)
    assert numbers["order less that on permuted outcomes"] == pytest.approx(0.4, abs=0.03)
    assert numbers["order less that on permuted outcomes, seeds"] == 5


def test_an_order_is_known_where_its_estimate_is():
    metrics = a_run(np.random.default_rng(4))
    metrics["llc/L0H0/converged"] = (LLC_STEPS, np.append(np.ones(11), 0.0))
    metrics["llc/L0H0/order_lo"][1][3] = np.nan  # an estimate that is not above three errors
    metrics["llc/L0H0/localization"][1][5] = 1001.0
    assert heads_of(metrics)[0].order[0].tolist() == np.delete(LLC_STEPS, [3, 5, 11]).tolist()


def test_half_rises_look_at_a_part_of_the_run():
    metrics = a_run(np.random.default_rng(6))
    metrics["probe/partner_score/L0H1"] = (STEPS, np.full(len(STEPS), 0.5))  # no rise
    heads = heads_of(metrics)[:3]
    whole, early = half_rises(heads), half_rises(heads, 0.01)
    assert whole.shape == (2, 2) and (np.abs(whole[:, 0] - whole[:, 1]) < 0.05).all()
    assert (early < 2.0).all()  # within the first hundred steps


def test_timing_by_permutation_is_right_as_often_as_it_says():
    rng = np.random.default_rng(7)
    p = [permutation_answer([rng.normal(size=(4, 2)) for _ in range(5)], seed).p for seed in range(100)]
    assert stats.kstest(p, "uniform").pvalue > 0.01
    own = [np.repeat(rng.normal(size=(4, 1)), 2, 1) for _ in range(5)]
    assert permutation_answer(own).p < 1e-3 and permutation_answer([own[0][:1]]).n == 0
    # Two rows, two orders: 0 and 2 apart in place, and 1 on average over both orders.
    two = permutation_answer([np.array([[0.0, 0.0], [2.0, 2.0]])])
    assert two.effect == 1.0 and two.p == pytest.approx(0.5, abs=0.02)


def test_a_t_answer_is_students():
    values = np.random.default_rng(8).normal(0.3, 1.0, 9)
    found = t_answer([*values, float("nan")], 0.1)
    expected = stats.ttest_1samp(values, 0.1)
    assert (found.n, found.effect, found.p) == (9, values.mean(), expected.pvalue)
    assert found.interval == pytest.approx(stats.t.interval(0.95, 8, values.mean(), stats.sem(values)))
    few = t_answer(values[:4])
    assert few.n == 4 and few.effect == pytest.approx(values[:4].mean()) and np.isnan([few.p, *few.interval]).all()


def test_holms_p_values_are_those_of_statsmodels():
    # statsmodels.stats.multitest.multipletests([0.04, 0.01, 0.03], method="holm") gives 0.06, 0.03, 0.06.
    assert holm({"a": 0.04, "b": 0.01, "c": 0.03}) == pytest.approx({"a": 0.06, "b": 0.03, "c": 0.06})
    assert holm({"a": float("nan"), "b": 0.5, "c": 0.01}) == pytest.approx({"a": 1.0, "b": 1.0, "c": 0.03})


def test_a_mean_is_tested_on_both_sides_of_a_limit():
    values = np.random.default_rng(9).normal(0.0, 0.2, 9)
    for shift, side in ((0.5, "greater"), (-0.5, "less")):
        found, is_above = limit_answer([*(values + shift), float("nan")], 0.1)
        assert is_above == (side == "greater") and found.n == 9
        assert found.p == pytest.approx(2 * stats.ttest_1samp(values + shift, 0.1, alternative=side).pvalue)
        assert found.interval == t_answer(values + shift).interval
    assert np.isnan(limit_answer(values[:4], 0.1)[0].p)


def test_a_partial_correlation_takes_out_what_the_third_decides():
    rng = np.random.default_rng(10)
    groups = [rng.normal(size=(400, 3)) for _ in range(2)]
    for group in groups:
        group[:, 0] += 2 * group[:, 2]
        group[:, 1] += 2 * group[:, 2]
    raw = pooled_rank_correlation([(group[:, 0], group[:, 1]) for group in groups])
    assert raw > 0.6 and abs(partial_rank_correlation(groups)) < 0.15
    same = groups[0][:, [0, 1, 1]]
    assert np.isnan(partial_rank_correlation([same]))


def test_the_correlation_of_unrelated_quantities_is_rarely_far_from_zero():
    """The interval covers zero as often as it says, for heads whose LLC has nothing to do with their score."""
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(200):
        tables = [rng.normal(size=(8, 2)) for _ in range(5)]
        samples = bootstrap_within(lambda t: pooled_rank_correlation([(g[..., 0], g[..., 1]) for g in t]), tables)
        lo, hi = interval(samples)
        covered += lo <= 0 <= hi
    assert stats.binomtest(covered, 200, 0.95).pvalue > 0.01, covered


def test_the_growth_of_a_run_is_that_of_its_collision_heads_and_of_its_falling_loss():
    metrics = a_run(np.random.default_rng(8))
    noise = np.random.default_rng(9).normal(0, 0.003, len(STEPS) - 1)
    metrics["val/loss_colliding"] = (STEPS[1:], 0.2 + 2.0 * np.exp(-STEPS[1:] / 1000) + noise)
    assert [growth.name for growth in growth_of_used_heads("a", metrics)] == ["L0H0", "L0H1", "L0H2", "L0H3"]
    loss = growth_of_loss(metrics, "a")
    assert loss.comparison.verdict == "exponential" and not loss.is_power_law
    assert growth_of_loss({}, "a") is None


def test_claims_that_nothing_was_trained_for_are_no_verdicts():
    claims = [judge(Study({})) for judge in (collision_heads_exist, emergence_goes_with_degeneracy)]
    claims.append(emergence_has_a_potential(Study({})))
    assert not any(claim.asked for claim in claims) and headline(claims) == "Nothing has been measured yet."
    claims[0] = collision_heads_exist(a_study(3))
    assert headline(claims) == "The paper’s claims here: (a) supported."
    assert "not asked" in claim_html("b", claims[1]) and "not asked" not in claim_html("a", claims[0])
