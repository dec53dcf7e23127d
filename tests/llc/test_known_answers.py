"""Estimates against exact values: closed forms, quadrature, and the formula of Aoyagi and Watanabe."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import Tensor, nn

from lightning_physim.llc import RegionResult, SGLDConfig, estimate_llc

slow = pytest.mark.slow
FAST = {"preconditioner": "curvature", "integrator": "leimkuhler_matthews"}


class Potential(nn.Module):
    """A loss that is a function of its parameter alone."""

    def __init__(self, function, size: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(size, dtype=torch.float64))
        self.function = function


def estimate(function, size: int, **config) -> RegionResult:
    module = Potential(function, size)
    settings = SGLDConfig(**({"batch_size": None, "n_chains": 64} | config))
    return estimate_llc(module, lambda m, _: m.function(m.w), (torch.zeros(1),), config=settings)["model"]


def agrees(result: RegionResult, exact: float, tolerance: float) -> None:
    """Within ``tolerance`` of the exact value, or 3 standard errors where those are smaller still than it."""
    assert result.mcse < 0.5 * tolerance * exact, "the standard error says too little"
    assert abs(result.mean - exact) < tolerance * exact, f"{result} against {exact}"


def quadratic_answer(h: np.ndarray, n_beta: float, step: float = 0.0, localization: float = 0.0, rho=0.0) -> float:
    """nβ E[½ Σ h w²] of Euler's scheme with gradient noise: equation (Q)."""
    a = n_beta * h + localization
    return float(np.sum(0.5 * n_beta * h / a / (1 - step * a / 4) * (1 + rho)))


H = np.logspace(-1, 1, 10)


def quadratic(w: Tensor) -> Tensor:
    return 0.5 * (torch.from_numpy(H) * w.square()).sum()


@pytest.mark.parametrize(
    "step, localization", [(1e-4, 100.0), pytest.param(1e-4, 0.0, marks=slow), pytest.param(1.5e-4, 0.0, marks=slow)]
)
def test_quadratic_with_the_step_size_bias_of_sgld(step, localization):
    settings = {"n_chains": 256, "n_draws": 750, "n_burn_in": 750 if localization else 1500, "integrator": "euler"}
    result = estimate(quadratic, 10, n_beta=1000.0, step_size=step, localization=localization, **settings)
    agrees(result, quadratic_answer(H, 1000.0, step, localization), 0.02)
    assert result.step_stability == pytest.approx(step * (1000 * H[-1] + localization) / 4, rel=1e-3)


@pytest.mark.parametrize("integrator", ["leimkuhler_matthews", "baoab"])
def test_quadratic_has_no_step_size_bias(integrator):
    settings = {"n_chains": 128, "n_draws": 600, "n_burn_in": 100}
    result = estimate(quadratic, 10, n_beta=1000.0, **settings, **FAST | {"integrator": integrator})
    agrees(result, 5.0, 0.02)


@slow
@pytest.mark.parametrize("preconditioner", ["rmsprop", None])
def test_quadratic_whatever_the_preconditioner(preconditioner):
    result = estimate(
        quadratic, 10, n_beta=1000.0, n_draws=6000, n_burn_in=6000, integrator="leimkuhler_matthews",
        preconditioner=preconditioner,
    )  # fmt: skip
    agrees(result, 5.0, 0.04)


def test_one_dimension():
    agrees(estimate(lambda w: 0.5 * w.square().sum(), 1, n_beta=100.0, n_draws=1500, **FAST), 0.5, 0.03)


@pytest.mark.parametrize(
    "power, n_beta, step, tolerance, integrator",
    [
        (4, 1e3, 2e-3, 0.02, "leimkuhler_matthews"),
        (4, 1e3, 2e-3, 0.02, "baoab"),
        pytest.param(4, 1e5, 2e-4, 0.02, "leimkuhler_matthews", marks=slow),
        pytest.param(6, 1e3, 6e-3, 0.03, "baoab", marks=slow),
        pytest.param(8, 1e3, 8e-3, 0.03, "leimkuhler_matthews", marks=slow),
    ],
)
def test_a_power_of_one_weight_has_one_over_that_power_at_any_temperature(power, n_beta, step, tolerance, integrator):
    result = estimate(
        lambda w: (w**power).sum(), 1, n_beta=n_beta, step_size=step, n_chains=1600, n_draws=625, n_burn_in=500,
        integrator=integrator,
    )  # fmt: skip
    agrees(result, 1 / power, tolerance)


