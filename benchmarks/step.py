"""A training step: ours, eager and compiled, against plain PyTorch and a JAX jit, and what Lightning adds.

All train the same network from the same weights on the same batches, in alternating blocks over a thousand steps: what
a step costs changes while heads sharpen, as their weights on far particles become denormal. *Plain PyTorch* is the
formula as one writes it: fused attention with a boolean mask, ``torch.optim.Adam`` as it comes, denormals as they come.
Its losses over the first 20 steps are those of ours to 1e-6.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.table import Row
from benchmarks.worlds import batches_of, config_of, data_of, model_of, one_core
from lightning_physim.callbacks import StepProgressBar, leave_out_unused_hooks
from lightning_physim.model.transformer import Attention
from lightning_physim.tracking import JsonlLogger

BLOCK = 25
"""Steps of one contender before it is the next one's turn."""


class PlainAttention(Attention):
    """The layer by PyTorch's fused attention, as it was before batched products."""

    def forward(self, x: Tensor) -> Tensor:
        split = self.qkv(x).unflatten(-1, (3, self.n_heads, x.shape[-1] // self.n_heads))
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        visible = ~torch.eye(x.shape[1], dtype=torch.bool)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=visible)
        return self.output(mixed.transpose(1, 2).flatten(2))


Step = Callable[[Tensor, Tensor], float]


def torch_step(network: torch.nn.Module, lr: Callable[[int], float], fused: bool, compiled: bool) -> Step:
    optimizer = torch.optim.Adam(network.parameters(), lr(0), fused=fused or None)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr(step) / lr(0))

    def loss(states: Tensor, targets: Tensor) -> Tensor:
        return F.mse_loss(network(states), targets)

    run = torch.compile(loss, dynamic=False) if compiled else loss

    def step(states: Tensor, targets: Tensor) -> float:
        optimizer.zero_grad()
        value = run(states, targets)
        value.backward()
        optimizer.step()
        scheduler.step()
        return value.item()

    return step


def contenders(config: dict[str, Any], data: Any) -> dict[str, Step]:
    """Everybody's step, each from the same weights."""
    warmup, peak = config["model"]["warmup_steps"], config["model"]["lr"]

    def lr(step: int) -> float:
        return peak * min(1.0, (step + 1) / (warmup + 1))

    plain = model_of(config, data).network
    for block in plain.blocks:
        block.attention.__class__ = PlainAttention
    steps = {
        "plain": torch_step(plain, lr, fused=False, compiled=False),
        "eager": torch_step(model_of(config, data).network, lr, fused=True, compiled=False),
        "compiled": torch_step(model_of(config, data).network, lr, fused=True, compiled=True),
    }
    try:
        import jax  # noqa: F401

        from benchmarks.jax_step import make_step

        jitted = make_step(model_of(config, data).network, lr)
        steps["jax"] = lambda states, targets: jitted(states.numpy(), targets.numpy())
    except ImportError:
        print("JAX is left out: pip install 'jax[cpu]'")
    return steps


def compare(config: dict[str, Any], data: Any, n_steps: int) -> dict[str, float]:
    """CPU seconds a step, by contender."""
    steps, batches = contenders(config, data), batches_of(data)
    first = list(islice(batches, 20))
    losses = {name: [step(*batch) for batch in first] for name, step in steps.items()}
    for name, values in losses.items():
        apart = max(abs(a - b) for a, b in zip(values, losses["plain"], strict=True))
        # XLA approximates exponentials and the error function its own way.
        assert apart < (1e-5 if name == "jax" else 1e-6), (
            f"{name} departs from plain PyTorch by {apart:g} within 20 steps"
        )
    spent = dict.fromkeys(steps, 0.0)
    for _ in range(max(1, n_steps // BLOCK)):
        block = list(islice(batches, BLOCK))
        for name, step in steps.items():
            torch.set_flush_denormal(name != "plain")
            start = time.process_time()
            for batch in block:
                step(*batch)
            spent[name] += time.process_time() - start
    return {name: value / (max(1, n_steps // BLOCK) * BLOCK) for name, value in spent.items()}


class Watch(pl.Callback):
    """CPU seconds a step of a fit, without its first fifth."""

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.global_step == trainer.max_steps // 5:
            self.start = time.process_time()

    def on_train_end(self, trainer: pl.Trainer, *_: object) -> None:
        self.per_step = (time.process_time() - self.start) / (trainer.max_steps - trainer.max_steps // 5)


def through_lightning(config: dict[str, Any], data: Any, n_steps: int) -> float:
    """CPU seconds a step of ``Trainer.fit`` with progress bar and ``metrics.jsonl``, nothing measured."""
    model, watch = model_of(config, data), Watch()
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            max_steps=n_steps,
            max_epochs=-1,
            accelerator="cpu",
            devices=1,
            callbacks=[StepProgressBar(), watch],
            logger=JsonlLogger(Path(folder) / "metrics.jsonl"),
            log_every_n_steps=10,
            limit_val_batches=0,
            enable_checkpointing=False,
            enable_model_summary=False,
            default_root_dir=folder,
        )
        leave_out_unused_hooks(trainer, model)
        trainer.fit(model, datamodule=data)
    return watch.per_step


def bare_loop(config: dict[str, Any], data: Any, n_steps: int) -> float:
    """CPU seconds a step of the same training as a loop of PyTorch, batches included."""
    model = model_of(config, data)
    step = torch_step(model.network, lambda _: config["model"]["lr"], fused=True, compiled=False)
    batches = batches_of(data)
    for batch in islice(batches, n_steps // 5):
        step(*batch)
    start = time.process_time()
    for batch in islice(batches, n_steps - n_steps // 5):
        step(*batch)
    return (time.process_time() - start) / (n_steps - n_steps // 5)


def measure(quick: bool) -> Iterator[Row]:
    one_core()
    n_steps = 200 if quick else 1000
    for name in ("smoke", "demo"):
        config = config_of(name)
        data = data_of(config)
        ms = {who: 1e3 * value for who, value in compare(config, data, n_steps).items()}
        yield Row(f"{name}, eager", ms["eager"], "ms", "plain PyTorch", ms["plain"])
        yield Row(f"{name}, compiled", ms["compiled"], "ms", "plain PyTorch", ms["plain"])
        if "jax" in ms:
            yield Row(f"{name}, eager, and JAX", ms["eager"], "ms", "JAX jit", ms["jax"])
            yield Row(f"{name}, compiled, and JAX", ms["compiled"], "ms", "JAX jit", ms["jax"])
        torch.set_flush_denormal(True)
        loop, fit = bare_loop(config, data, n_steps), through_lightning(config, data, n_steps)
        yield Row(f"{name}, Trainer.fit", 1e3 * fit, "ms", "bare loop (limit)", 1e3 * loop)
