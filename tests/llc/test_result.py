"""An estimate as a table and in ArviZ's format."""

import math
import sys
from dataclasses import fields, replace

import arviz_stats
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lightning_physim.errors import InputError
from lightning_physim.llc import LLCResult, RegionResult, SGLDConfig, estimate_llc

NUMBERS = [field.name for field in fields(RegionResult) if field.name not in ("region", "trace")]


@pytest.fixture(scope="module")
def result() -> LLCResult:
    """Of a linear model at its minimum: a plain draw has no part but the rise of the loss."""
    torch.manual_seed(0)
    model, x = nn.Linear(3, 2), torch.randn(32, 3)
    config = SGLDConfig(n_beta=50.0, localization=5.0, n_chains=3, n_draws=100, n_burn_in=20, batch_size=32)
    data = (x, model(x).detach())
    regions = {"model": None, "the bias": {"bias": None}}
    return estimate_llc(model, lambda m, batch: F.mse_loss(m(batch[0]), batch[1]), data, regions, config)


def same(a: float | str, b: float | str) -> bool:
    """Equal, or both NaN."""
    return a == b or (a != a and b != b)


def with_a_dead_chain(region: RegionResult) -> RegionResult:
    trace = region.trace.clone()
    trace[1, 60:] = math.nan
    return replace(region, trace=trace, n_dead=1, rhat=1.5, order_lo=math.nan)


def test_a_table_has_a_row_per_region_and_a_column_per_number(result):
    frame = result.to_frame()
    assert [*frame.columns] == [*NUMBERS, "converged", "failures"]
    assert frame.index.name == "region" and [*frame.index] == ["model", "the bias"]
    for region, each in result.items():
        for name in NUMBERS:
            assert same(frame.loc[region, name], getattr(each, name)), name
    assert frame["mean"].dtype == np.float64 and frame["converged"].dtype == bool


def test_a_table_tells_why_an_estimate_is_not_believed(result):
    frame = LLCResult(good=result["model"], bad=with_a_dead_chain(result["model"])).to_frame()
    assert frame["converged"].tolist() == [True, False]
    assert frame["failures"].tolist() == ["", "1 chain diverged; R-hat 1.50 above 1.1"]


def test_a_table_of_nothing_has_its_columns(result):
    empty = LLCResult().to_frame()
    assert len(empty) == 0 and [*empty.columns] == [*result.to_frame().columns]
    assert empty.index.name == "region"


def test_arviz_finds_in_the_draws_what_the_estimate_says_of_them(result):
    tree = result.to_arviz()
    sizes, rhats = arviz_stats.ess(tree, method="mean"), arviz_stats.rhat(tree, method="split")
    errors = arviz_stats.mcse(tree, method="mean")
    assert [*tree.children] == ["posterior"] and [*tree["posterior"].data_vars] == ["model", "the bias"]
    for region, each in result.items():
        draws = tree["posterior"][region]
        assert draws.dims == ("chain", "draw") and np.array_equal(draws, each.trace)
        assert float(draws.mean()) == pytest.approx(each.mean, rel=1e-12)
        assert float(sizes[region]) == pytest.approx(each.ess, rel=1e-9)
        assert float(rhats[region]) == pytest.approx(each.rhat, rel=1e-9)
        assert float(errors[region]) == pytest.approx(each.mcse, rel=1e-2)


def test_attributes_of_a_variable_are_the_numbers_of_its_region(result):
    result = LLCResult(result | {"bad": with_a_dead_chain(result["model"])})
    result.seconds = 2.5
    tree = result.to_arviz()
    assert tree["posterior"].attrs["sampling_time"] == 2.5
    for region, each in result.items():
        attributes = dict(tree["posterior"][region].attrs)
        assert attributes.pop("failures") == "; ".join(each.failures.values())
        assert [*attributes] == NUMBERS
        for name, value in attributes.items():
            assert same(value, getattr(each, name)), name
            assert not isinstance(value, bool), "netCDF files hold none"


def test_dead_chains_stay_in_the_tree_as_they_are(result):
    dead = with_a_dead_chain(result["model"])
    tree = LLCResult(dead=dead, living=result["model"]).to_arviz()
    assert np.array_equal(tree["posterior"]["dead"], dead.trace, equal_nan=True)
    sizes = arviz_stats.ess(tree, method="mean")
    assert math.isnan(sizes["dead"]) and float(sizes["living"]) == pytest.approx(result["model"].ess)
    assert [*tree["posterior"]["dead"].dropna("chain")["chain"].values] == [0, 2]


def test_a_tree_is_a_copy(result):
    before = result["model"].trace.clone()
    result.to_arviz()["posterior"]["model"].values[:] = 0
    assert torch.equal(result["model"].trace, before)


@pytest.mark.parametrize(
    "method, package, name", [("to_frame", "pandas", "pandas"), ("to_arviz", "arviz_base", "arviz-base")]
)
def test_without_the_extra_a_line_says_what_to_install(result, monkeypatch, method, package, name):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError) as refusal:
        getattr(result, method)()
    assert str(refusal.value) == f"{method} needs {name}; type `pip install 'lightning_physim[tables]'`"


@pytest.mark.parametrize("name", ["layer/0", "chain", "draw"])
def test_a_region_that_no_variable_can_be_named_after_is_refused(result, name):
    with pytest.raises(InputError, match=rf"\Aa variable of ArviZ .* got '{name}': rename it\Z"):
        LLCResult({name: result["model"]}).to_arviz()


def test_regions_of_two_estimates_that_differ_in_draws_are_refused(result):
    short = replace(result["model"], trace=result["model"].trace[:, :50])
    with pytest.raises(
        InputError, match=r"\A.* got \[\(3, 50\), \(3, 100\)\]: make a tree of each region, LLCResult\(.*\)\Z"
    ):
        LLCResult(long=result["model"], short=short).to_arviz()