def test_localization_biases_a_degenerate_direction_by_what_quadrature_says():
    def density(w: float) -> float:
        return math.exp(-1000 * w**4 - 50 * w**2)

    exact = quad(lambda w: 1000 * w**4 * density(w), -1, 1)[0] / quad(density, -1, 1)[0]
    assert exact == pytest.approx(0.0961, abs=1e-4)  # far from the 1/4 without localization
    result = estimate(
        lambda w: (w**4).sum(), 1, n_beta=1000.0, localization=100.0, step_size=2e-3, n_chains=400, n_draws=2000,
        integrator="leimkuhler_matthews",
    )  # fmt: skip
    agrees(result, exact, 0.03)


@pytest.mark.slow
@pytest.mark.parametrize(
    "p, q, n_beta, tolerance",
    [
        (2, 2, 1e3, 0.03),
        pytest.param(2, 4, 1e3, 0.05, marks=slow),
        pytest.param(4, 4, 1e3, 0.05, marks=slow),
        pytest.param(2, 6, 1e3, 0.08, marks=slow),
    ],
)
def test_normal_crossings_in_a_soft_box(p, q, n_beta, tolerance):
    """w1^p w2^q, flat along both axes: a wall keeps the chains where the exact integral is taken, wall included."""
    wall = 10.0

    def integral(f) -> float:
        # One quadrant is a quarter of it; the ridges along the axes need fine cells.
        nodes, weights = np.polynomial.legendre.leggauss(400)
        x, wx = (nodes + 1) / 2 * 1.2, weights / 2 * 1.2
        grid_x, grid_y = np.meshgrid(x, x, indexing="ij")
        walls = np.clip(grid_x - 1, 0, None) ** 2 + np.clip(grid_y - 1, 0, None) ** 2
        loss = grid_x**p * grid_y**q
        density = np.exp(-n_beta * (loss + wall * walls))
        return float(np.einsum("ij,i,j", f(loss, walls) * density, wx, wx))

    exact = integral(lambda loss, walls: n_beta * (loss + wall * walls)) / integral(lambda loss, walls: 1.0 + 0 * loss)
    result = estimate(
        lambda w: w[0].abs() ** p * w[1].abs() ** q + wall * (w.abs() - 1).clamp_min(0).square().sum(), 2,
        n_beta=n_beta, step_size=2e-4, n_chains=1000, n_draws=2500, n_burn_in=2000, integrator="leimkuhler_matthews",
    )  # fmt: skip
    agrees(result, exact, tolerance)


def aoyagi_watanabe(m: int, h: int, n: int, r: int) -> float:
    """λ of reduced rank regression M -> H -> N with true rank r (Aoyagi and Watanabe 2005, main theorem)."""
    if n + r <= m + h and m + r <= n + h and h + r <= m + n:
        odd = (m + h + n + r) % 2
        return (-((h + r) ** 2) - m**2 - n**2 + 2 * (h + r) * (m + n) + 2 * m * n + odd) / 8
    if m + h < n + r:
        return (h * m - h * r + n * r) / 2
    if n + h < m + r:
        return (h * n - h * r + m * r) / 2
    return m * n / 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "m, h, n, r, tolerance",
    [
        (4, 2, 4, 1, 0.05),
        pytest.param(3, 3, 3, 3, 0.1, marks=slow),
        pytest.param(5, 3, 5, 1, 0.04, marks=slow),
        pytest.param(4, 4, 4, 0, 0.1, marks=slow),
        pytest.param(4, 2, 8, 1, 0.06, marks=slow),
        pytest.param(8, 3, 4, 0, 0.07, marks=slow),
        pytest.param(6, 4, 6, 2, 0.06, marks=slow),
    ],
)
def test_reduced_rank_regression_at_its_deepest_point(m, h, n, r, tolerance):
    generator = torch.Generator().manual_seed(0)
    a = torch.zeros(h, m, dtype=torch.float64)
    b = torch.zeros(n, h, dtype=torch.float64)
    a[:r] = torch.linalg.qr(torch.randn(m, r, generator=generator, dtype=torch.float64))[0].T
    b[:, :r] = torch.linalg.qr(torch.randn(n, r, generator=generator, dtype=torch.float64))[0]
    truth = b @ a

    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Parameter(a.clone()), nn.Parameter(b.clone())

    n_beta = 1e5 if r == h else 1e3  # a regular model has no flat directions that localization could bias
    config = SGLDConfig(
        n_beta=n_beta, step_size=0.1 / n_beta, localization=1.0, n_chains=64, n_draws=4000, n_burn_in=4000,
        batch_size=None,
    )  # fmt: skip
    result = estimate_llc(
        Product(), lambda p, _: 0.5 * (p.b @ p.a - truth).square().sum(), (torch.zeros(1),), config=config
    )["model"]
    assert result.mcse < 0.02 * result.mean
    exact = aoyagi_watanabe(m, h, n, r)
    assert abs(result.mean - exact) < tolerance * exact, f"{result} against {exact}"


