"""Spectra against dense Hessians and Jacobians of torch, scipy's eigenvalues, and the sampler."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn

from lightning_physim import PhysicsTransformer
from lightning_physim.errors import Diverged, GivenUp, InputError
from lightning_physim.llc import SGLDConfig, Spectrum, estimate_llc, gauss_newton_spectra, head_regions
from lightning_physim.llc import gauss_newton as gauss_newton_module


def residual_fn(module, batch):
    return module(batch[0]) - batch[1]


def loss_fn(module, batch):
    return residual_fn(module, batch).square().mean()


@pytest.fixture
def linear() -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(0)
    return nn.Linear(5, 3).double(), (torch.randn(8, 5).double(), torch.randn(8, 3).double())


@pytest.fixture
def network() -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(1)
    network = PhysicsTransformer(2, 2, 8, 16, d_embedding=8).double()
    return network, (torch.rand(6, 5, 4).double(), torch.randn(6, 5, 4).double())


def dense(module: nn.Module, data, rows: slice = slice(None)) -> dict[str, torch.Tensor]:
    """Jacobian ``[residuals, entries]`` of every parameter, a row of the data after the other, by autograd alone."""
    found = {name: [] for name, _ in module.named_parameters()}
    for one in zip(*(tensor[rows] for tensor in data), strict=True):
        residuals = residual_fn(module, tuple(tensor[None] for tensor in one)).flatten()
        for residual in residuals:
            gradients = torch.autograd.grad(residual, [*module.parameters()], retain_graph=True, allow_unused=True)
            for (name, parameter), gradient in zip(module.named_parameters(), gradients, strict=True):
                found[name].append(torch.zeros(parameter.numel()) if gradient is None else gradient.flatten())
    return {name: torch.stack(rows).double() for name, rows in found.items()}


def eigenvalues(jacobian: np.ndarray) -> np.ndarray:
    m, d = jacobian.shape
    return scipy.linalg.eigvalsh(2 / m * jacobian.T @ jacobian)[::-1][: min(m, d)]


@pytest.mark.parametrize("n", [8, 4])  # more residuals than parameters, and fewer
def test_of_a_model_that_is_linear_it_is_the_spectrum_of_the_hessian(linear, n):
    module, data = linear[0], tuple(tensor[:n] for tensor in linear[1])

    def loss(weight, bias):
        state = {"weight": weight.view(3, 5), "bias": bias}
        return (torch.func.functional_call(module, state, (data[0],)) - data[1]).square().mean()

    at = torch.cat([module.weight.flatten(), module.bias]).detach()
    hessian = torch.autograd.functional.hessian(lambda w: loss(w[:15], w[15:]), at)
    expected = np.linalg.eigvalsh(hessian.numpy())[::-1]
    mask = torch.zeros(3, 5, dtype=torch.bool)
    mask[0, 1:4] = True
    found = gauss_newton_spectra(module, residual_fn, data, {"model": None, "three": {"weight": mask}})
    model, three = found["model"], found["three"]
    assert (model.n_parameters, model.n_states, len(model.values)) == (18, n, min(18, 3 * n))
    np.testing.assert_allclose(model.values, expected[: len(model.values)], atol=1e-12)
    assert model.trace == pytest.approx(float(hessian.trace()))
    part = hessian[1:4, 1:4].numpy()
    np.testing.assert_allclose(three.values, np.linalg.eigvalsh(part)[::-1], atol=1e-12)
    assert three.n_parameters == 3


def test_of_a_network_and_its_heads_it_is_scipys_of_the_dense_jacobian(network):
    module, data = network
    regions = {"model": None, **head_regions(module)}
    found = gauss_newton_spectra(module, residual_fn, data, regions)
    halves = {name: spectrum.half for name, spectrum in found.items()}
    for rows, part in ((slice(None), found), (slice(0, 3), halves)):
        jacobian = dense(module, data, rows)
        whole = torch.cat([*jacobian.values()], 1).detach().numpy()
        assert whole.shape[1] > whole.shape[0]  # by its Gram matrix
        ours = part["model"].values.numpy()[: len(whole)]
        np.testing.assert_allclose(ours, eigenvalues(whole), rtol=1e-9, atol=1e-11)
        for head, masks in head_regions(module).items():
            columns = [jacobian[name][:, mask.flatten()] for name, mask in masks.items()]
            expected = eigenvalues(torch.cat(columns, 1).detach().numpy())
            ours = part[head].values.numpy()[: len(expected)]
            np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("n, d", [(512, 300), (128, 600)])  # by covariances, and by the Gram matrix
def test_rounding_counts_as_no_direction_where_one_is_far_stiffer_than_the_others(n, d):
    """Inputs of single precision with a mean of a hundred: their mean is ten million times stiffer than the rest."""
    x = (torch.randn(n, d, generator=torch.Generator().manual_seed(0)) * 0.03 + 100).double()
    expected = np.clip(eigenvalues(x.numpy()), 0, None)
    module = nn.Linear(d, 1, bias=False)
    found = gauss_newton_spectra(module, residual_fn, (x.float(), torch.zeros(n, 1)))["model"]
    assert expected[0] > 1e6 and found.d_eff(0.1) > 2
    assert found.d_eff(0.1) == pytest.approx((expected / (expected + 0.1)).sum(), rel=1e-3)


def test_the_size_of_chunks_and_blocks_leaves_no_trace(network, monkeypatch):
    module, data = network
    regions = {"model": None, **head_regions(module)}
    whole = gauss_newton_spectra(module, residual_fn, data, regions)
    monkeypatch.setattr(gauss_newton_module, "CHUNK_ENTRIES", 1)
    monkeypatch.setattr(gauss_newton_module, "BLOCK_ENTRIES", 120 * 200)
    monkeypatch.setattr(gauss_newton_module, "BLOCK_ROWS", 50)  # divides neither 120 rows nor a head
    names = [name for name, _ in module.named_parameters()]
    objective = gauss_newton_module.Objective(module, residual_fn, data)
    blocks = list(gauss_newton_module._blocks(objective, names, 200))
    assert len(blocks) > 3 and [name for block in blocks for name in block] == names
    for name, spectrum in gauss_newton_spectra(module, residual_fn, data, regions).items():
        torch.testing.assert_close(spectrum.values, whole[name].values, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(spectrum.half.values, whole[name].half.values, rtol=1e-9, atol=1e-12)


@pytest.mark.ddp
def test_two_ranks_give_what_one_gives(network, on_ranks):
    module, data = network
    regions = {"model": None, **head_regions(module)}
    first, second = on_ranks(_on_a_rank, module, data, regions)
    for n in SIZES:
        for name, alone in gauss_newton_spectra(module, residual_fn, tuple(t[:n] for t in data), regions).items():
            torch.testing.assert_close(first[n][name].values, alone.values, rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(first[n][name].half.values, alone.half.values, rtol=1e-9, atol=1e-12)
            assert torch.equal(first[n][name].values, second[n][name].values)


SIZES = (6, 5)  # the second: another number of rows on each rank


def _on_a_rank(rank, world, module, data, regions):
    some = {n: tuple(tensor[:n] for tensor in data) for n in SIZES}
    return {n: gauss_newton_spectra(module, residual_fn, some[n], regions, distributed=True) for n in SIZES}


def test_what_is_told_of_a_spectrum_are_its_formulas():
    values = torch.tensor([30.0, 10.0, 0.0], dtype=torch.float64)
    half = Spectrum("a", 7, 2, torch.tensor([10.0, 10.0, 0.0], dtype=torch.float64))
    spectrum = Spectrum("a", 7, 4, values, half)
    assert spectrum.trace == 40.0
    assert spectrum.d_eff(10.0) == pytest.approx(0.75 + 0.5) and spectrum.d_eff(1e-9) == pytest.approx(2.0)
    assert spectrum.occupancy(10.0) == pytest.approx((0.75**2 + 0.5**2) / 1.25)
    assert spectrum.doubling(10.0) == pytest.approx(0.25)
    told = spectrum.metrics()
    assert told["n_states"] == 4 and told["trace"] == 40.0 and told["d_eff/c10"] == spectrum.d_eff(10.0)
    assert told["d_eff/c0p1"] == spectrum.d_eff(0.1) and told["occupancy/c1"] == spectrum.occupancy(1.0)
    assert told["doubling/c1"] == spectrum.doubling(1.0) and len(told) == 11
    flat = Spectrum("b", 2, 4, 0 * values, Spectrum("b", 2, 2, 0 * values))
    assert flat.d_eff(1.0) == 0.0 and math.isnan(flat.occupancy(1.0)) and math.isnan(flat.doubling(1.0))


def test_half_of_the_directions_that_count_is_what_the_sampler_finds_in_a_quadratic_basin(linear):
    module, data = linear
    with torch.no_grad():  # to the minimum, by least squares
        inputs = torch.cat([data[0], torch.ones(8, 1).double()], 1)
        solution = torch.linalg.lstsq(inputs, data[1]).solution
        module.weight.copy_(solution[:5].T)
        module.bias.copy_(solution[5])
    spectrum = gauss_newton_spectra(module, residual_fn, data)["model"]
    for c in (0.3, 0.03):
        config = SGLDConfig(
            n_beta=100.0, localization=100.0 * c, n_chains=8, n_draws=500, n_burn_in=100, batch_size=None,
            integrator="leimkuhler_matthews", preconditioner="curvature",
        )  # fmt: skip
        sampled = estimate_llc(module, loss_fn, data, config=config)["model"]
        assert sampled.mean == pytest.approx(spectrum.d_eff(c) / 2, abs=4 * sampled.mcse)
        assert sampled.mcse < 0.07 * sampled.mean


class Choosy(nn.Linear):
    """Drops what lies below zero, a number of rows that vmap cannot know."""

    def forward(self, x):
        out = super().forward(x)
        kept = (x[:, 0] > 0).nonzero().squeeze(1)
        return out.index_add(0, kept, out[kept])


def test_a_module_that_vmap_cannot_batch_gives_scipys_values_too(linear):
    torch.manual_seed(2)
    module, data = Choosy(5, 3).double(), linear[1]
    mask = torch.zeros(3, 5, dtype=torch.bool)
    mask[:, 2] = True
    found = gauss_newton_spectra(module, residual_fn, data, {"model": None, "column": {"weight": mask}})
    jacobian = dense(module, data)
    whole = torch.cat([*jacobian.values()], 1).detach().numpy()
    np.testing.assert_allclose(found["model"].values, eigenvalues(whole), atol=1e-12)
    column = jacobian["weight"][:, mask.flatten()].detach().numpy()
    np.testing.assert_allclose(found["column"].values, eigenvalues(column), atol=1e-12)


def test_the_module_is_left_as_it_was(network):
    module, data = network
    module.train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state = torch.get_rng_state()
    gauss_newton_spectra(module, residual_fn, data, head_regions(module))
    assert module.training and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in module.parameters())


@pytest.mark.parametrize(
    "residuals, n, words",
    [
        (lambda m, b: residual_fn(m, b).square().mean(), 8, r"a row for each of the 8; got \(\)"),
        (lambda m, b: residual_fn(m, b).sum(0), 8, r"a row for each of the 8; got \(3,\)"),
        (lambda m, b: [residual_fn(m, b)], 8, "a row for each of the 8; got list"),
        (residual_fn, 1, "two rows of data or more; got 1"),
    ],
)
def test_what_has_no_spectrum_is_refused(linear, residuals, n, words):
    with pytest.raises(InputError, match=words):
        gauss_newton_spectra(linear[0], residuals, tuple(tensor[:n] for tensor in linear[1]))


def test_it_is_given_up_where_that_is_asked_for(linear):
    asked = iter([False, True])
    mask = torch.ones(3, 5, dtype=torch.bool)
    with pytest.raises(GivenUp):
        gauss_newton_spectra(
            *linear[:1], residual_fn, linear[1], {"a": {"weight": mask}, "b": None}, stop=asked.__next__
        )
    assert next(asked, "both were asked") == "both were asked"


@pytest.mark.ddp
def test_a_derivative_that_is_not_finite_on_one_rank_ends_it_on_both(linear, on_ranks):
    data = linear[1]
    data[0][0, 0] = math.inf  # the first row is rank zero's
    assert on_ranks(_diverges, linear[0], data) == [True, True]


def _diverges(rank, world, module, data):
    with pytest.raises(Diverged):
        gauss_newton_spectra(module, residual_fn, data, distributed=True)
    return True


def test_where_derivatives_are_not_finite_there_is_no_spectrum(linear):
    with pytest.raises(Diverged, match="the derivatives of the residuals are not finite"):
        gauss_newton_spectra(linear[0], lambda m, b: residual_fn(m, b) * math.inf, linear[1])
