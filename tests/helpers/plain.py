"""A training that knows nothing of particles, and what could tell that somebody has watched it."""

import random
import warnings
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 3, generator=generator)
    return x, x.sum(1, keepdim=True).sin()


def loss_fn(module: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return F.mse_loss(module(batch[0]), batch[1])


class Plain(pl.LightningModule):
    """Knows nothing of particles, but has everything that an observer could disturb."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1)
        )
        self.net[4].eval()  # somebody froze a layer: its flag must stay as it is

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)

    def training_step(self, batch, batch_idx):
        self.seen = (random.random(), float(np.random.rand()), torch.rand(1).item())
        return loss_fn(self, batch)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), 1e-2)


class Diary(pl.Callback):
    """What training saw, step by step."""

    def __init__(self) -> None:
        self.pages: list[tuple] = []

    def on_train_batch_end(self, trainer, pl_module, *_):
        flags = tuple(m.training for m in pl_module.modules())
        gradients = tuple(p.grad.sum().item() for p in pl_module.parameters())
        self.pages.append((trainer.global_step, pl_module.seen, flags, gradients))


def train(callbacks: list, folder: Path, steps: int = 12, **kwargs) -> tuple[pl.Trainer, Plain]:
    pl.seed_everything(1, verbose=False)
    model = Plain()
    loader = DataLoader(TensorDataset(*data()), batch_size=16, shuffle=True)
    trainer = pl.Trainer(
        max_steps=steps, accelerator="cpu", callbacks=callbacks, logger=kwargs.pop("logger", False),
        default_root_dir=folder, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        **kwargs,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about few workers and failed diagnostics of so short chains
        trainer.fit(model, loader)
    return trainer, model


def everything(trainer: pl.Trainer, model: Plain) -> dict[str, torch.Tensor]:
    state = {f"weights/{name}": tensor for name, tensor in model.state_dict().items()}
    for number, entry in enumerate(trainer.optimizers[0].state_dict()["state"].values()):
        state |= {f"optimizer/{number}/{name}": torch.as_tensor(value) for name, value in entry.items()}
    state["torch"] = torch.get_rng_state()
    state["numpy"] = torch.from_numpy(np.random.get_state()[1].astype(np.int64))
    state["python"] = torch.tensor(random.getstate()[1])
    return {name: tensor.clone() for name, tensor in state.items()}
