"""Directions where chains will live, against Jacobians of torch.func and dense eigenvalues."""

import math

import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev

from lightning_physim import PhysicsTransformer
from lightning_physim.errors import Diverged, InputError
from lightning_physim.llc import SGLDConfig, estimate_llc, head_regions
from lightning_physim.llc import leading_directions as leading_directions_module
from lightning_physim.llc.leading_directions import Sketch
from lightning_physim.llc.objective import Group, Objective
from lightning_physim.llc.regions import Region


def residual_fn(module, batch):
    return module(batch[0]) - batch[1]


def loss_fn(module, batch):
    return residual_fn(module, batch).square().mean()


def sketch_of(module, data, regions=None, seed=0) -> tuple[Sketch, list[Region]]:
    objective = Objective(module, loss_fn, data, residual_fn)
    found = [Region(name, spec, objective.frozen) for name, spec in (regions or {"model": None}).items()]
    return Sketch(Group(objective, found, 16), residual_fn, seed), found


def network(n_outputs: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, n_outputs)).double()


def gauss_newton(module, data, displacement: torch.Tensor) -> torch.Tensor:
    """``2/m J'J`` with the parameters of a module displaced, by torch.func alone."""
    parameters = dict(module.named_parameters())
    pieces = displacement.split([p.numel() for p in parameters.values()])
    moved = {n: (p + piece.view_as(p)).detach() for (n, p), piece in zip(parameters.items(), pieces, strict=True)}
    by_name = jacrev(lambda state: (functional_call(module, state, data[0]) - data[1]).flatten())(moved)
    jacobian = torch.cat([each.flatten(1) for each in by_name.values()], 1)
    return 2 / len(jacobian) * jacobian.T @ jacobian


def test_with_all_residuals_they_are_those_of_the_gauss_newton_matrix(monkeypatch):
    module, data = network(2), (torch.randn(20, 3).double(), torch.randn(20, 2).double())
    monkeypatch.setattr(leading_directions_module, "COMBINATIONS", 40)
    sketch, (region,) = sketch_of(module, data)
    values, vectors = sketch.leading(0, torch.zeros(1, region.size).double())
    exact = torch.linalg.eigvalsh(gauss_newton(module, data, torch.zeros(region.size).double())).flip(0)
    torch.testing.assert_close(values, exact.clamp_min(0), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(region.size).double(), rtol=0, atol=1e-9)


def test_over_many_signs_combinations_have_the_mean_of_the_matrix_at_each_of_the_displacements(monkeypatch):
    """Two rows of each sample in place of its five residuals, at two displacements in turn."""
    module, data = network(5), (torch.randn(8, 3).double(), torch.randn(8, 5).double())
    monkeypatch.setattr(leading_directions_module, "COMBINATIONS", 16)
    displacements = 0.5 * torch.randn(2, 41, generator=torch.Generator().manual_seed(1)).double()
    found = []
    for seed in range(400):
        sketch, _ = sketch_of(module, data, seed=seed)
        values, vectors = sketch.leading(0, displacements)
        found.append(vectors.T * values @ vectors)
    exact = torch.stack([gauss_newton(module, data, each) for each in displacements]).mean(0)
    matrices = torch.stack(found)
    error = matrices.std(0) / len(found) ** 0.5
    off = (matrices.mean(0) - exact)[error > 1e-9] / error[error > 1e-9]
    assert float(off.square().mean()) == pytest.approx(1.0, abs=0.3) and float(off.abs().max()) < 5
    assert (gauss_newton(module, data, displacements[0]) - exact).abs().max() > 5 * error.max()


