"""Attention patterns of networks that do not show them."""

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger
from torch import nn

from lightning_physim import ParticleDataModule, PhysicsTransformer
from lightning_physim.callbacks import CollisionProbe, Snapshots
from lightning_physim.errors import InputError
from lightning_physim.loggers import RunLogger
from lightning_physim.probes import attention_patterns, has_attention
from tests.helpers.systems import SIX


class Blocks(nn.Module):
    """Two layers that use attention as networks do: one asks for averaged weights, one for none."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.MultiheadAttention(8, 2, batch_first=True)
        self.second = nn.MultiheadAttention(8, 2, batch_first=True)
        self.averaged: torch.Tensor | None = None

    def forward(self, x):
        y, self.averaged = self.first(x, x, x)
        z, nothing = self.second(y, y, y, None, False)
        assert nothing is None
        return z


def encoder(norm_first: bool = True) -> nn.TransformerEncoder:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, norm_first=norm_first)
    return nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)


def test_patterns_are_those_that_each_layer_tells_of_each_head():
    torch.manual_seed(0)
    module, x = Blocks(), torch.randn(3, 5, 8)
    patterns = attention_patterns(module, x)
    assert patterns.shape == (2, 3, 2, 5, 5)
    y, first = module.first(x, x, x, average_attn_weights=False)
    _, second = module.second(y, y, y, average_attn_weights=False)
    torch.testing.assert_close(patterns, torch.stack([first, second]))
    torch.testing.assert_close(module.averaged, first.mean(1))  # the network has got what it asked for


@pytest.mark.parametrize("norm_first", [True, False])
def test_an_encoder_is_seen_through_its_fast_path_and_computes_the_same(norm_first):
    module, x = encoder(norm_first).eval(), torch.randn(4, 6, 8)
    with torch.no_grad():
        before = module(x)
        patterns = attention_patterns(module, x)
        assert torch.equal(module(x), before) and torch.backends.mha.get_fastpath_enabled()
    assert patterns.shape == (3, 4, 2, 6, 6)
    torch.testing.assert_close(patterns.sum(-1), torch.ones(3, 4, 2, 6))
    normed = module.layers[0].norm1(x) if norm_first else x
    _, first = module.layers[0].self_attn(normed, normed, normed, average_attn_weights=False)
    torch.testing.assert_close(patterns[0], first)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def test_a_network_that_shows_them_is_asked():
    network = PhysicsTransformer(n_layers=1, n_heads=2, d_model=8, d_mlp=8, d_embedding=8)
    states = torch.randn(2, 4, 4)
    assert has_attention(network)
    assert torch.equal(attention_patterns(network, states), network.attention(states))


def test_what_cannot_be_seen_is_said():
    assert not has_attention(nn.Linear(2, 2))
    with pytest.raises(InputError, match="Linear has neither"):
        attention_patterns(nn.Linear(2, 2), torch.zeros(1, 2))
    twice = nn.Sequential(layer := encoder(), layer)
    with pytest.raises(InputError, match="used once in a forward pass; 0.layers.0.self_attn was 2 times"):
        attention_patterns(twice, torch.zeros(1, 3, 8))
    assert torch.backends.mha.get_fastpath_enabled()
    uneven = nn.Sequential(encoder(), nn.TransformerEncoderLayer(8, 4, 8, batch_first=True))
    with pytest.raises(InputError, match="of one shape; got"):
        attention_patterns(uneven, torch.zeros(1, 3, 8))
    with pytest.raises(InputError, match="of one shape; got"):
        attention_patterns(encoder(), torch.zeros(3, 8))  # no batch


class Tables(RunLogger, Logger):
    """Remembers at which steps it got the table of attention against distance."""

    name = version = ""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []

    def log_metrics(self, metrics, step=None):
        """Nothing."""

    def log_hyperparams(self, *_, **__):
        """Nothing."""

    def log_table(self, key, columns, data, step=None):
        assert key == "probe/attention_distance"
        self.steps.append(step)


class Foreign(pl.LightningModule):
    """A simulator that somebody has made of torch's own layers, and that knows nothing of this package."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.read = nn.Linear(4, 8), nn.Linear(8, 4)
        self.encoder = encoder()

    def forward(self, state):
        return state + self.read(self.encoder(self.embed(state)))

    def training_step(self, batch, batch_idx):
        return (self(batch.states[:, 0]) - batch.states[:, 1]).square().mean()

    def validation_step(self, batch, batch_idx):
        """Nothing."""

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-3)


def test_the_probe_and_the_snapshots_take_a_foreign_network_without_glue(tmp_path):
    data = ParticleDataModule(
        SIX, n_train=8, n_val=4, n_test=2, n_intervals=3, velocity_std=0.7, batch_size=4, cache_dir=tmp_path
    )
    probe, snapshots = CollisionProbe(n_states=6, steps_per_decade=2), Snapshots(n_states=2, n_rollouts=1)
    tables = Tables()
    trainer = pl.Trainer(
        max_steps=40, max_epochs=-1, callbacks=[probe, snapshots], logger=[tables], enable_checkpointing=False,
        accelerator="cpu", enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
        limit_val_batches=0,
    )  # fmt: skip
    module = Foreign()
    trainer.fit(module, datamodule=data)
    heads = {key.rpartition("/")[2] for key in probe.history}
    assert heads == {f"L{layer}H{head}" for layer in range(3) for head in range(2)}
    steps, values = probe.history["probe/partner_score/L2H1"]
    assert steps == [0, 1, 3, 10, 32, 40] and all(0 < value < 1 for value in values)
    assert tables.steps == [1, 10, 40]  # once a decade, and at the end
    assert snapshots.record(module)["attention"].shape[:3] == (3, 2, 2)
