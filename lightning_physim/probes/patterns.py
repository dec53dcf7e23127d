"""Attention patterns of a network, whether it shows them or only computes them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lightning_physim.errors import InputError
from lightning_physim.modes import plain_attention
from lightning_physim.protocols import HasAttention, offers

POSITIONAL = (
    "query", "key", "value", "key_padding_mask", "need_weights", "attn_mask", "average_attn_weights", "is_causal",
)  # fmt: skip
"""Arguments of ``torch.nn.MultiheadAttention.forward``, in their order."""


def has_attention(module: nn.Module) -> bool:
    """Whether :func:`attention_patterns` has something to show of a module."""
    return offers(module, HasAttention) or bool(_layers(module))


def attention_patterns(module: nn.Module, inputs: Tensor) -> Tensor:
    """What every attention head of a module looks at.

    A module with ``attention(inputs)`` tells it by itself. Of any other the patterns of all
    ``torch.nn.MultiheadAttention`` are taken while it computes ``module(inputs)``, those within
    ``torch.nn.TransformerEncoderLayer`` included; its output does not change.

    Args:
        module: any network.
        inputs: what its ``forward`` takes.

    Returns:
        Patterns ``[layers, batch, heads, query, key]``, rows summing to 1; layers in the order of
        ``module.named_modules()``, as :func:`lightning_physim.llc.head_regions` counts them.

    Raises:
        InputError: no attention, a layer that is not used once, or layers whose patterns differ in shape.
    """
    if offers(module, HasAttention):
        return module.attention(inputs)  # type: ignore[operator]
    layers = _layers(module)
    if not layers:
        raise InputError(
            f"attention patterns come from attention(inputs) or torch.nn.MultiheadAttention; "
            f"{type(module).__name__} has neither: give it a method attention"
        )
    taken: dict[str, list[Tensor]] = {name: [] for name in layers}
    with plain_attention(), _watched(layers, taken):
        module(inputs)
    unlike = {name: len(patterns) for name, patterns in taken.items() if len(patterns) != 1}
    if unlike:
        name, times = next(iter(unlike.items()))
        raise InputError(f"an attention layer is used once in a forward pass; {name} was {times} times")
    patterns = [found for (found,) in taken.values()]
    shapes = {tuple(found.shape) for found in patterns}
    if len(shapes) > 1 or patterns[0].ndim != 4:
        shown = ", ".join(map(str, sorted(shapes)))
        raise InputError(f"patterns of all layers are [batch, heads, query, key] of one shape; got {shown}")
    return torch.stack(patterns)


def _layers(module: nn.Module) -> dict[str, nn.MultiheadAttention]:
    return {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.MultiheadAttention)}


@contextmanager
def _watched(layers: dict[str, nn.MultiheadAttention], taken: dict[str, list[Tensor]]) -> Iterator[None]:
    """Ask every layer for the patterns of each head, and give its caller what that has asked for."""
    handles = []
    for name, layer in layers.items():
        wanted: list[tuple[bool, bool]] = []

        def before(
            _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], wanted: list[tuple[bool, bool]] = wanted
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            by_name = dict(zip(POSITIONAL, args, strict=False)) | kwargs
            wanted.append((by_name.get("need_weights", True), by_name.get("average_attn_weights", True)))
            return (), by_name | {"need_weights": True, "average_attn_weights": False}

        def after(
            _: nn.Module, args: tuple[Any, ...], output: tuple[Tensor, Tensor], name: str = name,
            wanted: list[tuple[bool, bool]] = wanted,
        ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
            value, patterns = output
            taken[name].append(patterns)
            needs, averaged = wanted.pop()
            return value, None if not needs else patterns.mean(-3) if averaged else patterns

        handles += [layer.register_forward_pre_hook(before, with_kwargs=True), layer.register_forward_hook(after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
