"""What an LLC estimate does with chains, regions, modules, data and ranks."""

import math
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from lightning_physim import PhysicsTransformer
from lightning_physim.llc import SGLDConfig, default_n_beta, estimate_llc, head_regions
from lightning_physim.model.transformer import Attention

QUICK = {
    "n_beta": 50.0, "localization": 10.0, "step_size": 1e-3, "n_chains": 3, "n_draws": 6, "n_burn_in": 2,
    "batch_size": 8,
}  # fmt: skip


def network() -> PhysicsTransformer:
    torch.manual_seed(0)
    return PhysicsTransformer(n_layers=2, n_heads=2, d_model=8, d_mlp=8, embedding="linear").double()


def states(n: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.rand(n, 5, 4, generator=generator, dtype=torch.float64) for _ in range(2))


def loss(module: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return F.mse_loss(module(batch[0]), batch[1])


def loss_that_vmap_refuses(module: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
    found = loss(module, batch)
    found.item()
    return found


def estimate(module=None, loss_fn=loss, data=None, regions=None, **settings):
    module = network() if module is None else module
    return estimate_llc(module, loss_fn, states() if data is None else data, regions, SGLDConfig(**QUICK | settings))


class Weights(nn.Module):
    def __init__(self, *values: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(values, dtype=torch.float64))


def of_weights(function, size: int = 1, **settings):
    """The result for a loss that depends on nothing but ``size`` weights, at zero."""
    found = estimate(Weights(*[0.0] * size), lambda m, _: function(m.w), torch.zeros(1), batch_size=None, **settings)
    return found["model"]


def test_norms_are_those_of_the_region_over_the_whole_estimation_set():
    module, data = network(), states()
    result = estimate(module, data=data, regions={"model": None, **head_regions(module)})
    gradients = dict(
        zip(
            [name for name, _ in module.named_parameters()],
            torch.autograd.grad(loss(module, data), list(module.parameters())),
            strict=True,
        )
    )
    weights = dict(module.named_parameters())
    for name, region in {"model": dict.fromkeys(weights), **head_regions(module)}.items():
        for found, tensors in ((result[name].grad_norm, gradients), (result[name].weight_norm, weights)):
            parts = [tensors[key] if mask is None else tensors[key][mask] for key, mask in region.items()]
            expected = torch.cat([part.detach().flatten() for part in parts]).norm()
            assert found == pytest.approx(expected.item(), rel=1e-9)


# ---- Traces


def test_draws_before_the_end_of_burn_in_are_in_no_trace():
    late = estimate(n_burn_in=8, n_draws=6)["model"]
    all_steps = estimate(n_burn_in=0, n_draws=14)["model"]
    assert late.trace.shape == (3, 6) and late.trace.dtype == torch.float64
    assert torch.equal(late.trace, all_steps.trace[:, 8:])
    assert late.mean == pytest.approx(float(late.trace.mean()), rel=1e-12)
    # Every other chain starts at w*, and a draw is measured against it.
    assert (all_steps.trace[::2, 0] == 0).all() and (all_steps.trace[1::2, 0] != 0).all()


def test_a_draw_compares_one_minibatch_with_itself():
    x, y = states()
    y = y + torch.arange(32.0)[:, None, None]  # batches differ by far more than a step changes
    moves = estimate(data=(x, y), n_draws=4, step_size=1e-9)["model"].trace[0].abs().max()
    assert moves < 0.01 * QUICK["n_beta"] * y.var()


LOOKS = [25, 50, 75, 112, 168, 252, 378, 567, 850, 1275, 1912, 2868]


@pytest.mark.parametrize("limits", [{"max_seconds": 1e-3}, {"target_mcse": 1e6}])
def test_a_limit_ends_sampling_at_the_first_look(limits):
    assert of_weights(lambda w: w.square().sum(), n_draws=60, **limits).trace.shape == (3, 25)


def test_sampling_goes_on_until_the_standard_errors_of_all_regions_are_small_enough():
    module = Weights(0.0, 0.0, 0.0, 0.0)
    regions = {"one": {"w": [0]}, "three": {"w": [1, 2, 3]}}
    settings = {"step_size": "auto", "localization": 0.0, "batch_size": None, "n_draws": 3000}
    found = estimate(module, lambda m, _: m.w.square().sum(), torch.zeros(1), regions, target_mcse=0.15, **settings)
    n = found["one"].trace.shape[1]
    assert found["three"].trace.shape[1] == n and n in LOOKS
    assert found["one"].mcse < found["three"].mcse <= 0.15

    def whole(n_draws: int):
        return estimate(
            module, lambda m, _: m.w.square().sum(), torch.zeros(1), regions, **settings | {"n_draws": n_draws}
        )

    # A look changes nothing, and the one before was too early.
    assert torch.equal(whole(n)["three"].trace, found["three"].trace) and whole(n)["three"].mcse == found["three"].mcse
    assert whole(LOOKS[LOOKS.index(n) - 1])["three"].mcse > 0.15


def test_the_error_that_is_looked_at_is_the_one_that_is_stated():
    """On a quadratic loss draws less their virial have no error, however noisy they are themselves."""
    settings = {
        "step_size": 1.0, "n_draws": 400, "about": "centre", "preconditioner": "curvature",
        "integrator": "leimkuhler_matthews", "zero_variance": True, "target_mcse": 1e-3,
    }  # fmt: skip
    result = of_weights(lambda w: w.square().sum(), **settings)
    assert result.trace.shape[1] == 25 and result.mcse < 1e-3
    assert of_weights(lambda w: w.square().sum(), **settings | {"zero_variance": False}).trace.shape[1] == 400


# ---- Paths through a network


@pytest.mark.parametrize("settings", [{}, {"control_variate": True, "about": "centre", "preconditioner": "curvature"}])
def test_head_by_hook_head_by_masks_and_one_chain_after_the_other_are_one_computation(monkeypatch, settings):
    heads = head_regions(network())
    masks = {name: dict(region) for name, region in heads.items()}
    calls, head_output = [], Attention.head_output
    monkeypatch.setattr(Attention, "head_output", lambda *args: calls.append(1) or head_output(*args))
    by_hook = estimate(regions=heads, **settings)
    n_calls = len(calls)
    by_mask = estimate(regions=masks, **settings)
    assert n_calls and len(calls) == n_calls
    looped = estimate(loss_fn=loss_that_vmap_refuses, regions=heads, **settings)
    looped_masks = estimate(loss_fn=loss_that_vmap_refuses, regions=masks, **settings)
    assert by_hook.note == by_mask.note == "" and "one after the other" in looped.note
    for name, result in by_hook.items():
        assert result.trace[:, 1:].abs().min() > 0
        for other in (by_mask, looped, looped_masks):
            torch.testing.assert_close(other[name].trace, result.trace, rtol=1e-6, atol=1e-12)
            assert other[name].mean == pytest.approx(result.mean, rel=1e-6)


def test_a_module_that_vmap_cannot_batch_gives_the_numbers_of_its_twin():
    class Branching(nn.Linear):
        def forward(self, x):
            y = super().forward(x)
            return -y if bool(y.sum() > 1e9) else y

    torch.manual_seed(0)
    plain = nn.Linear(4, 4).double()
    branching = Branching(4, 4).double()
    branching.load_state_dict(plain.state_dict())
    batched, looped = estimate(plain), estimate(branching)
    assert batched.note == "" and looped.note.startswith("torch.vmap cannot batch this loss")
    torch.testing.assert_close(looped["model"].trace, batched["model"].trace, rtol=1e-9, atol=1e-12)


def test_a_region_does_not_notice_what_else_is_estimated():
    heads = head_regions(network())
    alone = estimate(regions={"L1H0": heads["L1H0"]})["L1H0"]
    beside = estimate(regions={"model": None, **heads, "bias": {"readout.bias": None}})["L1H0"]
    torch.testing.assert_close(alone.trace, beside.trace, rtol=1e-9, atol=1e-12)
    assert alone.noise_ratio == pytest.approx(beside.noise_ratio, rel=1e-6)


def test_heads_share_an_attention_layer_without_overlap():
    module = network()
    heads = head_regions(module)
    assert list(heads) == ["L0H0", "L0H1", "L1H0", "L1H1"]
    parameters = dict(module.named_parameters())
    for layer in (0, 1):
        counts: dict[str, torch.Tensor] = {}
        for head in (0, 1):
            for name, mask in heads[f"L{layer}H{head}"].items():
                assert mask.shape == parameters[name].shape
                counts[name] = counts.get(name, 0) + mask.int()
        assert set(counts) == {f"blocks.{layer}.attention.{p}" for p in ("qkv.weight", "qkv.bias", "output.weight")}
        assert all((count == 1).all() for count in counts.values())


def test_the_weights_of_a_head_move_that_head_only():
    module = network()
    moved = {name: p.detach().clone() for name, p in module.named_parameters()}
    heads = head_regions(module)
    for name, mask in heads["L0H1"].items():
        moved[name][mask] += 1.0
    x = torch.rand(2, 5, 8, dtype=torch.float64)
    attention = module.blocks[0].attention

    def output(parameters, head: int) -> torch.Tensor:
        masks = attention.head_masks(head)
        return attention.head_output(x, {p: parameters[f"blocks.0.attention.{p}"][m] for p, m in masks.items()})

    before = dict(module.named_parameters())
    assert torch.equal(output(moved, 0), output(before, 0))
    assert not torch.allclose(output(moved, 1), output(before, 1))


def test_coordinates_outside_a_region_stay_where_they_are():
    # The second weight would lower the loss without end, if it moved.
    module = Weights(0.0, 0.0)
    found = estimate(
        module, lambda m, _: m.w[0].square() - 1e3 * m.w[1], torch.zeros(1), {"first": {"w": [0]}}, batch_size=None
    )
    assert found["first"].n_parameters == 1 and found["first"].below == 0


# ---- Chains that die

QUADRATIC = {
    "n_beta": 1.0, "localization": 0.0, "step_size": 0.1, "n_chains": 12, "n_draws": 80, "n_burn_in": 0,
    "integrator": "euler",
}  # fmt: skip


@pytest.mark.parametrize("death", [math.nan, math.inf, 1e9])
def test_a_dead_chain_takes_no_part_in_anything(death):
    healthy = of_weights(lambda w: w.square().sum(), **QUADRATIC)
    result = of_weights(lambda w: torch.where(w.abs().max() < 1.5, w.square().sum(), death), **QUADRATIC)
    alive = torch.isfinite(result.trace).all(1)
    assert result.n_dead == int((~alive).sum()) and 0 < result.n_dead < 12
    assert torch.equal(result.trace[alive], healthy.trace[alive])
    assert result.mean == pytest.approx(float(healthy.trace[alive].mean()), rel=1e-12)
    for name in ("mcse", "rhat", "ess", "localization_share", "noise_ratio", "acceptance", "virial", "shift"):
        assert math.isfinite(getattr(result, name)), name
    assert not result.converged and f"{result.n_dead} chain" in result.failures["n_dead"]
    # Once dead, always dead.
    dead = torch.isnan(result.trace[~alive]).int()
    assert (dead.diff(dim=1) >= 0).all()


def test_chains_that_fall_over_an_edge_without_end_are_dead():
    result = of_weights(lambda w: (w.square() - w**4 / 4).sum(), **QUADRATIC | {"n_draws": 400})
    assert 0 < result.n_dead and (result.n_dead == 12 or math.isfinite(result.mean))


def test_without_a_living_chain_there_is_no_estimate():
    result = of_weights(lambda w: (1e9 * w).square().sum(), **QUADRATIC)
    assert result.n_dead == 12 and math.isnan(result.mean) and math.isnan(result.mcse)
    assert not result.converged and result.failures["mean"] == "no chain survived"


# ---- Data


class Items(Dataset):
    def __init__(self, data: tuple[torch.Tensor, ...]) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data[0])

    def __getitem__(self, i: int) -> tuple[torch.Tensor, ...]:
        return tuple(tensor[i] for tensor in self.data)


@pytest.mark.parametrize("kind", [TensorDataset, Items, list])
def test_data_may_be_a_dataset(kind):
    data = states()
    given = TensorDataset(*data) if kind is TensorDataset else kind(data)
    assert torch.equal(estimate(data=given)["model"].trace, estimate()["model"].trace)


def test_the_default_temperature_is_n_over_log_n():
    assert default_n_beta(1000) == pytest.approx(1000 / math.log(1000))
    assert estimate(n_beta=None)["model"].n_beta == pytest.approx(32 / math.log(32))


def test_every_seed_has_its_own_noise_and_batches():
    first, again, other = (estimate(seed=seed)["model"].trace for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.isclose(first[:, 1:], other[:, 1:]).any()
    assert not torch.isclose(first[0, 1:], first[1, 1:]).any()


# ---- Neutrality


class Disturbable(nn.Module):
    """Everything that an estimate could leave a trace in."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.ReLU(), PerParticle(network().blocks[0])
        )

    def forward(self, x):
        random.random(), np.random.rand(), torch.rand(1)
        return self.net(x[:, 0])


class PerParticle(nn.Module):
    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.widen, self.block = nn.Linear(6, 8), block

    def forward(self, x):
        return self.block(self.widen(x)[:, None].expand(-1, 3, -1))[..., :4].mean(1)


def everything(module: nn.Module) -> list:
    modules = list(module.modules())
    return [
        {name: tensor.clone() for name, tensor in module.state_dict().items()},
        {name: None if p.grad is None else p.grad.clone() for name, p in module.named_parameters()},
        {name: p.requires_grad for name, p in module.named_parameters()},
        [m.training for m in modules],
        [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in modules],
        torch.get_rng_state(), random.getstate(), list(np.random.get_state()), torch.is_grad_enabled(),
    ]  # fmt: skip


def same(a, b) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else bool(np.all(a == b))


@pytest.mark.parametrize("raises_at", [None, 1, 12, 30])
@pytest.mark.parametrize("regions", ["model", "heads"])
def test_a_module_in_training_is_left_as_it_was(regions, raises_at):
    torch.manual_seed(0)
    module = Disturbable().double()
    module.net[0].weight.grad = torch.full_like(module.net[0].weight, 0.5)
    module.net[0].bias.requires_grad_(False)
    module.train()
    module.net[1].eval()
    calls = 0

    def counted(m, batch):
        nonlocal calls
        calls += 1
        if calls == raises_at:
            raise ZeroDivisionError
        return F.mse_loss(m(batch[0]), batch[1][:, 0])

    before = everything(module)
    with torch.no_grad():
        wanted = head_regions(module) if regions == "heads" else None
        if raises_at is None:
            result = estimate(module, counted, regions=wanted)
            assert all(r.mean != 0 for r in result.values())
        else:
            with pytest.raises(ZeroDivisionError):
                estimate(module, counted, regions=wanted)
    assert same(before, everything(module))


def test_the_network_is_measured_in_evaluation_mode_with_gradients_on():
    module = Disturbable().double().train()
    fn = lambda m, batch: F.mse_loss(m(batch[0]), batch[1][:, 0])  # noqa: E731
    training = estimate(module, fn)["model"].trace
    with torch.no_grad():
        assert torch.equal(estimate(module.eval(), fn)["model"].trace, training)
