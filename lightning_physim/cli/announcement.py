"""What a training is about to do, where, and how long it should take: said before anything slow."""

import sys
import textwrap
from typing import Any

import pytorch_lightning as pl

from lightning_physim.callbacks import observers
from lightning_physim.cli.help import HELP_WIDTH
from lightning_physim.cli.shipped import TIMES
from lightning_physim.data import ParticleDataModule, missing_splits
from lightning_physim.tracking import RunDirectory
from lightning_physim.tracking.provenance import device_name


def announce(
    trainer: pl.Trainer, module: pl.LightningModule, data: ParticleDataModule, run: RunDirectory, name: str, seed: Any,
    first_step: int, shipped: bool,
) -> None:  # fmt: skip
    """Print it, a line each.

    Args:
        trainer, module, data: of the training.
        run: where it is left.
        name: of the configuration.
        seed: of the weights.
        first_step: that a run goes on from; 0 for a new one.
        shipped: whether the configuration is a shipped one with nothing that changes the time.
    """
    missing = missing_splits(data.specs.values(), data.cache_dir)
    n_made = sum(spec.n_trajectories for spec in missing)
    measured = ", ".join(observer.what or observer.name for observer in observers(trainer))
    lines = {
        name: f"{_network(module)}, {_length(trainer, first_step)} on {_devices(trainer)}, seed {seed}",
        "data": f"{data.cache_dir}/, " + (f"{n_made:,} trajectories to be made first" if missing else "made before"),
        "measured": measured or "losses alone",
        "run": f"{run.path}/",
        "time": (TIMES.get(name) if shipped else None) or "told by the bar; Ctrl-C ends training with a checkpoint",
    }
    width = max(map(len, lines)) + 2
    for title, text in lines.items():
        told = textwrap.wrap(text, HELP_WIDTH - width, break_long_words=False, break_on_hyphens=False)
        print(f"{title:<{width}}" + f"\n{'':<{width}}".join(told), file=sys.stderr)


def _network(module: pl.LightningModule) -> str:
    n = sum(parameter.numel() for parameter in module.parameters())
    return f"{n:,} parameters"


def _length(trainer: pl.Trainer, first_step: int) -> str:
    """Of the training, in steps or else in epochs."""
    if trainer.max_steps > 0:
        return f"steps {first_step:,} to {trainer.max_steps:,}" if first_step else f"{trainer.max_steps:,} steps"
    return f"{trainer.max_epochs} epochs" if (trainer.max_epochs or -1) > 0 else "until it is stopped"


def _devices(trainer: pl.Trainer) -> str:
    device = device_name(trainer)
    return device if trainer.world_size == 1 else f"{trainer.world_size} × {device}"
