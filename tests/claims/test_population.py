"""The claims count the heads of one population, and call it by one name."""

import numpy as np
import pytest

from lightning_physim.claims import collision_heads_exist, growth, growth_is_power_law, growth_of_used_heads, heads
from lightning_physim.claims.plan import ROLES
from lightning_physim.claims.verdict import Study, highest
from lightning_physim.curves import NOTHING
from lightning_physim.emergence import Extrapolation, Growth, GrowthComparison
from tests.helpers.studies import STEPS, a_run


def test_claims_a_and_c_agree_on_how_many_collision_heads_are_used():
    metrics = a_run(np.random.default_rng(0))
    metrics["probe/ablation/L0H1"] = (STEPS, 0 * STEPS)  # one of four collision heads is not used
    exist = collision_heads_exist(Study({0: metrics}))
    used = growth_of_used_heads("seed 0", metrics)
    grow = growth_is_power_law(used, [], used)
    assert exist.numbers["collision heads"] == 4
    assert exist.numbers["collision heads that are used"] == grow.numbers["collision heads that are used"] == 3
    assert grow.numbers["collision heads that are used, under SGD"] == 3
    assert "collision heads" not in grow.numbers and "of 3 collision heads that are used" in grow.reason


def test_controls_are_the_worst_of_every_head_and_seed():
    rng = np.random.default_rng(1)
    seeds = {i: a_run(rng) for i in range(3)}
    steps, enrichment = seeds[1]["probe/enrichment/L0H2"]
    seeds[1]["probe/enrichment/L0H2"] = steps, np.append(2.5, enrichment[1:])  # before the first step
    seeds[2]["val/loss_colliding"] = steps[1:], np.append(np.full(len(steps) - 4, 9.0), [0.3, 0.4, 0.5])
    no_attention = {"val/loss_colliding": (steps[1:], np.full(len(steps) - 1, 2.0))}
    permuted = a_run(rng, ends=(0.12,) * 7 + (0.17,))
    study = Study(seeds, permuted={0: a_run(rng, ends=(0.12,) * 8), 2: permuted}, no_attention=no_attention)
    numbers = heads.measure(study)
    assert (numbers.seeds, numbers.with_head, numbers.heads, numbers.collision_heads) == (3, 3, 24, 12)
    assert numbers.untrained == 2.5
    assert numbers.permuted == pytest.approx(1.7, abs=0.01)
    assert numbers.loss == pytest.approx(0.4 / 2.0)  # the mean of the last three measurements of the worst seed


def test_heads_are_counted_by_what_their_growth_is_called():
    def head(run: str, verdict: str, winner: str | None) -> Growth:
        made = Growth(run, "L0H0", NOTHING)
        errors = {winner: 0.1, "constant": 0.2} if winner else {}
        found = GrowthComparison({}, {}, verdict, ""), Extrapolation(errors, 0.3, "")
        vars(made).update(zip(("comparison", "extrapolation"), found, strict=True))
        return made

    rows = [head("a", "power_law", "broken_power_law"), head("a", "logistic", "logistic"), head("b", "undecided", None)]
    rows += [head("b", "broken_power_law", "power_law"), head("b", "power_law", None)]
    found = growth.measure(rows, rows[1:4], rows[:2])
    assert (found.heads, found.decided, found.seeds, found.fraction) == (5, 4, 2, 0.75)
    assert np.isnan(found.fraction_interval).all()  # two seeds are too few
    assert found.verdicts == {"power_law": 2, "logistic": 1, "undecided": 1, "broken_power_law": 1}
    assert found.wins == {"power_law": 2, "logistic": 1} and found.rival == 1
    assert (found.losses, found.losses_power_law) == (3, 1)
    assert (found.sgd, found.sgd_decided, found.sgd_power_law) == (2, 2, 1)
    low, high = growth.measure([*rows, head("c", "power_law", None)], [], []).fraction_interval
    assert 0.0 <= low < 0.8 < high == 1.0
    nothing = growth.measure([], [], [])
    assert np.isnan(nothing.fraction) and (nothing.heads, nothing.seeds, nothing.losses, nothing.sgd) == (0, 0, 0, 0)


def test_the_interval_of_power_laws_keeps_the_heads_of_a_seed_together():
    def seed(run: str, verdict: str) -> list[Growth]:
        made = [Growth(run, f"L0H{i}", NOTHING) for i in range(8)]
        for each in made:
            vars(each).update(
                comparison=GrowthComparison({}, {}, verdict, ""), extrapolation=Extrapolation({}, 0.3, "")
            )
        return made

    rows = [*seed("a", "power_law"), *seed("b", "logistic"), *seed("c", "power_law")]
    # One draw of three seeds in 27 is of "b" alone, and eight are without it: more than the tails of an interval.
    assert growth.measure(rows, [], []).fraction_interval == (0.0, 1.0)


def test_only_sgd_is_trained_for_longer():
    assert {name: role.stretch for name, role in ROLES.items()} == {
        "sgd": 2.5, "permuted": 1.0, "interaction": 1.0, "no_attention": 1.0
    }  # fmt: skip


def test_the_worst_of_nothing_is_unknown():
    assert np.isnan(highest([])) and highest(x for x in (1.0, 3.0, 2.0)) == 3.0
