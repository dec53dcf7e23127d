"""How a training step of ``demo`` grows: one size after the other is changed, the rest stays.

An exponent is that of the last doubling, where overheads are smallest. One means proportional to the size.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F

from benchmarks.table import Row
from benchmarks.worlds import one_core, seconds
from lightning_physim import PhysicsTransformer

DEMO = {"particles": 16, "batch": 128, "heads": 4, "layers": 2, "width": 32}
SIZES = {
    "particles": (8, 16, 32, 64, 128),
    "batch": (16, 32, 64, 128, 256, 512),
    "heads": (1, 2, 4, 8, 16),
    "layers": (1, 2, 4, 8),
    "width": (16, 32, 64, 128),
}


def step_ms(particles: int, batch: int, heads: int, layers: int, width: int, repeats: int) -> float:
    """CPU milliseconds of loss and gradients."""
    torch.manual_seed(0)
    network = PhysicsTransformer(n_layers=layers, n_heads=heads, d_model=width, d_mlp=2 * width)
    states, targets = torch.randn(2, batch, particles, 4)

    def run() -> None:
        network.zero_grad()
        F.mse_loss(network(states), targets).backward()

    run()
    return 1e3 * seconds(run, repeats)


def measure(quick: bool) -> Iterator[Row | str]:
    one_core()
    for name, sizes in SIZES.items():
        found = [step_ms(**{**DEMO, name: size}, repeats=2 if quick else 15) for size in sizes]
        for size, ms in zip(sizes, found, strict=True):
            yield Row(f"{name} {size}", ms, "ms")
        yield f"| *{name}: exponent {math.log2(found[-1] / found[-2]):.2f} at the last doubling* | | | | |"
