"""The worlds, networks and data of the shipped configurations, without Trainer and callbacks."""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytorch_lightning as pl
import torch
import yaml

from lightning_physim import ParticleDataModule, ParticleSystem, PhysicsSimulator
from lightning_physim.cli.configs import resolve_config

CACHE = "data"


def config_of(name: str) -> dict[str, Any]:
    """A shipped configuration."""
    config: dict[str, Any] = yaml.safe_load(resolve_config(name).read_text())
    return config


def data_of(config: dict[str, Any]) -> ParticleDataModule:
    """Its data module, made and loaded."""
    given = dict(config["data"], cache_dir=CACHE, n_val=64, n_test=64)
    data = ParticleDataModule(system=ParticleSystem(**given.pop("system")), **given)
    data.prepare_data()
    data.setup("fit")
    return data


def model_of(config: dict[str, Any], data: ParticleDataModule) -> PhysicsSimulator:
    """Its module with the initial weights of seed 0, and the statistics of the data."""
    pl.seed_everything(0, verbose=False)
    model = PhysicsSimulator(**config["model"])
    model.network.take_statistics(data)
    return model


def batches_of(data: ParticleDataModule) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """States and targets ``[batch, particles, 4]`` of one training batch after the other, without end."""
    while True:
        for batch in data.train_dataloader():
            yield batch.states[:, 0].contiguous(), batch.targets[:, 0].contiguous()


def discs(particles: int, interval: float) -> ParticleSystem:
    """So many discs of ``demo`` at its packing."""
    side = math.sqrt(particles * math.pi * 0.05**2 / 0.126)
    return ParticleSystem(
        particles, (side, side), radius=0.05, stiffness=8000.0, restitution=0.8, gravity=1.0, interval=interval
    )


def one_core() -> None:
    """Compute as the shipped configurations do: on one thread, denormals taken for zero."""
    from lightning_physim.cli.arithmetic import set_arithmetic

    set_arithmetic(threads=1)


def seconds(run: Callable[[], Any], repeats: int = 3) -> float:
    """CPU seconds of the fastest of some calls."""
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        spent.append(time.process_time() - start)
    return min(spent)
