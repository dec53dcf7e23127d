"""The loss as a function of what is free to move, for many chains and regions at once."""

import copy
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.data import Dataset, TensorDataset, default_collate

from lightning_physim.errors import InputError
from lightning_physim.llc.regions import Region, replaced
from lightning_physim.modes import evaluating, plain_attention

Samples = tuple[Tensor, ...]
"""Rows of the estimation set: tensors with a common first dimension."""
LossFn = Callable[[Any, Any], Tensor]
SAMPLES_AT_A_TIME, ENTRIES_AT_A_TIME = 256, 2**24
"""Samples that each have weights of their own in one batched computation, and their coordinates together, at most."""


@dataclass(frozen=True, eq=False)
class Minibatch:
    """Samples, with the loss and its gradients at w* over them.

    Attributes:
        samples: rows of the estimation set, or all of it.
        loss: L_B(w*), a scalar.
        gradients: of that loss, by parameter name; empty where they were not asked for.
    """

    samples: Samples
    loss: Tensor
    gradients: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.samples[0])


class Objective:
    """``loss_fn(module, batch)`` at displaced parameters. Works on detached tensors: no ``.grad``, no hook, no buffer
    of the module changes.

    Args:
        module: any ``nn.Module``.
        loss_fn: ``(module, batch) -> scalar mean loss`` of a tuple of tensors.
        data: the estimation set, tensors with a common first dimension.
        residual_fn: ``(module, batch) -> [rows, ...]``, residuals whose mean square is the loss, where they are known.

    Raises:
        InputError: a module without parameters, or of integers or complex numbers.
    """

    def __init__(self, module: nn.Module, loss_fn: LossFn, data: Samples, residual_fn: LossFn | None = None) -> None:
        self.wrapped = _Loss(module, loss_fn)
        self.residual_fn = residual_fn
        self.module = module
        first = next(module.parameters(), None)
        if first is None or not first.is_floating_point():
            got = "none" if first is None else f"{first.dtype}"
            raise InputError(f"a learning coefficient is of a module with real parameters; got {got}")
        self.device = first.device
        self.dtype = torch.promote_types(first.dtype, torch.float32)
        # Half precision cannot hold the small steps of a chain, nor the small rises of a loss.
        self.frozen = {name: self._widened(p.detach()) for name, p in module.named_parameters()}
        self.buffers = {name: self._widened(b.detach().clone()) for name, b in module.named_buffers()}
        self.data = tuple(self._widened(tensor.to(self.device)) for tensor in data)
        self.n = len(self.data[0])

    def _widened(self, tensor: Tensor) -> Tensor:
        """A floating tensor of no less precision than chains have."""
        return tensor.to(torch.promote_types(tensor.dtype, self.dtype)) if tensor.is_floating_point() else tensor

    def loss(self, moved: Mapping[str, Tensor], samples: Samples) -> Tensor:
        """Loss with the named parameters replaced."""
        state = {f"module.{name}": tensor for name, tensor in (self.frozen | self.buffers | dict(moved)).items()}
        return functional_call(self.wrapped, state, (samples,))

    def exchanged(self, loss_fn: LossFn, data: Samples) -> "Objective":
        """Another function of the same module, over other data."""
        other = copy.copy(self)
        other.wrapped, other.data, other.n = _Loss(self.module, loss_fn), data, len(data[0])
        return other

    def minibatch(self, samples: Samples, names: Sequence[str] = ()) -> Minibatch:
        """These samples with gradients with respect to the named parameters (none: no gradient is computed)."""
        leaves = {name: self.frozen[name].clone().requires_grad_() for name in names}
        with torch.set_grad_enabled(bool(names)):
            loss = self.loss(leaves, samples)
        gradients: Sequence[Tensor | None] = ()
        if names:
            gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        filled = (torch.zeros_like(leaves[n]) if g is None else g for n, g in zip(names, gradients, strict=True))
        return Minibatch(samples, loss.detach(), dict(zip(names, filled, strict=True)))

    def parts(self, size: int) -> Iterator[tuple[Samples, float]]:
        """The whole estimation set in parts of at most ``size``, each with its share of all samples."""
        for start in range(0, self.n, size):
            part = tuple(tensor[start : start + size] for tensor in self.data)
            yield part, len(part[0]) / self.n

    def whole(self, names: Sequence[str], part_size: int) -> Minibatch:
        """:meth:`minibatch` of the whole estimation set, computed in parts of at most ``part_size``."""
        total = torch.zeros((), dtype=self.dtype, device=self.device)
        sums = {name: torch.zeros_like(self.frozen[name]) for name in names}
        for samples, weight in self.parts(part_size):
            part = self.minibatch(samples, names)
            total += weight * part.loss
            for name in names:
                sums[name] += weight * part.gradients[name]
        return Minibatch(self.data, total, sums)


