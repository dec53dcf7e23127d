"""Train and evaluation mode of a module, and whether its weights are finite."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, and every submodule's own train/eval flag back afterwards."""
    flags = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for m, training in flags:
            m.training = training


def is_finite(module: nn.Module) -> bool:
    """Whether every parameter is."""
    return all(bool(torch.isfinite(parameter).all()) for parameter in module.parameters())