class Regression:
    """Linear regression at its least-squares solution: everything about it is known."""

    def __init__(self, n: int = 2048, d: int = 10) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(n, d, generator=generator, dtype=torch.float64) * torch.logspace(-0.5, 0.5, d)
        noise = torch.randn(n, generator=generator, dtype=torch.float64)
        self.y = self.x.sum(1) + noise
        solution = torch.linalg.lstsq(self.x, self.y[:, None]).solution
        self.module = nn.Linear(d, 1, bias=False, dtype=torch.float64)
        self.module.weight.data = solution.T.clone()
        self.h, directions = torch.linalg.eigh(self.x.T @ self.x / n)
        gradients = ((self.x @ solution)[:, 0] - self.y)[:, None] * self.x
        self.variance = (gradients @ directions).square().mean(0)  # of one sample's gradient, by direction
        self.n = n

    def rho(self, n_beta: float, step: float, batch: int) -> np.ndarray:
        # Batches are drawn without replacement.
        return (step * n_beta**2 / 4 * self.variance / batch * (1 - batch / self.n)).numpy()

    def estimate(self, **config) -> RegionResult:
        def loss(module: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
            return 0.5 * (module(batch[0])[:, 0] - batch[1]).square().mean()

        settings = SGLDConfig(**({"n_beta": 200.0, "localization": 1.0} | config))
        return estimate_llc(self.module, loss, (self.x, self.y), config=settings)["model"]


REGRESSION = Regression()


@slow
def test_linear_regression_full_batch():
    result = REGRESSION.estimate(
        batch_size=None, step_size=5e-4, n_chains=32, n_draws=2000, n_burn_in=1000, integrator="euler"
    )
    agrees(result, quadratic_answer(REGRESSION.h.numpy(), 200.0, 5e-4, 1.0), 0.03)


def test_linear_regression_with_the_bias_of_gradient_noise_and_without_it_by_control_variates():
    step = 5e-4
    rho = REGRESSION.rho(200.0, step, 64)
    biased = quadratic_answer(REGRESSION.h.numpy(), 200.0, step, 1.0, rho)
    settings = {
        "batch_size": 64, "step_size": step, "n_chains": 32, "n_draws": 1500, "n_burn_in": 500, "integrator": "euler",
    }  # fmt: skip
    noisy = REGRESSION.estimate(**settings)
    agrees(noisy, biased, 0.08)
    assert noisy.noise_ratio > 0.1 and "noise_ratio" in noisy.failures
    clean = REGRESSION.estimate(**settings, control_variate=True)
    assert clean.noise_ratio < 0.2 * noisy.noise_ratio
    unbiased = quadratic_answer(REGRESSION.h.numpy(), 200.0, step, 1.0)
    assert unbiased < 0.95 * biased
    assert abs(clean.mean - unbiased) < 4 * clean.mcse + clean.noise_ratio * unbiased


@slow
@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": None, **FAST},
        # Steps that small as heat would be another for each seed, whose kernel is its own.
        {"batch_size": 64, "step_size": 0.1, "n_draws": 400, **FAST},
        {"batch_size": 64, "control_variate": True, "about": "centre", **FAST},
    ],
    ids=["full batch", "shared minibatches", "about the centre"],
)
def test_standard_errors_are_right_over_repeated_seeds(settings):
    common = {"n_chains": 4, "n_draws": 200, "n_burn_in": 400} | settings
    truth, error = quadratic_answer(REGRESSION.h.numpy(), 200.0, localization=1.0), 0.0
    if settings["batch_size"]:
        # Of many seeds: with noisy gradients what is sampled depends a little on the kernel, and each seed has its own.
        long = common | {"n_chains": 24, "n_draws": 600, "n_burn_in": 1000}
        truths = np.array([REGRESSION.estimate(**long, seed=10**6 + i).mean for i in range(16)])
        truth, error = truths.mean(), truths.std(ddof=1) / 4
    n = 80
    results = [REGRESSION.estimate(**common, seed=seed) for seed in range(n)]
    z = np.array([(r.mean - truth) / math.hypot(r.mcse, error) for r in results])
    assert error < 0.2 * np.mean([r.mcse for r in results])
    # The standard deviation of 80 standard normals lies within 0.77 and 1.24 with probability 0.997; a standard error
    # is itself an estimate from some tens of effective draws, which widens its tails: 10 % are allowed for that.
    assert 0.75 < z.std(ddof=1) < 1.3, z.std(ddof=1)
    assert abs(z.mean()) < 3.5 / math.sqrt(n) * z.std(ddof=1), z.mean()
