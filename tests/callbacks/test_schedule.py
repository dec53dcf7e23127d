import math

import pytest

from lightning_physim import callbacks
from lightning_physim.callbacks import LogSchedule
from lightning_physim.errors import InputError
from lightning_physim.llc import SGLDConfig
from tests.helpers.defaults import defaults


@pytest.mark.parametrize("every", [1, 2, 3])
def test_due_is_membership_in_the_steps_of_the_definition(every):
    for per_decade in range(1, 61):
        schedule = LogSchedule(per_decade, every)
        steps = sorted({round(10 ** (i / per_decade)) for i in range(0, 4 * per_decade, every)} & set(range(1001)))
        assert [step for step in range(-1, 1001) if schedule.due(step)] == steps, per_decade
        assert schedule.steps(1000) == steps, per_decade
        for last in (0, 1, 2, 9, 10, 11):
            assert schedule.steps(last) == [step for step in steps if step <= last]


def test_steps_are_evenly_spaced_in_the_logarithm():
    steps = LogSchedule(10).steps(10**6)
    late = [step for step in steps if step >= 1000]
    assert len(late) == 31 and late[0] == 1000 and late[-1] == 10**6
    assert all(abs(math.log10(b / a) - 0.1) < 1e-3 for a, b in zip(late, late[1:], strict=False))


@pytest.mark.parametrize("per_decade, every", [(20, 2), (6, 4), (8, 3)])
def test_every_so_many_steps_of_a_schedule_are_steps_of_it(per_decade, every):
    sparse, exponents = LogSchedule(per_decade, every), range(0, 5 * per_decade, every)
    assert sparse.steps(20_000) == [step for step in range(20_001) if sparse.due(step)]
    wanted = {round(10 ** (i / per_decade)) for i in exponents}
    assert set(sparse.steps(20_000)) == {step for step in wanted if step <= 20_000}
    assert set(sparse.steps(20_000)) <= set(LogSchedule(per_decade).steps(20_000))


def test_the_start_is_not_a_step_and_the_first_step_is():
    assert not LogSchedule(5).due(0) and LogSchedule(5).due(1)


def test_an_empty_schedule_is_refused():
    with pytest.raises(InputError, match="steps_per_decade must be at least 1; got 0"):
        LogSchedule(0)


NETWORK_SGLD = SGLDConfig(
    n_beta=1000.0, step_size=0.8, localization=1000.0, n_chains=3, n_draws=48, doublings=2, n_burn_in=32,
    batch_size=64, preconditioner="curvature", integrator="baoab", control_variate=True,
    zero_variance=True, about="centre", seed=0,
)  # fmt: skip


@pytest.mark.parametrize(
    "callback, expected",
    [
        ("CollisionProbe", {"radius": 1.5, "n_states": 256, "steps_per_decade": 20, "max_distance": 8.0, "n_bins": 32,
                            "ablation_every": 2}),
        ("EmergenceMonitor", {"score": "probe/partner_score/", "ceiling": 1.0, "steps_per_decade": 4}),
        ("Geometry", {"n_states": 32, "steps_per_decade": 4, "every": 2, "residual_fn": None, "data": None,
                      "regions": None}),
        ("LearningCoefficient", {"sgld": NETWORK_SGLD, "n_samples": 512, "steps_per_decade": 4, "first_step": 18,
                                 "steps": None, "max_overhead": None, "loss_fn": None, "residual_fn": None,
                                 "data": None, "regions": None, "whole_model": False}),
        ("LogSpacedCheckpoint", {"dirpath": None, "steps_per_decade": 4, "rolling_steps": 500}),
        ("LogSpacedValidation", {"steps_per_decade": 8}),
        ("Safeguard", {"allow_nan": False}),
        ("Snapshots", {"n_states": 4, "n_rollouts": 2, "radius": 1.5, "steps_per_decade": 8}),
        ("StepProgressBar", {"refresh_every": 20}),
        ("TrainingClock", {"steps_per_decade": 8}),
    ],
)  # fmt: skip
def test_defaults(callback, expected):
    assert defaults(getattr(callbacks, callback)) == expected
