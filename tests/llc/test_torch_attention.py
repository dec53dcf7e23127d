"""Heads of torch's own attention are regions without glue."""

import pytest
import torch
from torch import nn

from lightning_physim.llc import SGLDConfig, estimate_llc, gauss_newton_spectra, head_regions

VARIANTS = [
    {},
    {"bias": False},
    {"kdim": 6, "vdim": 10},
    {"add_bias_kv": True},
]


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_heads_share_a_layer_without_overlap_and_leave_the_last_bias(options):
    layer = nn.MultiheadAttention(8, 4, **options)
    regions = head_regions(layer)
    assert list(regions) == ["L0H0", "L0H1", "L0H2", "L0H3"]
    parameters = dict(layer.named_parameters())
    counts = {name: torch.zeros_like(p, dtype=torch.int) for name, p in parameters.items()}
    for masks in regions.values():
        for name, mask in masks.items():
            counts[name] += mask.int()
    for name, count in counts.items():
        assert (count == (0 if name == "out_proj.bias" else 1)).all(), name


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_the_weights_of_a_head_move_that_head_only(options):
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 4, batch_first=True, **options).double()
    q, k, v = (torch.randn(2, 5, d, dtype=torch.float64) for d in (8, options.get("kdim", 8), options.get("vdim", 8)))

    def heads(module: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
        """Patterns ``[batch, heads, query, key]``, and what each head adds to the output, ``[heads, batch, ...]``."""
        whole, patterns = module(q, k, v, average_attn_weights=False)
        added = []
        weight = module.out_proj.weight
        kept = weight.detach().clone()
        for head in range(4):
            weight.data.zero_()
            weight.data[:, 2 * head : 2 * head + 2] = kept[:, 2 * head : 2 * head + 2]
            added.append(module(q, k, v)[0])
        weight.data.copy_(kept)
        return patterns, torch.stack(added)

    with torch.no_grad():
        patterns, added = heads(layer)
        for name, mask in head_regions(layer)["L0H2"].items():
            layer.get_parameter(name)[mask] += 0.7
        moved_patterns, moved = heads(layer)
    others = [0, 1, 3]
    assert torch.equal(moved_patterns[:, others], patterns[:, others])
    torch.testing.assert_close(moved[others], added[others], rtol=1e-12, atol=1e-12)
    assert (moved_patterns[:, 2] - patterns[:, 2]).abs().max() > 0.01
    assert (moved[2] - added[2]).abs().max() > 0.1


def network() -> nn.Module:
    torch.manual_seed(1)
    layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True, norm_first=True)
    return nn.Sequential(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(8, 1)).double().eval()


def loss(module, batch):
    return (module(batch[0]) - batch[1]).square().mean()


def test_estimates_and_spectra_of_an_encoder_are_those_of_its_masks():
    module = network()
    data = (torch.randn(24, 5, 8, dtype=torch.float64), torch.randn(24, 5, 1, dtype=torch.float64))
    config = SGLDConfig(
        n_beta=50.0, localization=100.0, step_size=1e-4, n_chains=2, n_draws=6, n_burn_in=2, batch_size=8
    )
    heads = head_regions(module)
    assert list(heads) == ["L0H0", "L0H1", "L1H0", "L1H1"]
    found = estimate_llc(module, loss, data, heads, config)
    by_masks = estimate_llc(module, loss, data, {name: dict(masks) for name, masks in heads.items()}, config)
    assert found.note == ""  # all chains in one batch
    for name, result in found.items():
        torch.testing.assert_close(by_masks[name].trace, result.trace, rtol=1e-9, atol=1e-12)
        assert result.trace.abs().min() > 0
    spectra = gauss_newton_spectra(module, lambda m, batch: m(batch[0]) - batch[1], data, heads)
    # The trace of the Gauss-Newton matrix is the sum of squares of the derivatives of the residuals, twice their mean.
    for name, masks in heads.items():
        total = 0.0
        for row in range(24):
            residual = module(data[0][row : row + 1]).flatten()
            for value in residual:
                slopes = torch.autograd.grad(value, [module.get_parameter(p) for p in masks], retain_graph=True)
                total += sum(float(s[m].square().sum()) for s, m in zip(slopes, masks.values(), strict=True))
        assert spectra[name].trace == pytest.approx(2 * total / (24 * 5), rel=1e-6)
