"""Regions: which coordinates of a network's parameters are free to move."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lightning_physim.errors import InputError
from lightning_physim.keys import head_name
from lightning_physim.protocols import AttentionLayer, offers

RegionSpec = Mapping[str, Any] | None
"""None for all parameters, or ``{parameter name: boolean mask, or what else indexes the tensor, or None for all}``."""


class HeadRegion(dict[str, Any]):
    """``{parameter name: mask}`` of one attention head, and where it sits, so that only that head is recomputed."""

    def __init__(self, masks: Mapping[str, Tensor], attention: str, head: int) -> None:
        super().__init__(masks)
        self.attention = attention
        self.head = head


def head_regions(module: nn.Module) -> dict[str, HeadRegion]:
    """The weights of every attention head of ``module`` as regions ``{"L0H0": ..., "L0H1": ...}``.

    A head owns its rows of the query, key and value projections, weights and biases, and its columns of the output
    projection: the refined LLC of Wang et al. 2024 (arXiv 2410.02984).

    Attention layers are ``torch.nn.MultiheadAttention``, those within ``torch.nn.TransformerEncoderLayer`` included.
    So is every submodule that has ``n_heads`` and ``head_masks(head)``, which gives ``{name: bool mask}`` over its own
    parameters. If it also has ``head_output(x, weights)``, what a head with those weights adds to the layer's output,
    then only that is computed for each chain, and the other heads once for all.

    Raises:
        InputError: no such submodule.
    """
    layers = {path: masks for path, layer in module.named_modules() if (masks := _masks_of_heads(layer))}
    if not layers:
        raise InputError(
            "head_regions needs submodules torch.nn.MultiheadAttention, or with n_heads and head_masks(head); "
            f"got {type(module).__name__} without: give {{name: {{parameter: mask}}}}"
        )
    return {
        head_name(layer, head): HeadRegion(
            {f"{path}.{name}" if path else name: mask for name, mask in masks.items()}, path, head
        )
        for layer, (path, heads) in enumerate(layers.items())
        for head, masks in enumerate(heads)
    }


def _masks_of_heads(layer: nn.Module) -> list[Mapping[str, Tensor]]:
    """The masks of every head of a layer; empty for one that is no attention."""
    if isinstance(layer, nn.MultiheadAttention):
        return [_multihead_masks(layer, head) for head in range(layer.num_heads)]
    if offers(layer, AttentionLayer):
        return [layer.head_masks(head) for head in range(int(layer.n_heads))]  # type: ignore[operator,arg-type]
    return []


def _multihead_masks(layer: nn.MultiheadAttention, head: int) -> dict[str, Tensor]:
    masks = {name: torch.zeros_like(p, dtype=torch.bool) for name, p in layer.named_parameters()}
    own = torch.zeros(layer.embed_dim, dtype=torch.bool)
    own[head * layer.head_dim : (head + 1) * layer.head_dim] = True
    for name, mask in masks.items():
        if name == "out_proj.weight":
            mask[:, own] = True
        elif name.startswith("in_proj"):  # queries, keys and values one below the other
            mask[own.repeat(3)] = True
        elif name.startswith("bias_"):  # one more key and value, [1, 1, embed_dim]
            mask[..., own] = True
        elif name != "out_proj.bias":  # q_proj_weight, k_proj_weight, v_proj_weight
            mask[own] = True
    return {name: mask for name, mask in masks.items() if mask.any()}


class Region:
    """A region resolved against a module's parameters.

    Args:
        name: of the region.
        spec: None, or masks.
        parameters: ``{name: tensor}`` of the module.

    Raises:
        InputError: an unknown parameter, a mask of another shape, or no coordinates at all.

    Attributes:
        index: for each parameter the flat positions that move, ascending, or None for all of it.
        lengths: for each parameter how many move.
        size: number of coordinates.
    """

    def __init__(self, name: str, spec: RegionSpec, parameters: Mapping[str, Tensor]) -> None:
        self.name = name
        self.head = (spec.attention, spec.head) if isinstance(spec, HeadRegion) else None
        self.whole = spec is None
        self.index: dict[str, Tensor | None] = {}
        for parameter, selection in (dict.fromkeys(parameters) if spec is None else spec).items():
            if parameter not in parameters:
                raise InputError(
                    f"region {name!r} must name parameters of the module; got {parameter!r}: "
                    f"type one of {', '.join(list(parameters)[:6])}, ..."
                )
            flat = _flat_index(name, parameter, parameters[parameter], selection)
            if flat is None or len(flat):
                self.index[parameter] = flat
        self.lengths = {p: parameters[p].numel() if flat is None else len(flat) for p, flat in self.index.items()}
        self.size = sum(self.lengths.values())
        if not self.size:
            raise InputError(f"region {name!r} must have at least one coordinate; got none: check its masks")

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for regions that one batched computation can hold: the same parameters, as many of each."""
        layer = self.head[0] if self.head else None
        return (layer, *((name, None if flat is None else len(flat)) for name, flat in self.index.items()))

    def gather(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The region's coordinates ``[size]`` out of full tensors."""
        return torch.cat(
            [
                tensors[name].reshape(-1) if flat is None else tensors[name].reshape(-1)[flat]
                for name, flat in self.index.items()
            ]
        )

    def moved(self, displacement: Tensor, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Its parameters with the coordinates displaced by ``[size]``, out of full tensors; differentiable."""
        values = (self.gather(tensors) + displacement).split([*self.lengths.values()])
        return {
            name: replaced(tensors[name], flat, own)
            for (name, flat), own in zip(self.index.items(), values, strict=True)
        }

    def gather_columns(self, jacobian: Mapping[str, Tensor]) -> Tensor:
        """The region's columns ``[rows, ...]`` of derivatives ``[rows, entries]`` by some of its parameters."""
        return torch.cat(
            [
                jacobian[name] if flat is None else jacobian[name][:, flat]
                for name, flat in self.index.items()
                if name in jacobian
            ],
            dim=1,
        )


def replaced(full: Tensor, flat: Tensor | None, values: Tensor) -> Tensor:
    """A parameter with other values at some flat positions, or at all of them; differentiable by the values."""
    values = values.to(full.dtype)
    return (values if flat is None else full.reshape(-1).scatter(0, flat, values)).view_as(full)


def _flat_index(region: str, parameter: str, tensor: Tensor, selection: Any) -> Tensor | None:
    if selection is None:
        return None
    if isinstance(selection, Tensor) and selection.dtype == torch.bool and selection.shape != tensor.shape:
        raise InputError(
            f"a mask of region {region!r} must have the shape {tuple(tensor.shape)} of {parameter}; "
            f"got {tuple(selection.shape)}"
        )
    mask = torch.zeros(tensor.shape, dtype=torch.bool, device=tensor.device)
    try:
        mask[selection.to(tensor.device) if isinstance(selection, Tensor) else selection] = True
    except (IndexError, TypeError) as error:
        raise InputError(
            f"region {region!r} must index {parameter} of shape {tuple(tensor.shape)}; got {selection!r}: {error}"
        ) from error
    return mask.reshape(-1).nonzero().squeeze(1)
