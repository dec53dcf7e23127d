"""What an LLC estimate refuses, in one line, and that all ranks give what one process gives."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lightning_physim import PhysicsTransformer
from lightning_physim.errors import Diverged, InputError
from lightning_physim.llc import SGLDConfig, estimate_llc, head_regions
from tests.helpers.defaults import defaults

QUICK = {"n_beta": 50.0, "localization": 10.0, "step_size": 1e-3, "n_draws": 6, "n_burn_in": 2, "batch_size": 8}


def data(n: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(n, 3, generator=generator), torch.rand(n, 2, generator=generator)


def loss(module: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return F.mse_loss(module(batch[0]), batch[1])


def estimate(loss_fn=loss, given=None, regions=None, module=None, **settings):
    module = nn.Linear(3, 2) if module is None else module
    return estimate_llc(module, loss_fn, data() if given is None else given, regions, SGLDConfig(**QUICK | settings))


def refuses(words: str):
    """InputError whose message is one line that holds ``words``."""
    return pytest.raises(InputError, match=rf"\A(?=.*{re.escape(words)})[^\n]*\Z")


@pytest.mark.parametrize(
    "region, words",
    [
        ({}, "region 'here' must have at least one coordinate"),
        ({"weight": torch.zeros(2, 3, dtype=torch.bool)}, "region 'here' must have at least one coordinate"),
        ({"weight": torch.ones(3, 2, dtype=torch.bool)}, "shape (2, 3) of weight; got (3, 2)"),
        ({"weight": [7]}, "region 'here' must index weight of shape (2, 3); got [7]"),
        ({"weigth": None}, "must name parameters of the module; got 'weigth': type one of weight, bias"),
    ],
)
def test_a_region_that_is_not_there_is_refused(region, words):
    with refuses(words):
        estimate(regions={"here": region})


def test_heads_of_a_module_without_heads_are_refused():
    with refuses("needs submodules torch.nn.MultiheadAttention, or with n_heads and head_masks(head); got Linear"):
        head_regions(nn.Linear(3, 2))


@pytest.mark.parametrize(
    "loss_fn, words",
    [
        (lambda m, b: F.mse_loss(m(b[0]), b[1], reduction="none"), "scalar tensor, the mean loss of the batch; got a"),
        (lambda m, b: loss(m, b).item(), "must return a scalar tensor, the mean loss of the batch; got float"),
    ],
)
def test_a_loss_that_is_no_scalar_is_refused(loss_fn, words):
    with refuses(words):
        estimate(loss_fn)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_where_the_loss_is_not_finite_there_is_no_learning_coefficient(bad):
    with pytest.raises(Diverged, match=rf"the loss at w\* is {bad}: there is no learning coefficient"):
        estimate(lambda m, b: loss(m, b) + bad)


@pytest.mark.parametrize(
    "given, words",
    [
        ((torch.rand(4, 3), torch.rand(5, 2)), "must have one first dimension, above 0; got [(4, 3), (5, 2)]"),
        ((torch.rand(0, 3), torch.rand(0, 2)), "must have one first dimension, above 0"),
        ((), "must be a tuple of tensors"),
        ([[1.0, 2.0]], "must be a tuple of tensors"),
        ({"x": torch.rand(4, 3)}, "must be a tuple of tensors with a common first dimension, or a Dataset of such"),
    ],
)
def test_data_without_a_common_first_dimension_is_refused(given, words):
    with refuses(words):
        estimate(given=given)


def test_inference_mode_is_refused():
    with torch.inference_mode(), refuses("needs gradients, which torch.inference_mode forbids"):
        estimate()


@pytest.mark.parametrize("settings", [{}, {"integrator": "baoab"}, {"preconditioner": "curvature"}])
def test_an_automatic_step_size_on_a_flat_loss_is_refused_without_localization(settings):
    def flat(module: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return 0 * loss(module, batch) + 1.0

    with refuses("needs curvature at w*; region 'model' has none"):
        estimate(flat, step_size="auto", localization=0.0, **settings)
    assert estimate(flat, step_size="auto", localization=1.0, **settings)["model"].mean == 0


@pytest.mark.parametrize(
    "setting, words",
    [
        ({"n_beta": 0.0}, "n_beta must be positive and finite; got 0.0"),
        ({"n_beta": float("inf")}, "n_beta must be positive"),
        ({"n_beta": "many"}, "n_beta must be positive"),
        ({"step_size": -1e-3}, "step_size must be positive"),
        ({"step_size": float("nan")}, "step_size must be positive"),
        ({"step_size": "automatic"}, "step_size must be positive"),
        ({"localization": -1.0}, "localization must be finite and not negative"),
        ({"localization": float("nan")}, "localization must be finite"),
        ({"n_chains": 0}, "n_chains must be at least 1"),
        ({"n_draws": 3}, "n_draws must be at least 4"),
        ({"n_burn_in": -1}, "n_burn_in must not be negative"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"seed": -1}, "seed must not be negative"),
        ({"target_mcse": 0.0}, "target_mcse must be positive"),
        ({"max_seconds": 0.0}, "max_seconds must be positive"),
        ({"preconditioner": "adam"}, "preconditioner must be one of rmsprop, curvature, None; got"),
        ({"integrator": "verlet"}, "integrator must be one of euler, leimkuhler_matthews, baoab; got"),
        ({"about": "mean"}, "about must be one of anchor, centre; got"),
    ],
)
def test_a_setting_out_of_its_range_is_refused(setting, words):
    with refuses(words):
        SGLDConfig(**setting)


# ---- Ranks


def network() -> PhysicsTransformer:
    torch.manual_seed(0)
    return PhysicsTransformer(n_layers=1, n_heads=3, d_model=6, d_mlp=6, embedding="linear").double()


def of_network(distributed: bool, settings: dict, offset: float = 0.0) -> dict[str, dict]:
    """Numbers of heads and model; 3 chains of 4 regions, so that the ranks hold unlike ones."""
    module = nn.Sequential(network(), nn.BatchNorm1d(5, dtype=torch.float64))
    module[1].running_mean += offset
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.rand(24, 5, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    config = SGLDConfig(**{"n_chains": 3, "n_beta": 50.0, "localization": 10.0, "batch_size": 8} | settings)
    regions = {"model": None} if config.n_chains == 1 else {"model": None, **head_regions(module)}
    found = estimate_llc(module, loss, (x, y), regions, config, distributed=distributed)
    assert (module[1].running_mean == offset).all()
    return {name: {**vars(r), "trace": r.trace.numpy(), "failures": r.failures} for name, r in found.items()}


CASES = {
    "all draws": {
        "n_draws": 8, "n_burn_in": 4, "control_variate": True, "about": "centre", "preconditioner": "curvature"
    },
    "until precise enough": {"n_draws": 400, "n_burn_in": 20, "target_mcse": 0.7, "preconditioner": "rmsprop"},
    "the virial taken out": {"n_draws": 8, "n_burn_in": 4, "zero_variance": True, "about": "centre"},
    "one rank without work": {"n_draws": 8, "n_burn_in": 4, "n_chains": 1},
}  # fmt: skip


def _refusal() -> str:
    module = nn.ParameterDict({"curved": nn.Parameter(torch.zeros(2)), "flat": nn.Parameter(torch.zeros(3))})
    regions = {name: {name: None} for name in module}
    try:
        estimate_llc(
            module, lambda m, _: m["curved"].square().sum() + 0 * m["flat"].sum(), torch.zeros(4), regions,
            SGLDConfig(n_beta=50.0, n_chains=1, n_draws=6), distributed=True,
        )  # fmt: skip
    except InputError as error:
        return str(error)
    return "accepted"


def _on_rank(rank: int, world: int) -> tuple[dict[str, dict], str]:
    # Ranks of DDP have batch statistics of their own: rank zero's count, and the others keep theirs.
    found = {case: of_network(True, settings, offset=float(rank)) for case, settings in CASES.items()}
    # Here rank 0 has the only chain of the curved region, and rank 1 that of the flat one.
    return found, _refusal()


@pytest.mark.slow
@pytest.mark.ddp
def test_two_ranks_give_and_refuse_what_one_process_does(on_ranks):
    (first, refusal), (second, same_refusal) = on_ranks(_on_rank)
    assert refusal == same_refusal and "region 'flat' has none" in refusal
    for case, settings in CASES.items():
        alone = of_network(False, settings)
        n_draws = alone["model"]["trace"].shape[1]
        # Precise enough neither at the first look nor at the end.
        assert n_draws in ([50, 75, 112, 168, 252, 378] if "target_mcse" in settings else [8])
        for name, result in alone.items():
            for key, value in result.items():
                one, two = first[case][name][key], second[case][name][key]
                if isinstance(value, (str, dict)):
                    assert one == two == value, (case, name, key)
                    continue
                torch.testing.assert_close(one, value, rtol=1e-9, atol=1e-12, equal_nan=True)
                torch.testing.assert_close(two, one, rtol=0, atol=0, equal_nan=True)


def test_defaults():
    assert defaults(SGLDConfig) == {
        "n_beta": None, "step_size": "auto", "localization": 0.0, "n_chains": 4, "n_draws": 200, "doublings": 0,
        "n_burn_in": 100, "batch_size": 256, "preconditioner": None, "integrator": "leimkuhler_matthews",
        "control_variate": False, "about": "anchor", "zero_variance": False, "target_mcse": None, "max_seconds": None,
        "seed": 0,
    }  # fmt: skip
