"""Train and evaluation mode of a module, how its attention is computed, and whether its weights are finite."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel


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


@contextmanager
def plain_attention() -> Iterator[None]:
    """Attention by its formula inside.

    Fused kernels have no batching rule and no second derivative. The fast path of torch's own layers has neither, and
    tells no patterns.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def is_finite(module: nn.Module) -> bool:
    """Whether every parameter is."""
    return all(bool(torch.isfinite(parameter).all()) for parameter in module.parameters())