class Group:
    """Regions of equal structure, whose replicas (region, chain) go through the network together.

    What no replica has moved is computed once for all: the layers below a region come out of ``torch.vmap`` unbatched
    by themselves; of an attention layer with ``head_output`` only the moved head is computed for each replica.

    Args:
        objective: of the module.
        regions: with one :attr:`Region.key`.
        chunk: replicas at a time. Beyond ten or so a CPU gains nothing, and caches and memory run out.

    Attributes:
        batched: go through ``torch.vmap``; otherwise one replica after the other.
    """

    def __init__(self, objective: Objective, regions: Sequence[Region], chunk: int) -> None:
        self.objective = objective
        self.regions = list(regions)
        self.batched = True
        self.chunk = chunk
        self.size = regions[0].size
        self.anchor = self.gather(objective.frozen).to(objective.dtype)
        self.names, self.lengths = list(regions[0].lengths), list(regions[0].lengths.values())
        self.indices = {
            name: torch.stack([region.index[name] for region in regions])  # type: ignore[misc]
            for name, flat in regions[0].index.items()
            if flat is not None
        }
        self.attention = self._attention_with_head_output()

    def try_batching(self, samples: Samples, each_its_own: bool = False) -> str:
        """Go through ``torch.vmap`` if it can batch the loss of these samples; returns why it cannot, or ""."""
        two = torch.zeros(2, self.size, dtype=self.objective.dtype, device=self.objective.device)
        which, tiny = torch.zeros(2, dtype=torch.long, device=two.device), tuple(tensor[:2] for tensor in samples)
        self.batched = True
        try:
            u = two.requires_grad_()
            torch.autograd.grad(self.loss(u, which, tiny, each_its_own).sum(), u)
        except (RuntimeError, NotImplementedError, ValueError, TypeError) as error:
            self.batched = False
            return (str(error).strip().splitlines() or [type(error).__name__])[0][:150]
        return ""

    def gather(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Coordinates of every region ``[regions, size]`` out of full tensors by parameter name."""
        return torch.stack([region.gather(tensors) for region in self.regions])

    def loss(self, displacement: Tensor, which: Tensor, samples: Samples, each_its_own: bool = False) -> Tensor:
        """Losses ``[replicas]`` at ``anchor[which] + displacement`` ``[replicas, size]``, differentiable.

        Args:
            displacement: from w*.
            which: region of each replica, ``[replicas]``.
            samples: that all replicas see.
            each_its_own: there are as many samples as replicas, and each replica sees one of them.
        """
        values = self.anchor[which] + displacement
        indices = [table[which] for table in self.indices.values()]

        def one(value: Tensor, region: Tensor, own: Samples, *index: Tensor) -> Tensor:
            seen = tuple(tensor.unsqueeze(0) for tensor in own) if each_its_own else own
            return self._one(value, region, index, seen)

        if not self.batched:
            owns = zip(*samples, strict=True) if each_its_own else repeat(samples)
            rows = zip(values, which, owns, *indices, strict=False)
            return torch.stack([one(value, region, own, *index) for value, region, own, *index in rows])
        with plain_attention():
            in_dims = (0, 0, 0 if each_its_own else None, *[0] * len(indices))
            return torch.vmap(one, in_dims, randomness="same")(values, which, samples, *indices)

    def gradients_of_each(self, displacement: Tensor, which: Tensor, samples: Samples) -> Tensor:
        """Gradients ``[samples, size]`` of the loss of each sample at a displacement of its own."""
        gradients = []
        for rows in self._chunks(len(which), max(1, min(SAMPLES_AT_A_TIME, ENTRIES_AT_A_TIME // self.size))):
            u = displacement[rows].detach().requires_grad_()
            own = tuple(tensor[rows] for tensor in samples)
            gradients.append(torch.autograd.grad(self.loss(u, which[rows], own, each_its_own=True).sum(), u)[0])
        return torch.cat(gradients)

    def loss_and_gradient(self, displacement: Tensor, which: Tensor, samples: Samples) -> tuple[Tensor, Tensor]:
        """Losses ``[replicas]`` and their gradients ``[replicas, size]``, detached."""
        losses, gradients = [], []
        for rows in self._chunks(len(which)):
            u = displacement[rows].detach().requires_grad_()
            loss = self.loss(u, which[rows], samples)
            gradients.append(torch.autograd.grad(loss.sum(), u)[0])
            losses.append(loss.detach())
        return torch.cat(losses), torch.cat(gradients)

    @torch.no_grad()
    def values(self, displacement: Tensor, which: Tensor, samples: Samples) -> Tensor:
        """Losses ``[replicas]`` alone."""
        return torch.cat([self.loss(displacement[rows], which[rows], samples) for rows in self._chunks(len(which))])

    def hessian_product(self, displacement: Tensor, which: Tensor, vector: Tensor, samples: Samples) -> Tensor:
        """Hessian of each replica's loss at its displacement times ``vector``, all ``[replicas, size]``."""
        products = []
        for rows in self._chunks(len(which)):
            u = displacement[rows].detach().requires_grad_()
            with plain_attention():
                (gradient,) = torch.autograd.grad(self.loss(u, which[rows], samples).sum(), u, create_graph=True)
            along = (gradient * vector[rows]).sum()
            product = torch.autograd.grad(along, u, allow_unused=True)[0] if along.requires_grad else None
            products.append(torch.zeros_like(u) if product is None else product)
        return torch.cat(products)

    def _chunks(self, n: int, most: int | None = None) -> Iterator[slice]:
        size = (most or self.chunk) if self.batched else 1
        for start in range(0, n, size):
            yield slice(start, start + size)

    def _one(self, value: Tensor, region: Tensor, indices: Sequence[Tensor], samples: Samples) -> Tensor:
        pieces = dict(zip(self.names, value.split(self.lengths), strict=True))
        if self.attention is not None:
            with self._head_moved(pieces, region):
                return self.objective.loss({}, samples)
        index = dict(zip(self.indices, indices, strict=True))
        frozen = self.objective.frozen
        moved = {name: replaced(frozen[name], index.get(name), piece) for name, piece in pieces.items()}
        return self.objective.loss(moved, samples)

    def _attention_with_head_output(self) -> Any:
        head = self.regions[0].head
        attention = self.objective.module.get_submodule(head[0]) if head else None
        if not hasattr(attention, "head_output"):
            return None
        prefix = f"{head[0]}." if head and head[0] else ""
        self.local = {name: name.removeprefix(prefix) for name in self.names}
        return attention

    @contextmanager
    def _head_moved(self, pieces: Mapping[str, Tensor], region: Tensor) -> Iterator[None]:
        """The attention layer's output with one head's contribution exchanged, by a forward hook."""

        def exchange(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            x = inputs[0]
            # Neither depends on the replica where x does not: computed once for all of them.
            at_anchor = torch.stack([self._head_output(x, row) for row in self.anchor])
            others = output - at_anchor
            return others[region] + self._head_output(x, torch.cat(list(pieces.values())))

        handle = self.attention.register_forward_hook(exchange)
        try:
            yield
        finally:
            handle.remove()

    def _head_output(self, x: Tensor, values: Tensor) -> Tensor:
        pieces = zip(self.names, values.to(x.dtype).split(self.lengths), strict=True)
        return self.attention.head_output(x, {self.local[name]: piece for name, piece in pieces})


class _Loss(nn.Module):
    """A loss as a module, so that ``functional_call`` can exchange what it is computed with."""

    def __init__(self, module: nn.Module, loss_fn: LossFn) -> None:
        super().__init__()
        self.module = module
        self.loss_fn = loss_fn

    def forward(self, samples: Samples) -> Tensor:
        return self.loss_fn(self.module, samples)


def as_tensors(data: Any) -> Samples:
    """The estimation set as a tuple of tensors with a common first dimension.

    Raises:
        InputError: neither such a tuple nor a data set of such, or an empty one.
    """
    if isinstance(data, TensorDataset):
        data = data.tensors
    elif isinstance(data, Dataset):
        data = default_collate([data[i] for i in range(len(data))])  # type: ignore[arg-type]
    if isinstance(data, Tensor):
        data = (data,)
    if not isinstance(data, (tuple, list)) or not data or not all(isinstance(t, Tensor) and t.ndim for t in data):
        raise InputError(
            f"data must be a tuple of tensors with a common first dimension, or a Dataset of such; "
            f"got {type(data).__name__}"
        )
    if len({len(tensor) for tensor in data}) > 1 or not len(data[0]):
        raise InputError(
            f"the tensors of data must have one first dimension, above 0; got {[tuple(t.shape) for t in data]}"
        )
    return tuple(tensor.detach() for tensor in data)


@contextmanager
def without_trace(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, gradients on, autocast off; flags and every global random state as before afterwards.

    Raises:
        InputError: under ``torch.inference_mode``, whose tensors have no gradients.
    """
    if torch.is_inference_mode_enabled():
        raise InputError(
            "an LLC needs gradients, which torch.inference_mode forbids; got a call from a validation, test or predict "
            "hook: measure in a training hook, or make the Trainer with inference_mode=False"
        )
    device = next(module.parameters(), torch.empty(0)).device
    python, legacy = random.getstate(), np.random.get_state()
    try:
        devices = [device] if device.type == "cuda" else []
        with (
            evaluating(module),
            torch.random.fork_rng(devices=devices, device_type="cuda"),
            torch.enable_grad(),
            torch.autocast(device.type, enabled=False),
        ):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)
