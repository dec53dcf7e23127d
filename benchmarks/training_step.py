"""What Lightning adds to a training step: `python benchmarks/training_step.py [--config demo]`.

Trains the same network on the same data set twice, through `Trainer.fit` with the configuration's callbacks and the
JSON-lines logger, and in a bare PyTorch loop with the same optimizer and the same batches, in alternating blocks of one
process, and prints the ratio of their times per step. A block's first steps are left out. Machines are noisy: the
ratio of each pair of neighbouring blocks is taken, and the median of these reported.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import pytorch_lightning as pl
import torch
import yaml

from lightning_physim import ParticleDataModule, ParticleSystem, PhysicsSimulator
from lightning_physim.callbacks import (
    CollisionProbe,
    LogSpacedCheckpoint,
    LogSpacedValidation,
    StepProgressBar,
    TrainingClock,
)
from lightning_physim.cli.configs import resolve_config
from lightning_physim.tracking import JsonlLogger

WARM = 100


class Stopwatch(pl.Callback):
    """Time per step between the first `WARM` steps and the end, what measuring callbacks take included."""

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.global_step == WARM:
            self.start = time.perf_counter()

    def on_train_end(self, trainer: pl.Trainer, *_: object) -> None:
        self.per_step = (time.perf_counter() - self.start) / (trainer.global_step - WARM)


def make(config: dict, cache: str) -> tuple[PhysicsSimulator, ParticleDataModule]:
    pl.seed_everything(0, verbose=False)
    data = dict(config["data"], cache_dir=cache, n_val=64, n_test=64)
    return PhysicsSimulator(**config["model"]), ParticleDataModule(system=ParticleSystem(**data.pop("system")), **data)


def through_lightning(config: dict, cache: str, steps: int, observers: bool) -> float:
    model, data = make(config, cache)
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        measuring = (
            [TrainingClock(), LogSpacedValidation(), CollisionProbe(), LogSpacedCheckpoint()] if observers else []
        )
        trainer = pl.Trainer(
            max_steps=steps,
            max_epochs=-1,
            accelerator="auto",
            devices=1,
            callbacks=[*measuring, StepProgressBar(), watch],
            logger=JsonlLogger(Path(folder) / "metrics.jsonl"),
            log_every_n_steps=config["trainer"]["log_every_n_steps"],
            check_val_every_n_epoch=None,
            val_check_interval=10**6,
            limit_val_batches=None if observers else 0,
            num_sanity_val_steps=0,
            enable_checkpointing=observers,
            enable_model_summary=False,
            default_root_dir=folder,
        )
        trainer.fit(model, datamodule=data)
    return watch.per_step


def bare(config: dict, cache: str, steps: int) -> float:
    model, data = make(config, cache)
    data.prepare_data()
    data.setup("fit")
    network = model.network
    network.target.load_state_dict(data.target.state_dict())
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device)
    optimizer = torch.optim.Adam(network.parameters(), config["model"]["lr"])
    warmup = config["model"]["warmup_steps"]
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / (warmup + 1)))
    done, start = 0, 0.0
    while done < steps:
        for batch in data.train_dataloader():
            states, targets = batch.states[:, 0].to(device), batch.targets[:, 0].to(device)
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(network(states), targets).backward()
            optimizer.step()
            scheduler.step()
            done += 1
            if done == WARM:
                start = time.perf_counter()
            if done == steps:
                break
    return (time.perf_counter() - start) / (steps - WARM)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="demo")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cache", default="data")
    given = parser.parse_args()
    config = yaml.safe_load(resolve_config(given.config).read_text())
    rows = []
    for repeat in range(given.repeats):
        rows.append(
            (
                bare(config, given.cache, given.steps),
                through_lightning(config, given.cache, given.steps, observers=False),
                through_lightning(config, given.cache, given.steps, observers=True),
            )
        )
        print(f"repeat {repeat}: " + ", ".join(f"{1e3 * seconds:.3f} ms" for seconds in rows[-1]), flush=True)
    plain = statistics.median(lightning / loop for loop, lightning, _ in rows)
    full = statistics.median(lightning / loop for loop, _, lightning in rows)
    what = f"{given.config}, {given.steps} steps, {torch.get_num_threads()} threads"
    print(f"\n| {what} | ms per step (best) | ratio (median) |")
    print("|---|---|---|")
    print(f"| bare PyTorch loop | {1e3 * min(r[0] for r in rows):.3f} | 1 |")
    print(f"| Trainer.fit, logging and progress bar | {1e3 * min(r[1] for r in rows):.3f} | {plain:.3f} |")
    print(f"| the same, measuring at log-spaced steps | {1e3 * min(r[2] for r in rows):.3f} | {full:.3f} |")


if __name__ == "__main__":
    main()
