"""Spectra from random vectors against the eigenvalues of numpy, and against those of whole matrices."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from lightning_physim import PhysicsTransformer
from lightning_physim.errors import Diverged, GivenUp
from lightning_physim.llc import gauss_newton, gauss_newton_spectra, head_regions
from lightning_physim.llc.curvature import bidiagonal_measure
from lightning_physim.llc.objective import Objective
from lightning_physim.llc.regions import Region
from lightning_physim.llc.sampled_spectrum import VECTORS, Jacobian
from lightning_physim.llc.spectrum import SampledSpectrum

CURVATURES = (1.0, 0.1, 0.01)


def residual_fn(module, batch):
    return module(batch[0]) - batch[1]


@pytest.fixture
def network() -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(1)
    network = PhysicsTransformer(1, 2, 8, 8, embedding="linear").double()
    return network, (torch.rand(6, 3, 4).double(), torch.randn(6, 3, 4).double())


@pytest.fixture
def sampled(monkeypatch):
    monkeypatch.setattr(gauss_newton, "EXACT_SIZE", 0)


def operator(seed: int, rows: int, size: int, dtype=torch.float64) -> torch.Tensor:
    """A matrix whose singular values fall over three decades, ``[rows, size]``."""
    generator = torch.Generator().manual_seed(seed)
    left, _ = torch.linalg.qr(torch.randn(rows, rows, generator=generator, dtype=torch.float64))
    right, _ = torch.linalg.qr(torch.randn(size, rows, generator=generator, dtype=torch.float64))
    return (left * torch.logspace(1, -2, rows, dtype=torch.float64) @ right.T).to(dtype)


def test_the_quadrature_is_exact_once_it_has_a_point_for_every_eigenvalue_and_from_above_before():
    a = operator(0, 12, 30)
    vector = torch.randn(30, generator=torch.Generator().manual_seed(1)).double()
    few, every = (bidiagonal_measure(lambda v: a @ v, lambda w: a.T @ w, vector, n) for n in (4, 40))
    assert (len(few[0]), len(every[0])) == (4, 13)  # the thirteenth is that of the null space
    for values, weights in (few, every):
        assert (weights >= 0).all() and (values.diff() <= 0).all()
        assert float(weights.sum()) == pytest.approx(float(vector.square().sum()))
    eigenvalues, vectors = np.linalg.eigh((a.T @ a).numpy())
    shares = (vectors.T @ vector.numpy()) ** 2
    for c in CURVATURES:
        expected = (shares * eigenvalues / (eigenvalues + c)).sum()
        rough, exact = (float((weights * values / (values + c)).sum()) for values, weights in (few, every))
        assert exact == pytest.approx(expected, rel=1e-9)
        assert rough > expected  # all even derivatives of c / (h + c) are positive


def test_in_single_precision_a_large_null_space_counts_for_nothing():
    """Products with A'A itself leave a noise of 1e-7 of the largest eigenvalue in 20 000 directions."""
    a = operator(1, 12, 20_000, torch.float32)
    vector = torch.ones(20_000)
    values, weights = bidiagonal_measure(lambda v: a @ v, lambda w: a.T @ w, vector, 40)
    assert float(values[weights.argmax()]) < 1e-9 and float(weights.max()) > 19_000
    exact = (a.double() @ a.double().T).numpy()
    eigenvalues, vectors = np.linalg.eigh(exact)
    shares = (vectors.T @ (a.double() @ vector.double()).numpy()) ** 2 / eigenvalues
    c = 1e-5
    assert float((weights * values / (values + c)).sum()) == pytest.approx(
        (shares * eigenvalues / (eigenvalues + c)).sum(), rel=0.01
    )


