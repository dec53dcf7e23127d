"""What a training step of the module does beside the network's."""

import copy
import logging

import pytest
import pytorch_lightning as pl
import torch

from lightning_physim import ParticleDataModule, ParticleSystem, PhysicsSimulator
from lightning_physim.callbacks.hooks import INNER_HOOKS, leave_out_unused_hooks
from lightning_physim.errors import InputError
from lightning_physim.module import OPTIMIZERS, compiled_where_possible

SYSTEM = ParticleSystem(n_particles=6, box=(1.0, 1.0), radius=0.05, stiffness=8000.0, restitution=0.8, interval=0.05)

# torch 2.13's own compiler uses what it deprecates.
OLD_JIT = pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    cache = str(tmp_path_factory.mktemp("data"))
    return ParticleDataModule(
        SYSTEM, n_train=8, n_val=2, n_test=2, n_intervals=4, ood={}, batch_size=4, cache_dir=cache
    )


def losses(data, tmp_path, hooks=True, **options) -> list[float]:
    """Of five training steps."""
    found = []

    class Note(pl.Callback):
        def on_train_batch_end(self, trainer, module, outputs, *_):
            found.append(float(outputs["loss"]))

    pl.seed_everything(0, verbose=False)
    model = PhysicsSimulator(n_layers=1, n_heads=2, d_model=8, d_mlp=8, d_embedding=8, rollout_horizons=(1,), **options)
    trainer = pl.Trainer(
        max_steps=5, accelerator="cpu", callbacks=[Note()], logger=False, limit_val_batches=0,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    if not hooks:
        leave_out_unused_hooks(trainer, model)
    trainer.fit(model, datamodule=copy.deepcopy(data))
    return found


def test_hooks_that_nobody_uses_are_left_out_and_nothing_else(data, tmp_path):
    whole = losses(data, tmp_path)
    assert len(whole) == 5 and losses(data, tmp_path, hooks=False) == whole
    for name in INNER_HOOKS:
        assert callable(getattr(pl.Callback, name)) and callable(getattr(pl.LightningModule, name))


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_the_fused_optimizer_steps_as_the_plain_one(data, tmp_path, optimizer, monkeypatch):
    fused = losses(data, tmp_path, optimizer=optimizer, lr=0.01, warmup_steps=0)
    make, options = OPTIMIZERS[optimizer]

    def plain(*args, fused, **others):
        assert fused
        return make(*args, **others)

    monkeypatch.setitem(OPTIMIZERS, optimizer, (plain, options))
    assert losses(data, tmp_path, optimizer=optimizer, lr=0.01, warmup_steps=0) == pytest.approx(fused, rel=1e-6)
    assert fused[-1] != fused[0]


@OLD_JIT
def test_without_a_compiler_training_goes_on_with_one_line(data, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "none"))
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("/no/such/compiler",))
    torch._dynamo.reset()
    plain = losses(data, tmp_path)
    with caplog.at_level(logging.WARNING, "lightning_physim"):
        assert losses(data, tmp_path, compile=True) == plain
    (line,) = (record.message for record in caplog.records if record.name == "lightning_physim.module")
    assert line.startswith("training goes on without torch.compile, which failed: InvalidCxxCompiler")
    assert "\n" not in line


@OLD_JIT
def test_what_the_loss_itself_refuses_is_not_taken_for_the_compilers_trouble():
    def loss(batch):
        raise ValueError("not this batch")

    with pytest.raises(ValueError, match="not this batch"):
        compiled_where_possible(loss)(torch.zeros(1))


@OLD_JIT
@pytest.mark.slow
def test_the_compiled_loss_is_the_plain_one(data, tmp_path):
    torch._dynamo.reset()
    assert losses(data, tmp_path, compile=True) == pytest.approx(losses(data, tmp_path), rel=1e-5)


@pytest.mark.parametrize("name", ["optimizer", "schedule", "embedding", "norm"])
def test_a_name_that_does_not_exist_is_refused_with_those_that_do(name):
    with pytest.raises(InputError, match=f"{name} must be one of .*, .*; got 'linaer'"):
        PhysicsSimulator(**{name: "linaer"})
