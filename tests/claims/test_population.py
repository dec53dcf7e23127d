"""The claims count the heads of one population, and call it by one name."""

import numpy as np

from lightning_physim.claims import collision_heads_exist, growth_is_power_law, growth_of_used_heads
from lightning_physim.claims.verdict import Study
from tests.helpers.studies import STEPS, a_run


def test_claims_a_and_c_agree_on_how_many_collision_heads_are_used():
    metrics = a_run(np.random.default_rng(0))
    metrics["probe/ablation/L0H1"] = (STEPS, 0 * STEPS)  # one of four collision heads is not used
    exist = collision_heads_exist(Study({"seed 0": metrics}))
    heads = growth_of_used_heads("seed 0", metrics)
    grow = growth_is_power_law(heads, [], heads)
    assert exist.numbers["collision heads"] == 4
    assert exist.numbers["collision heads that are used"] == grow.numbers["collision heads that are used"] == 3
    assert grow.numbers["collision heads that are used, under SGD"] == 3
    assert "collision heads" not in grow.numbers and "of 3 collision heads that are used" in grow.reason
