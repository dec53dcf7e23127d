"""As many draws as a region needs: those that have not arrived go on, and the others do not notice."""

import math

import pytest
import torch
from arviz_stats.base import array_stats
from torch import nn

from lightning_physim.llc import LLCResult, RegionResult, SGLDConfig, estimate_llc
from lightning_physim.llc.chains import Chains
from lightning_physim.llc.diagnostics import more_draws_may_mend

SETTINGS = {"n_beta": 100.0, "n_chains": 8, "n_draws": 100, "n_burn_in": 10, "batch_size": 16}
REGIONS = {"quick": {"quick": None}, "slow": {"slow": None}}


class Basins(nn.Module):
    """A quadratic loss of equal curvatures, and one that a step size for the stiffest direction takes long to cross."""

    def __init__(self) -> None:
        super().__init__()
        self.quick = nn.Parameter(torch.zeros(4))
        self.slow = nn.Parameter(torch.zeros(4))

    def loss(self, batch: tuple[torch.Tensor]) -> torch.Tensor:
        noise = 0.01 * batch[0].mean() * (self.quick.sum() + self.slow.sum())
        return self.quick.square().sum() + (torch.tensor([30.0, 30.0, 0.1, 0.1]) * self.slow.square()).sum() + noise


def estimate(distributed: bool = False, **changed) -> LLCResult:
    data = (torch.randn(64, 1, generator=torch.Generator().manual_seed(0)),)
    config = SGLDConfig(**(SETTINGS | changed))
    return estimate_llc(Basins(), lambda module, batch: module.loss(batch), data, REGIONS, config, distributed)


@pytest.mark.parametrize("about", ["anchor", "centre"])
def test_a_region_that_goes_on_is_what_it_would_have_been_and_the_others_do_not_notice(about):
    few, more = estimate(about=about), estimate(about=about, doublings=2)
    assert few["quick"].converged and not few["slow"].converged
    assert more["quick"].trace.equal(few["quick"].trace) and more["quick"].mean == few["quick"].mean
    n_draws = more["slow"].trace.shape[1]
    at_once = estimate(about=about, n_draws=n_draws)["slow"]
    assert n_draws in (200, 400) and more["slow"].trace.equal(at_once.trace)
    assert more["slow"].mean == at_once.mean and more["slow"].mcse == at_once.mcse


def test_no_region_has_more_draws_than_its_doublings_give():
    draws = {name: result.trace.shape[1] for name, result in estimate(doublings=1).items()}
    assert draws == {"quick": 100, "slow": 200}


