"""As many draws as a region needs: those that have not arrived go on, and the others do not notice."""

import pytest
import torch
from torch import nn

from lightning_physim.llc import LLCResult, SGLDConfig, estimate_llc
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
