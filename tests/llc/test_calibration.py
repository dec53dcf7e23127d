"""Which setting calibration recommends, of estimates that are given to it."""

from dataclasses import fields

import pytest
import torch
from torch import nn

from lightning_physim.llc import SGLDConfig, calibrate, calibration
from lightning_physim.llc.result import RegionResult

QUANTITIES = {
    "region": "", "n_parameters": 1, "n_beta": 1.0, "localization": 0.0, "step_size": 1e-3, "loss": 0.0,
    "about": "centre", "trace": torch.zeros(1, 1), "n_dead": 0, "rhat": 1.0, "ess": 500.0,
}  # fmt: skip


def result(region: str, mean: float, mcse: float = 0.0, rhat: float = 1.0) -> RegionResult:
    rest = {field.name: 0.0 for field in fields(RegionResult)}
    return RegionResult(**rest | QUANTITIES | {"region": region, "mean": mean, "mcse": mcse, "rhat": rhat})


@pytest.fixture
def recommended(monkeypatch):
    """``recommended(estimate, regions, **axes)``: what ``calibrate`` says where ``estimate(job)`` is the sampler."""

    def run(estimate, regions=("model",), **axes):
        monkeypatch.setattr(calibration, "sample", lambda objective, jobs, *_: ([estimate(job) for job in jobs], 0.0))
        config = SGLDConfig(n_beta=10.0, localization=6.0)
        module = nn.Linear(1, 1)
        return calibrate(
            module, lambda m, batch: m(batch[0]).square().mean(), (torch.ones(4, 1),), dict.fromkeys(regions), config,
            **axes,
        )  # fmt: skip

    return run


def test_the_grid_is_a_third_one_and_three_times_each_setting(recommended):
    found = recommended(lambda job: result("model", 1.0))
    assert [pytest.approx(axis) for axis in ([1 / 3, 1, 3], [10 / 3, 10, 30], [2, 6, 18])] == list(found.axes)
    assert len(found.results) == 27
    # All agree: of equals the one in the middle.
    assert found.settings() == {"step_factor": 1.0, "n_beta": 10.0, "localization": 6.0}
    columns, rows = found.table()
    assert [row[-1] for row in rows].count(True) == 1 and all(len(row) == len(columns) for row in rows)


def test_a_plateau_is_of_neighbours_that_agree_within_a_tenth_or_the_error_of_the_difference(recommended):
    means = {1.0: 1.0, 2.0: 1.1, 3.0: 1.21, 4.0: 1.33, 5.0: 1.46}
    line = {"n_betas": list(means), "localizations": [0.0], "step_factors": [1.0]}
    # A tenth of the centre: 1.0 reaches 1.1; 1.33 reaches 1.21 and 1.46 (9 and 9.8 %); 1.1 reaches both its neighbours.
    found = recommended(lambda job: result("model", means[job.n_beta]), **line)
    assert found.settings()["n_beta"] == 3.0  # as many as at 4, and nearer to the middle
    steep = {1.0: 1.0, 2.0: 1.2, 3.0: 1.4, 4.0: 1.63, 5.0: 1.64}
    found = recommended(lambda job: result("model", steep[job.n_beta]), **line)
    assert found.settings()["n_beta"] == 4.0
    # Errors of 0.15 each: differences up to 0.21 are none.
    found = recommended(lambda job: result("model", steep[job.n_beta], 0.15), **line)
    assert found.settings()["n_beta"] == 2.0
    jump = {1.0: 1.0, 2.0: 1.3, 3.0: 1.0, 4.0: 1.0, 5.0: 1.0}
    found = recommended(lambda job: result("model", jump[job.n_beta]), **line)
    assert found.settings()["n_beta"] == 3.0  # nothing is reached across the second


def test_settings_that_fail_their_diagnostics_are_on_no_plateau(recommended):
    line = {"n_betas": [1.0, 2.0, 3.0, 4.0, 5.0], "localizations": [0.0], "step_factors": [1.0]}
    found = recommended(lambda job: result("model", 1.0, rhat=1.5 if 2 < job.n_beta < 4 else 1.0), **line)
    assert found.settings()["n_beta"] == 2.0
    found = recommended(lambda job: result("model", 1.0, rhat=1.5), **line)
    assert found.recommended is None and found.settings() == {}
    assert not any(row[-1] for row in found.table()[1])


def test_regions_have_their_say_together(recommended):
    line = {"n_betas": [1.0, 2.0, 3.0], "localizations": [0.0], "step_factors": [1.0]}

    def estimate(job):
        # "a" agrees at 2 and 3; "b" passes at 3 alone, "c" at 1 and 2 without agreeing.
        name = job.region.name
        mean = {"a": {1.0: 5.0}, "c": {1.0: 9.0}}.get(name, {}).get(job.n_beta, 1.0)
        fails = (name == "b" and job.n_beta < 3) or (name == "c" and job.n_beta > 2)
        return result(name, mean, rhat=1.5 if fails else 1.0)

    # Sizes: at 1: 1 + 0 + 1, at 2: 2 + 0 + 1, at 3: 2 + 1 + 0: equal, and 2 is the middle.
    assert recommended(estimate, ("a", "b", "c"), **line).settings()["n_beta"] == 2.0
    assert recommended(estimate, ("a", "b"), **line).settings()["n_beta"] == 3.0


@pytest.mark.parametrize("values", [[], [-1.0], [float("nan")], [1.0, float("inf")]])
def test_an_axis_that_is_none_is_refused(recommended, values):
    with pytest.raises(ValueError, match="step_factors must be one or more finite numbers"):
        recommended(lambda job: result("model", 1.0), step_factors=values)
