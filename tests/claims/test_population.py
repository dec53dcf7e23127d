"""The claims count the heads of one population, and call it by one name."""

import numpy as np
import pytest

from lightning_physim.claims import heads
from lightning_physim.claims.plan import ROLES
from lightning_physim.claims.verdict import Study, highest
from tests.helpers.studies import a_run


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


def test_only_gradient_flow_is_trained_for_longer():
    assert {name: role.stretch for name, role in ROLES.items() if role.claims == "ab"} == {
        "permuted": 1.0, "interaction": 1.0, "no_attention": 1.0
    }  # fmt: skip
    ends = {name: 3000 * ROLES[name].stretch * ROLES[name].time for name in ("flow", "flow_fine")}
    assert ends == {"flow": pytest.approx(960), "flow_fine": pytest.approx(320)}


def test_the_time_of_a_role_is_what_its_options_make():
    for name in ("flow", "flow_fine"):
        words = dict(option.split("=") for option in ROLES[name].options)
        assert ROLES[name].time == float(words["--model.lr"]) / int(words["--model.stages"])
    assert np.isnan(ROLES["permuted"].time)


def test_the_worst_of_nothing_is_unknown():
    assert np.isnan(highest([])) and highest(x for x in (1.0, 3.0, 2.0)) == 3.0
