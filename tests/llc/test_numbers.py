"""Numbers beside the estimate: what ranks agree on, diagnostics against closed forms, calibration, refusals."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from arviz_stats.base import array_stats
from torch import nn

from lightning_physim import PhysicsTransformer
from lightning_physim.errors import InputError
from lightning_physim.llc import SGLDConfig, calibrate, estimate_llc, head_regions
from lightning_physim.llc import chains as chains_module
from lightning_physim.llc import summary as summary_module
from lightning_physim.llc.basin import leading_curvature
from lightning_physim.llc.curvature import lanczos
from lightning_physim.llc.minibatches import Minibatches
from lightning_physim.llc.objective import Group, Objective
from lightning_physim.llc.preconditioner import Identity
from lightning_physim.llc.regions import Region
from lightning_physim.llc.sampler import Job, Replicas
from lightning_physim.llc.summary import Shared, summarize

QUICK = SGLDConfig(n_beta=20.0, localization=50.0, step_size=1e-3, n_chains=3, n_draws=8, n_burn_in=4, batch_size=8)
FAST = {"integrator": "leimkuhler_matthews", "preconditioner": "curvature"}
BEST = replace(QUICK, step_size="auto", control_variate=True, about="centre", **FAST)


def loss_fn(module, batch):
    return F.mse_loss(module(batch[0]), batch[1])


@pytest.fixture(scope="module")
def network() -> PhysicsTransformer:
    torch.manual_seed(0)
    return PhysicsTransformer(2, 2, 8, 16, d_embedding=8).double()


@pytest.fixture(scope="module")
def pairs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.rand(32, 5, 4, generator=generator, dtype=torch.float64) for _ in range(2))


@pytest.mark.slow
@pytest.mark.ddp
def test_two_processes_share_the_chains_and_get_the_traces_of_one(network, pairs, on_ranks):
    regions = {"model": None, **head_regions(network)}
    configs = [QUICK, BEST, replace(BEST, n_draws=75, target_mcse=1e9), replace(BEST, zero_variance=True)]
    first, second = on_ranks(_on_one_of, network, pairs, regions, configs)
    for number, (config, draws) in enumerate(zip(configs, (8, 8, 25, 8), strict=True)):
        for name, region in estimate_llc(network, loss_fn, pairs, regions, config, residual_fn=given(config)).items():
            here, there = first[number][name], second[number][name]
            assert region.trace.shape == (3, draws)
            torch.testing.assert_close(here.trace, region.trace, rtol=1e-6, atol=1e-8)
            assert torch.equal(here.trace, there.trace)
            for quantity in (
                "mean",
                "mcse",
                "rhat",
                "ess",
                "shift",
                "noise_ratio",
                "step_stability",
                "virial",
                "equipartition",
                "order",
            ):
                expected = pytest.approx(getattr(region, quantity), rel=1e-5, abs=1e-6, nan_ok=True)
                assert getattr(here, quantity) == expected, quantity
                assert getattr(there, quantity) == getattr(here, quantity)


def _on_one_of(rank, world, network, pairs, regions, configs):
    return [
        dict(estimate_llc(network, loss_fn, pairs, regions, each, distributed=True, residual_fn=given(each)))
        for each in configs
    ]


def given(config):
    """Ranks share the rows of the Jacobian too."""
    return residuals if config.zero_variance else None


def residuals(module, batch):
    return module(batch[0]) - batch[1]


@pytest.mark.ddp
def test_a_refusal_on_one_rank_is_told_on_all(on_ranks):
    assert all("has none" in told for told in on_ranks(_refused))


def _refused(rank, world):
    try:
        config = SGLDConfig(n_beta=1.0, n_chains=1, n_draws=4)  # one chain: rank 1 holds none
        estimate_llc(Flat(), lambda m, _: (m.w**4).sum(), (torch.ones(1),), config=config, distributed=True)
    except InputError as error:
        return str(error)
    return "nothing"


class Flat(nn.Module):
    def __init__(self, start: float = 0.0, size: int = 1) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.full((size,), start, dtype=torch.float64))


def on_potential(function, start=0.0, size=1, **config):
    settings = SGLDConfig(**({"n_beta": 100.0, "batch_size": None} | config))
    return estimate_llc(Flat(start, size), lambda m, _: function(m.w), (torch.zeros(1),), config=settings)["model"]


def square(w):
    return 0.5 * w.square().sum()


def test_about_the_centre_an_estimate_does_not_depend_on_how_far_w_is_from_the_minimum():
    settings = {"n_chains": 80, "n_draws": 400, "n_burn_in": 150, "size": 4, "start": 0.2, **FAST}
    below, centre = (on_potential(square, about=about, **settings) for about in ("anchor", "centre"))
    lower = 100 * 0.5 * 4 * 0.2**2  # n_beta L(w*), as the minimum is at 0
    assert abs(below.mean - (2 - lower)) < 4 * below.mcse and below.mean < 0
    assert abs(centre.mean - 2) < 4 * centre.mcse and centre.mcse < 0.1
    for result in (below, centre):
        assert result.shift == pytest.approx(-lower, abs=0.05)
        assert abs(result.virial) < 4 * result.virial_mcse  # zero wherever w* lies
    assert below.grad_norm == pytest.approx(0.4)


def test_a_chain_that_diverges_is_counted_and_spoils_no_other():
    """Beyond w = 0.3 there is an abyss, which some of the chains find."""

    def abyss(w):
        return torch.where(w.abs() < 0.3, 0.5 * w.square(), torch.nan).sum()

    result = on_potential(abyss, n_chains=12, n_draws=120, step_size=0.004)
    dead = ~torch.isfinite(result.trace).all(1)
    assert 0 < result.n_dead == dead.sum() < 11
    assert result.mean == pytest.approx(result.trace[~dead].mean().item())
    assert np.isfinite([result.mcse, result.rhat, result.shift]).all()
    assert not result.converged and f"{result.n_dead} chain" in str(result)
    gone = on_potential(square, n_chains=2, n_draws=500, step_size=1.0)
    assert gone.n_dead == 2 and np.isnan(gone.mean) and "no chain survived" in gone.failures["mean"]
    assert gone.step_stability == pytest.approx(25) and "step_stability" in gone.failures


@pytest.mark.parametrize("integrator, stability", [("leimkuhler_matthews", 0.1), ("euler", 0.02)])
def test_the_automatic_step_is_far_from_the_limit_for_each_region(integrator, stability):
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stiff, self.soft = (nn.Parameter(torch.zeros(3, dtype=torch.float64)) for _ in range(2))

    def loss(m, _):
        return 50 * m.stiff.square().sum() + 0.5 * m.soft.square().sum()

    config = SGLDConfig(n_beta=10.0, n_draws=400, n_burn_in=200, n_chains=8, batch_size=None, integrator=integrator)
    result = estimate_llc(Two(), loss, (torch.zeros(1),), {"stiff": {"stiff": None}, "soft": {"soft": None}}, config)
    for name, curvature in (("stiff", 1000.0), ("soft", 10.0)):
        assert result[name].step_size == pytest.approx(4 * stability / curvature)
        assert result[name].step_stability == pytest.approx(stability)
        bias = 1 / (1 - stability) if integrator == "euler" else 1
        assert abs(result[name].mean - 1.5 * bias) < 4 * result[name].mcse
        assert (0.99 < result[name].acceptance < 1) == (integrator == "euler")


def test_acceptance_falls_with_the_step_and_the_virial_tells_heat():
    settings = {"size": 20, "n_draws": 300, "n_chains": 16, "integrator": "euler"}
    results = [on_potential(square, step_size=step, **settings) for step in (1e-4, 1e-2, 3.6e-2)]
    assert results[0].acceptance > 0.99 > results[1].acceptance > results[2].acceptance
    # Euler's scheme is too hot by (step a / 4) / (1 - step a / 4) in every direction: here by nine times the estimate.
    assert results[2].virial == pytest.approx(10 * 0.9 / 0.1, abs=5 * results[2].virial_mcse)
    assert "virial" in results[2].failures and "virial" not in results[0].failures


def test_localization_share_of_a_flat_loss_is_one():
    result = on_potential(lambda w: 0.0 * w.sum(), size=50, localization=10.0, n_chains=8, n_draws=600, **FAST)
    assert result.localization_share == pytest.approx(1.0, abs=0.03)
    assert result.mean == 0


def test_lanczos_finds_the_extreme_eigenvalues():
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(3, 30, 30, generator=generator, dtype=torch.float64)
    matrices = matrices + matrices.mT
    start = torch.randn(3, 30, generator=generator, dtype=torch.float64)

    def product(v):
        return torch.einsum("oij,oj->oi", matrices, v)

    exact = torch.linalg.eigvalsh(matrices).flip(1)
    values, vectors = lanczos(product, start, 30)
    torch.testing.assert_close(values, exact, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(torch.einsum("oij,okj->oki", matrices, vectors), values[:, :, None] * vectors)
    few, _ = lanczos(product, start, 20)
    torch.testing.assert_close(few[:, 0], exact[:, 0], rtol=1e-3, atol=0)
    alike, vectors = lanczos(lambda v: 7.0 * v, start, 5)  # the Krylov space is exhausted at once
    torch.testing.assert_close(alike, torch.full((3, 5), 7.0, dtype=torch.float64))
    torch.testing.assert_close(vectors @ vectors.mT, torch.eye(5, dtype=torch.float64).expand(3, 5, 5))
    assert lanczos(lambda v: 2.0 * v, torch.ones(1, 1), 10)[0].tolist() == [[2.0]]


def leading(module, loss_fn, data, spec, config):
    """Leading curvature of the potential at w*, by Hessian-vector products."""
    objective = Objective(module, loss_fn, data)
    region = Region("some", spec, objective.frozen)
    whole = Minibatches(objective, list(spec), None, 0).whole
    replicas = Replicas(Group(objective, [region], 1), [Job(region, config.n_beta, config.localization, 1.0)], [(0, 0)])
    origin = torch.zeros(1, region.size, dtype=objective.dtype)
    return leading_curvature(replicas, origin, data, whole, Identity(), 0)[0]


def test_the_curvature_of_a_region_is_that_of_its_hessian(network, pairs):
    config = replace(QUICK, batch_size=None, localization=0.0, n_draws=4)
    region = {"some": {"blocks.1.attention.qkv.bias": None, "readout.bias": None}}
    found = leading(network, loss_fn, pairs, region["some"], config)

    def of(*moved):
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            state = dict(zip(region["some"], moved, strict=True))
            return F.mse_loss(torch.func.functional_call(network, state, (pairs[0],)), pairs[1])

    anchors = tuple(dict(network.named_parameters())[name].detach() for name in region["some"])
    blocks = torch.autograd.functional.hessian(of, anchors)
    hessian = torch.cat([torch.cat(row, 1) for row in blocks])
    largest = torch.linalg.eigvalsh(hessian)[-1].item()
    assert found[0, 0].item() == pytest.approx(20 * largest, rel=1e-3)


BAD = {
    "no such parameter": ({"x": {"nosuch": None}}, loss_fn, "must name parameters of the module; got 'nosuch'"),
    "empty": ({"x": {"readout.bias": torch.zeros(4, dtype=torch.bool)}}, loss_fn, "at least one coordinate; got none"),
    "other shape": ({"x": {"readout.bias": torch.ones(5, dtype=torch.bool)}}, loss_fn, r"shape \(4,\).*got \(5,\)"),
    "beyond": ({"x": {"readout.bias": [7]}}, loss_fn, "must index readout.bias"),
    "no scalar": (None, lambda m, b: (m(b[0]) - b[1]).square(), "must return a scalar.*add .mean()"),
    "no tensor": (None, lambda m, b: 1.0, "must return a scalar tensor.*got float"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line(network, pairs, case):
    regions, loss, words = BAD[case]
    with pytest.raises(InputError, match=words) as caught:
        estimate_llc(network, loss, pairs, regions, QUICK)
    assert "\n" not in str(caught.value)


def test_bad_data_modules_and_settings_get_one_line(network, pairs):
    with pytest.raises(InputError, match="one first dimension"):
        estimate_llc(network, loss_fn, (pairs[0], pairs[1][:5]), config=QUICK)
    with pytest.raises(InputError, match="data must be a tuple of tensors"):
        estimate_llc(network, loss_fn, {"x": 1}, config=QUICK)
    with pytest.raises(InputError, match="needs submodules torch.nn.MultiheadAttention, or with n_heads"):
        head_regions(nn.Linear(2, 2))
    with torch.inference_mode(), pytest.raises(InputError, match="torch.inference_mode forbids"):
        estimate_llc(network, loss_fn, pairs, config=QUICK)
    for bad in ({"n_beta": 0.0}, {"step_size": -1.0}, {"n_draws": 3}, {"localization": -1.0}, {"preconditioner": "x"},
                {"integrator": "x"}, {"about": "x"}, {"batch_size": 0}, {"target_mcse": float("nan")}):  # fmt: skip
        with pytest.raises(InputError, match=f"{next(iter(bad))} must (not )?be .*; got"):
            SGLDConfig(**bad)


SHARED = Shared(size=4, dealt=32, n=32, controlled=False)
"""Minibatches whose error of first order is in the draws."""


def autoregressive(generator, rho, n_chains, n_draws):
    noise = generator.normal(size=(n_chains, n_draws))
    x = noise.copy()
    for t in range(1, n_draws):
        x[:, t] = rho * x[:, t - 1] + np.sqrt(1 - rho**2) * noise[:, t]
    return x


def test_the_error_of_few_draws_is_that_of_arviz():
    few = np.random.default_rng(3).normal(size=(2, 6))
    expected = array_stats.mcse(few, method="mean", chain_axis=0, draw_axis=1)
    assert summarize(few).mcse == pytest.approx(float(expected), rel=1e-9)


def test_standard_errors_of_chains_with_a_known_autocorrelation():
    generator = np.random.default_rng(0)
    rho, shape = 0.8, (4, 2000)
    x = autoregressive(generator, rho, *shape)
    found = summarize(x)
    assert found.mcse == pytest.approx(np.sqrt((1 + rho) / (1 - rho) / x.size), rel=0.15)
    assert found.rhat == array_stats.rhat(x, chain_axis=0, draw_axis=1, method="split") < 1.02
    # What all chains have in common does not average out over them.
    exact = np.sqrt((1 + rho) / (1 - rho) / x.size + 1.0 / shape[1])
    shared = [
        summarize(autoregressive(generator, rho, *shape) + generator.normal(size=shape[1]), SHARED).mcse
        for _ in range(20)
    ]
    assert np.mean(shared) == pytest.approx(exact, rel=0.15)
    assert summarize(x + 3 * np.arange(4)[:, None]).rhat > 2
    x[1, 5] = np.nan
    assert summarize(x).mean == pytest.approx(x[[0, 2, 3]].mean())


def test_calibration_keeps_away_from_settings_that_feel_the_wall():
    """A well that is quadratic near w* and has a wall further out, which hot chains hit."""

    def well(w):
        return (0.5 * w.square() + 1e3 * w**8).sum()

    config = SGLDConfig(n_draws=400, n_burn_in=100, n_chains=8, batch_size=None, integrator="leimkuhler_matthews")
    grid = calibrate(
        Flat(size=3), lambda m, _: well(m.w), (torch.zeros(1),), config=config, n_betas=[1.0, 100.0, 300.0, 900.0],
        localizations=[0.0], step_factors=[0.5, 1.0, 2.0],
    )  # fmt: skip
    columns, rows = grid.table()
    assert len(rows) == 12 and columns[0] == "region" and columns[-1] == "recommended"
    assert sum(row[-1] for row in rows) == 1 and grid.settings()["n_beta"] > 1
    by_beta = {beta: grid.results["model", (1, j, 0)] for j, beta in enumerate(grid.axes[1])}
    assert by_beta[900.0].mean == pytest.approx(by_beta[300.0].mean, rel=0.1)
    # Hot chains give what they sample, another number: a third of 3/2, by quadrature.
    assert abs(by_beta[1.0].mean - 0.436) < 4 * by_beta[1.0].mcse < 0.5
    with pytest.raises(InputError, match="step_factors must be"):
        calibrate(Flat(), lambda m, _: well(m.w), (torch.zeros(1),), step_factors=[])


def test_the_variance_of_a_mean_grows_with_what_chains_have_in_common():
    # Long-run variance by hand: series of +1 and -1 in blocks have autocovariances that Bartlett's weights sum up.
    x = np.array([1.0, 1.0, -1.0, -1.0] * 5)
    covariances = [float((x[: 20 - k] * x[k:]).sum()) / 20 for k in range(4)]
    by_hand = covariances[0] + 2 * sum((1 - k / 4) * covariances[k] for k in (1, 2, 3))
    assert summary_module._long_run_variance(x, 3) == pytest.approx(by_hand)
    rng = np.random.default_rng(0)
    own, common = rng.standard_normal((4, 4000)), rng.standard_normal(4000)
    apart, alike = summarize(own, SHARED), summarize(0.6 * own + 0.8 * common, SHARED)
    # Independent: 1/sqrt(16000). With 0.64 of the variance in common: sqrt((0.36/4 + 0.64)/4000).
    assert apart.mcse == pytest.approx(1 / 16000**0.5, rel=0.15)
    assert alike.mcse == pytest.approx((0.73 / 4000) ** 0.5, rel=0.15)


def test_draws_that_do_not_differ_have_no_error_and_too_few_no_mean():
    same = summarize(np.full((2, 5), 3.0), SHARED)
    assert (same.mean, same.mcse) == (3.0, 0.0) and np.isnan(same.rhat) and np.isnan(same.ess)
    assert np.isnan(summarize(np.zeros((2, 3)), SHARED).mean)
    assert np.isnan(summarize(np.full((2, 5), np.nan), SHARED).mean)


@pytest.mark.parametrize("n_draws, size", [(40, 10), (46, 10), (400, 10), (40, 11)])
def test_what_minibatches_differ_by_is_in_the_error(n_draws, size):
    """Each sample adds a number of its own to all chains alike; the spread of the mean over seeds is the error."""
    rng = np.random.default_rng(1)
    of_sample, own = rng.standard_normal(100), 0.01
    count = 100 // size
    shared = Shared(size=size, dealt=count * size, n=100, controlled=True)
    means, errors = [], []
    for _ in range(400):
        dealt = of_sample[rng.permutation(100)[: shared.dealt]].reshape(count, size).mean(1)
        draws = rng.choice(dealt, n_draws) + own * rng.standard_normal((3, n_draws))
        found = summarize(draws, shared)
        means.append(found.mean)
        errors.append(found.mcse)
    assert np.std(means) == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=0.12)


def test_the_heat_of_minibatch_gradients_is_alike_in_all_chains():
    x, shared = np.random.default_rng(2).standard_normal((3, 4000)), Shared(10, 100, 100, True)
    cold, hot = summarize(x, shared), summarize(x, shared, noise_ratio=0.5)
    assert hot.mcse / cold.mcse == pytest.approx(2**0.5, rel=0.02)  # sqrt(1 + (3 - 1) * 0.5)


def test_metropolis_would_accept_small_steps_in_a_well_of_localization_alone():
    config = SGLDConfig(
        n_beta=1.0, localization=5.0, step_size=0.01, n_chains=8, n_draws=40, n_burn_in=200, integrator="euler"
    )
    flat = estimate_llc(Flat(size=10), lambda m, _: 0.0 * m.w.sum(), (torch.zeros(4),), config=config)["model"]
    assert flat.acceptance > 0.99 and flat.localization_share == pytest.approx(1.0, rel=0.2)


def test_leading_directions_weigh_by_what_they_add_to_the_estimate(monkeypatch):
    seen = []
    monkeypatch.setattr(chains_module, "noise_ratio", lambda state, batches, replicas, estimator, kernel: (
        seen.append(kernel) or torch.zeros_like(kernel.stability)))  # fmt: skip
    h = torch.tensor([8.0, 2.0, 0.5], dtype=torch.float64)
    config = SGLDConfig(n_beta=10.0, localization=20.0, n_chains=1, n_draws=4, n_burn_in=2, preconditioner="curvature")
    loss = lambda m, _: 0.5 * (h * m.w.square()).sum()  # noqa: E731
    estimate_llc(Flat(size=3), loss, (torch.zeros(4),), config=config)
    fractions = (10 * h / (10 * h + 20))[: seen[0].loss_fraction.shape[1]]
    torch.testing.assert_close(seen[0].loss_fraction[0].double(), fractions, rtol=1e-6, atol=1e-9)