def test_products_are_those_of_the_dense_jacobian(network):
    module, data = network
    objective = Objective(module, residual_fn, data)
    for name, spec in {"model": None, **head_regions(module)}.items():
        region = Region(name, spec, objective.frozen)
        dense = torch.autograd.functional.jacobian(
            lambda u, region=region: objective.loss(region.moved(u, objective.frozen), data).flatten(),
            torch.zeros(region.size).double(),
        )
        jacobian = Jacobian(objective, region, data)
        v, w = torch.randn(region.size).double(), torch.randn(len(dense)).double()
        torch.testing.assert_close(jacobian.forward(v), dense @ v)
        torch.testing.assert_close(jacobian.adjoint(w), dense.T @ w)


def test_it_lies_where_the_whole_matrix_says_by_errors_that_are_true(network, monkeypatch):
    module, data = network
    regions = {"model": None, **head_regions(module)}
    exact = gauss_newton_spectra(module, residual_fn, data, regions)
    monkeypatch.setattr(gauss_newton, "EXACT_SIZE", 0)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state = torch.get_rng_state()
    found = gauss_newton_spectra(module, residual_fn, data, regions)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in module.parameters())
    off = []
    for name, spectrum in found.items():
        assert isinstance(spectrum, SampledSpectrum) and spectrum.values.shape[0] == VECTORS
        assert (spectrum.n_parameters, spectrum.n_states) == (exact[name].n_parameters, 6)
        for c in CURVATURES:
            off.append((spectrum.d_eff(c) - exact[name].d_eff(c)) / spectrum.error(c))
            off.append((spectrum.half.d_eff(c) - exact[name].half.d_eff(c)) / spectrum.half.error(c))
            assert spectrum.occupancy(c) == pytest.approx(exact[name].occupancy(c), rel=0.3)
            # The same vectors for the half leave little noise in the ratio.
            noise = spectrum.error(c) / spectrum.d_eff(c)
            assert abs(spectrum.doubling(c) - exact[name].doubling(c)) < 3 * noise
    assert np.abs(off).max() < 4.5 and 0.2 < np.square(off).mean() < 2.5
    told = found["model"].metrics()
    assert told["d_eff_error/c10"] == found["model"].error(10.0) > 0 and "doubling/c1" in told
    assert "d_eff_error/c10" not in exact["model"].metrics()


def test_a_region_that_the_residuals_do_not_depend_on_has_no_directions(sampled):
    module = nn.ModuleDict({"used": nn.Linear(3, 2), "unused": nn.Linear(3, 2)})
    data = torch.randn(4, 3), torch.randn(4, 2)

    def residuals(module, batch):
        return module["used"](batch[0]) - batch[1]

    regions = {"unused": {"unused.weight": None}, "used": {"used.weight": None}}
    found = gauss_newton_spectra(module, residuals, data, regions)
    assert found["unused"].d_eff(0.1) == 0.0 and math.isnan(found["unused"].occupancy(0.1))
    assert found["used"].d_eff(0.1) > 1


def test_where_derivatives_are_not_finite_there_is_none(network, sampled):
    with pytest.raises(Diverged, match="not finite"):
        gauss_newton_spectra(network[0], lambda m, b: residual_fn(m, b) * math.inf, network[1])


def test_it_is_given_up_between_vectors(network, sampled):
    asked = iter([False] * 3 + [True])  # before the region, then before each vector
    with pytest.raises(GivenUp):
        gauss_newton_spectra(network[0], residual_fn, network[1], stop=asked.__next__)
    assert next(asked, "all were asked") == "all were asked"


@pytest.mark.slow
@pytest.mark.ddp
def test_two_ranks_give_what_one_gives(network, on_ranks, sampled):
    module, data = network
    alone = gauss_newton_spectra(module, residual_fn, data)["model"]
    for found in on_ranks(_on_a_rank, module, data):
        torch.testing.assert_close(found.values, alone.values, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(found.weights, alone.weights, rtol=1e-7, atol=1e-9)


def _on_a_rank(rank, world, module, data):
    gauss_newton.EXACT_SIZE = 0
    return gauss_newton_spectra(module, residual_fn, data, distributed=True)["model"]
