"""Estimates about the centre on a slope, as in a network that still learns: their errors, and that draws add up."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import nn

from lightning_physim.llc import SGLDConfig, estimate_llc, gauss_newton_spectra
from lightning_physim.llc import chains as chains_module

CONFIG = SGLDConfig(
    n_beta=200.0, localization=20.0, n_chains=3, n_draws=60, n_burn_in=30, batch_size=64, about="centre",
    preconditioner="curvature", integrator="leimkuhler_matthews", control_variate=True,
)  # fmt: skip


def residual_fn(module, batch):
    return module(batch[0]) - batch[1]


def loss_fn(module, batch):
    return residual_fn(module, batch).square().mean()


@pytest.fixture(scope="module")
def slope() -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    """A linear model far from its minimum: chains go downhill by ten times the estimate."""
    torch.manual_seed(0)
    x = torch.randn(300, 6).double() * torch.logspace(0, -1, 6)
    module = nn.Linear(6, 1, bias=False).double()
    return module, (x, (x @ (module.weight[0] + 0.3)).detach()[:, None] + 0.3 * torch.randn(300, 1).double())


def estimates(slope, n: int, **changes) -> list:
    module, data = slope
    return [estimate_llc(module, loss_fn, data, config=replace(CONFIG, seed=s, **changes))["model"] for s in range(n)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes", [{}, {"step_size": 0.1}, {"control_variate": False, "n_draws": 120}, {"batch_size": None}]
)
def test_stated_errors_are_those_of_repeated_seeds(slope, changes):
    exact = gauss_newton_spectra(*(slope[0], residual_fn, slope[1]))["model"].d_eff(0.1) / 2
    found = estimates(slope, 40, **changes)
    means, errors = (np.array([getattr(r, name) for r in found]) for name in ("mean", "mcse"))
    assert np.mean([r.shift for r in found]) < -5 * exact
    spread = means.std(ddof=1) / np.sqrt((errors**2).mean())
    # 40 seeds tell a standard deviation to 11 %.
    assert 0.7 < spread < 1.35, spread
    assert abs(means.mean() - exact) < 4 * means.std(ddof=1) / 40**0.5 + 0.02 * exact


def test_the_draws_of_an_estimate_have_its_mean(slope):
    (found,) = estimates(slope, 1)
    assert float(found.trace.mean()) == pytest.approx(found.mean, rel=1e-9)
    # Every draw less what is linear about the centre: none is below it by more than the noise of its minibatch.
    assert found.below < 0.2


def test_where_draws_cannot_be_kept_the_error_is_larger_and_not_too_small(slope, monkeypatch):
    kept = estimates(slope, 12)
    monkeypatch.setattr(chains_module, "KEPT_ENTRIES", 1)
    means, errors = np.array([(r.mean, r.mcse) for r in estimates(slope, 12)]).T
    assert errors.mean() > 1.2 * np.mean([r.mcse for r in kept])
    assert abs(means.mean() - np.mean([r.mean for r in kept])) < errors.mean()
    assert means.std(ddof=1) < 1.5 * errors.mean()


def test_down_a_valley_that_bends_errors_are_those_of_repeated_seeds():
    """``L = (x + a |y|^2)^2 / 2``: the centre lies beside the valley, so that every draw has a slope there.

    The stated error was 0.57 times the spread while draws were told against the gradient at the centre.
    """
    a, n, n_beta, gamma = 0.3, 10, 1000.0, 100.0
    module = nn.Linear(1 + n, 1, bias=False).double()
    nn.init.zeros_(module.weight)

    def loss_fn(module, batch):
        x, y = module.weight[0].split((1, n))
        return (x + a * y.square().sum()).square().sum() / 2 + 0 * batch[0].sum()

    config = replace(
        CONFIG, n_beta=n_beta, localization=gamma, n_draws=200, batch_size=None, integrator="baoab", zero_variance=True
    )
    data = (torch.zeros(8, 1, dtype=torch.float64),)
    found = [estimate_llc(module, loss_fn, data, config=replace(config, seed=s))["model"] for s in range(16)]

    def mean(of) -> float:  # over t = |y|^2, where x is integrated out
        held = n_beta * gamma / (n_beta + gamma)
        weight = lambda t: t ** (n / 2 - 1) * np.exp(-gamma * t / 2 - held * (a * t) ** 2 / 2)  # noqa: E731
        return quad(lambda t: of(t) * weight(t), 0, 2)[0] / quad(weight, 0, 2)[0]

    stiff = n_beta + gamma
    square = mean(lambda t: 1 / stiff + (gamma * a * t / stiff) ** 2)
    exact = n_beta / 2 * (square - (n_beta * a * mean(lambda t: t) / stiff) ** 2)
    means, errors = (np.array([getattr(r, name) for r in found]) for name in ("mean", "mcse"))
    assert means.mean() == pytest.approx(exact, abs=4 * means.std(ddof=1) / 16**0.5)
    # 16 seeds tell a standard deviation to 18 %.
    assert 0.65 < means.std(ddof=1) / np.sqrt((errors**2).mean()) < 1.4