def test_directions_of_heads_are_those_of_their_own_part_of_the_matrix(monkeypatch):
    torch.manual_seed(1)
    module = PhysicsTransformer(2, 2, 8, 16, d_embedding=8).double()
    data = torch.rand(6, 5, 4).double(), torch.randn(6, 5, 4).double()
    monkeypatch.setattr(leading_directions_module, "COMBINATIONS", 120)
    whole = gauss_newton(module, data, torch.zeros(sum(p.numel() for p in module.parameters())).double())
    starts, total = {}, 0
    for name, parameter in module.named_parameters():
        starts[name], total = total, total + parameter.numel()
    specs = head_regions(module)
    for layer in ("L0", "L1"):
        names = [name for name in specs if name.startswith(layer)]
        sketch, regions = sketch_of(module, data, {name: specs[name] for name in names})
        for number, region in enumerate(regions):
            own = torch.cat([starts[name] + index for name, index in region.index.items()])
            exact = torch.linalg.eigvalsh(whole[own][:, own]).flip(0)
            values, vectors = sketch.leading(number, torch.zeros(1, region.size).double())
            torch.testing.assert_close(values, exact[: len(values)].clamp_min(0), rtol=1e-8, atol=1e-12)
            torch.testing.assert_close((vectors @ whole[own][:, own] * vectors).sum(1), values, rtol=1e-8, atol=1e-12)


class Loop(nn.Module):
    """A loss that ``torch.vmap`` cannot batch."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([0.5, -0.5], dtype=torch.float64))

    def forward(self, x):
        return x @ self.w if float(x.sum()) < 1e9 else x @ self.w


def test_what_vmap_cannot_batch_goes_row_by_row():
    module, data = Loop(), (torch.randn(6, 2).double(), torch.randn(6).double())
    sketch, _ = sketch_of(module, data)
    assert not sketch.group.batched
    values, _ = sketch.leading(0, torch.zeros(1, 2).double())
    torch.testing.assert_close(values, torch.linalg.eigvalsh(2 / 6 * data[0].T @ data[0]).flip(0), rtol=1e-9, atol=0)


class Product(nn.Module):
    """Residuals ``w_1 w_2`` of pairs of weights: flat at 0, and stiff away from there."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2, n, dtype=torch.float64))

    def forward(self, x):
        return x * self.w.prod(0)


def test_a_region_that_is_flat_at_its_weights_has_the_directions_of_its_draws():
    n, n_beta, gamma = 20, 1000.0, 10.0
    x = torch.ones(64, 1).double() * torch.ones(n).double()
    result = estimate_llc(
        Product(n), loss_fn, (x, torch.zeros(64, n).double()), residual_fn=residual_fn,
        config=SGLDConfig(
            n_beta=n_beta, localization=gamma, batch_size=None, preconditioner="curvature", integrator="baoab",
            zero_variance=True, n_chains=4, n_draws=400, step_size=0.8,
        ),
    )["model"]  # fmt: skip
    # Of a pair: n_beta a^2 b^2 / n, with a given b Gaussian, so that one integral is left.
    b = torch.linspace(-6, 6, 20001, dtype=torch.float64)
    k = 2 * n_beta / n * b**2
    weight = (k + gamma) ** -0.5 * torch.exp(-gamma * b**2 / 2)
    exact = n * float((weight * k / (k + gamma)).sum() / weight.sum()) / 2
    assert result.converged and result.mean == pytest.approx(exact, abs=max(3 * result.mcse, 0.03 * exact))
    assert result.virial_mcse < 0.12  # 0.2 where all directions count alike, as none is known


@pytest.mark.parametrize(
    "fn, refusal, words",
    [
        (lambda m, b: residual_fn(m, b).square().mean(), InputError, "a row for each of the 8; got"),
        (lambda m, b: residual_fn(m, b) * math.nan, Diverged, "the derivatives of the residuals are not finite"),
    ],
)
def test_residuals_that_say_nothing_are_refused(fn, refusal, words):
    module, data = network(2), (torch.randn(8, 3).double(), torch.randn(8, 2).double())
    with pytest.raises(refusal, match=words):
        estimate_llc(module, loss_fn, data, residual_fn=fn, config=SGLDConfig(n_draws=4))