class Plane(nn.Module):
    """One stiff direction and many that localization alone holds."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(size, dtype=torch.float64))


def of_plane(size: int, **settings) -> RegionResult:
    loss = lambda module, _: 0.5 * module.w[0].square()  # noqa: E731
    config = SGLDConfig(**({"n_beta": 100.0, "localization": 1.0, "n_chains": 4, "n_burn_in": 100} | settings))
    return estimate_llc(Plane(size), loss, (torch.zeros(4),), config=config)["model"]


def test_r_hat_of_the_positions_in_one_dimension_is_that_of_arviz(monkeypatch):
    kept = []
    records = Chains.records
    monkeypatch.setattr(
        Chains, "records", lambda self, *args: kept.append(self.kept[:, 0, :, 0]) or records(self, *args)
    )
    result = of_plane(1, n_draws=50)
    exact = array_stats.rhat(kept[-1].T.numpy(), chain_axis=0, draw_axis=1, method="identity")
    assert result.rhat_position == pytest.approx(float(exact), rel=1e-6)


def test_chains_that_have_not_crossed_the_soft_directions_are_told_by_their_positions():
    """The step is for a curvature of 101, so that those of curvature 1 take a thousand steps and more."""
    short, soft_alone = of_plane(400, n_draws=400), of_plane(400, n_draws=400, step_size=1.0, n_beta=1e-6)
    assert short.rhat < 1.05 and short.failures.keys() == {"rhat_position"}
    assert soft_alone.rhat_position < 1.02
    without = of_plane(400, n_draws=400, localization=0.0)
    # There is no such density, and no chain can tell flat directions from soft ones that it has not crossed.
    assert math.isnan(without.rhat_position) and without.failures.keys() == {"virial"}


def test_positions_are_told_apart_where_the_chains_are_far_from_their_weights():
    """In single precision, with squared distances from w* a billion times those within the chains."""
    module = Plane(5).float()
    loss = lambda module, _: 0.5 * (module.w - 300).square().sum()  # noqa: E731
    config = SGLDConfig(n_beta=1e4, localization=1.0, n_burn_in=200, preconditioner="curvature")
    result = estimate_llc(module, loss, (torch.zeros(4),), config=config)["model"]
    assert 0.99 < result.rhat_position < 1.1


@pytest.mark.slow
@pytest.mark.ddp
def test_two_processes_agree_on_who_goes_on(on_ranks):
    one = {name: result.mean for name, result in estimate(doublings=2).items()}
    for found in on_ranks(_means):
        assert found == pytest.approx(one, rel=1e-5)


def _means(rank: int, world: int) -> dict[str, float]:
    return {name: result.mean for name, result in estimate(distributed=True, doublings=2).items()}


@pytest.mark.parametrize(
    "failures, may", [([], False), (["rhat"], True), (["ess", "virial"], True), (["rhat", "n_dead"], False)]
)
def test_what_more_draws_may_mend(failures, may):
    assert more_draws_may_mend(failures) is may


def heated(noise: float, curvature=(0.5, 1.0, 2.0), **changed) -> dict[str, float]:
    """A quadratic loss of three directions whose minibatches differ in slope by so much; exactly 3/2."""
    weights = nn.Linear(3, 1, bias=False)
    nn.init.zeros_(weights.weight)
    slopes = noise * torch.randn(512, 3, generator=torch.Generator().manual_seed(1))
    slopes -= slopes.mean(0)

    def loss(module: nn.Linear, batch: tuple[torch.Tensor]) -> torch.Tensor:
        w = module.weight[0]
        return 0.5 * (torch.tensor(curvature) * w.square()).sum() + (batch[0].mean(0) * w).sum()

    config = SGLDConfig(n_beta=200.0, n_chains=8, n_draws=480, n_burn_in=64, batch_size=32, step_size=0.003, **changed)
    return vars(estimate_llc(weights, loss, (slopes,), config=config)["model"])


@pytest.mark.parametrize("noise, integrator", [(0.5, "euler"), (0.6, "euler"), (0.5, "baoab")])
def test_the_virial_takes_out_the_heat_that_is_told(noise, integrator):
    plain, mended = heated(noise, integrator=integrator), heated(noise, integrator=integrator, zero_variance=True)
    assert plain["noise_ratio"] > 0.1 and plain["mean"] > 1.5 + 3 * plain["mcse"]
    assert mended["mean"] == pytest.approx(1.5, abs=3 * mended["mcse"])
    assert mended["mcse"] < 0.5 * plain["noise_ratio"] * 1.5  # so that the heat would be seen
    assert mended["noise_ratio"] < 0.5 * plain["noise_ratio"]


@pytest.mark.parametrize("curvature, exact", [((1.0, 1.0, 1.0), 1.5), ((1.0, 1.0, 0.0), 1.0)])
def test_equal_and_flat_directions_do_not_make_errors_large(curvature, exact):
    """Without localization a mean force in a flat direction would move the mean without end; errors were thousands."""
    plain, found = heated(0.05, curvature), heated(0.05, curvature, zero_variance=True)
    assert found["mean"] == pytest.approx(exact, abs=4 * found["mcse"]) and found["mcse"] < 1.1 * plain["mcse"]
