"""The attention-based physics network: particles are tokens, attention is the only path between them."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_physim.errors import InputError
from lightning_physim.model.network import NORMS, Embedding, Norm, ParticleNetwork, mlp
from lightning_physim.ranges import check_counts

FEW_PARTICLES = 32
"""Particles up to which attention on a CPU goes by two batched products. For the 16 of ``demo`` they take 0.78 of
the time of PyTorch's fused attention, which is three times as fast for 128 (docs/performance.md)."""


class PhysicsTransformer(ParticleNetwork):
    """Pre-norm transformer over particles, after Hitchcock et al. 2025 (arXiv 2504.11830).

    Nothing marks the order of the particles, so the map is permutation-equivariant, and it takes any number of them.
    The paper's own layer sizes could not be read; the defaults are those of the shipped ``demo`` configuration, where
    collision heads were measured to emerge on every seed.

    Args:
        n_layers: attention blocks; 0 gives a network in which particles cannot see each other.
        n_heads: attention heads in a block; must divide ``d_model``.
        d_model: width of the residual stream.
        d_mlp: hidden width of a block's MLP.
        embedding: ``"mlp"`` (one hidden layer) or ``"linear"``. With a linear embedding and one layer the attention
            logits are bilinear in the raw state, which cannot form distances: collision heads hardly emerge.
        d_embedding: hidden width of the MLP embedding.
        norm: ``"layer"``, ``"rms"`` or ``"none"``.
        attend_self: let a particle attend to itself. Off by default: where it is on, heads use their own token as a
            null token, and raw scores of the best heads fall below the uniform value.

    Raises:
        InputError: a width or count that is not positive, or ``n_heads`` that does not divide ``d_model``.
    """

    label = "transformer"

    def __init__(
        self,
        n_layers: int = 2,
        n_heads: int = 4,
        d_model: int = 32,
        d_mlp: int = 64,
        embedding: Embedding = "mlp",
        d_embedding: int = 64,
        norm: Norm = "layer",
        attend_self: bool = False,
    ) -> None:
        super().__init__(d_model, d_mlp, embedding, d_embedding, norm)
        check_counts(n_heads=n_heads)
        check_counts(0, n_layers=n_layers)
        if d_model % n_heads:
            raise InputError(f"n_heads must divide d_model={d_model}; got n_heads={n_heads}")
        self.blocks = nn.ModuleList(Block(d_model, n_heads, d_mlp, norm, attend_self) for _ in range(n_layers))
        self.add_readout(d_model, norm)

    @classmethod
    def describe(cls, hparams: Mapping[str, Any]) -> str:
        if not {"n_layers", "n_heads", "d_model"} <= hparams.keys():
            return cls.label
        layers = "layer" if hparams["n_layers"] == 1 else "layers"
        return f"{hparams['n_layers']} {layers} of {hparams['n_heads']} heads, width {hparams['d_model']}"

    def forward(self, state: Tensor) -> Tensor:
        """Standardised residual ``[systems, particles, 4]`` predicted for ``state`` ``[systems, particles, 4]``."""
        x = self.embed(state)
        for block in self.blocks:
            x = block(x)
        return self.read(x)

    def attention(self, state: Tensor) -> Tensor:
        """Attention patterns ``[layers, systems, heads, query, key]``; rows sum to 1.

        By the operations of :meth:`forward`, which forms the same patterns and does not keep them.
        """
        return self._by_layer(state, Attention.pattern)

    def logits(self, state: Tensor) -> Tensor:
        """Query-key scores ``[layers, systems, heads, query, key]``, whose softmax over keys is :meth:`attention`.

        -inf where a query must not see the key.
        """
        return self._by_layer(state, Attention.logits)

    def ablate(self, state: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Predictions of the network as it is, and with each head in turn blind to some keys.

        The attention of the one head on keys that are hidden from a query is dropped and the rest renormalised; with
        nothing left to attend to, the head adds nothing. All other heads are as they were, but for what reaches the
        layers above. The layers below a head are computed once for all.

        Args:
            state: ``[systems, particles, 4]``.
            hidden: bool ``[systems, query, key]``.

        Returns:
            Standardised residuals ``[systems, particles, 4]``, and ``[layers, heads, systems, particles, 4]``.
        """
        self._require_attention()
        # Variants of the residual stream, [variants, systems, particles, d_model]: the intact one, then every head's.
        x = self.embed(state).unsqueeze(0)
        for block in self.blocks:
            assert isinstance(block, Block)
            x = block.branch(x, block.attention.blinded(block.attention_norm(x[0]), hidden))
        return self._read_variants(x)

    def patch(self, state: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """Predictions of the network as it is, and with each head in turn giving what it gives in other states.

        The output of the one head, of every particle, is replaced by that of the same particle in ``other``. All other
        heads are as they were, but for what reaches the layers above.

        Args:
            state: ``[systems, particles, 4]``.
            other: the states that the heads' outputs are taken from, of the same shape.

        Returns:
            Standardised residuals ``[systems, particles, 4]``, and ``[layers, heads, systems, particles, 4]``.
        """
        self._require_attention()
        x, there = self.embed(state).unsqueeze(0), self.embed(other)
        for block in self.blocks:
            assert isinstance(block, Block)
            x = block.branch(x, block.attention.patched(block.attention_norm(x[0]), block.attention_norm(there)))
            there = block(there)
        return self._read_variants(x)

    def _by_layer(self, state: Tensor, look: Callable[["Attention", Tensor], Tensor]) -> Tensor:
        """What there is to see in every attention layer, of its input ``[systems, particles, d_model]``; stacked."""
        self._require_attention()
        x = self.embed(state)
        seen = []
        for block in self.blocks:
            assert isinstance(block, Block)
            seen.append(look(block.attention, block.attention_norm(x)))
            x = block(x)
        return torch.stack(seen)

    def _read_variants(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Residuals of the intact stream, and ``[layers, heads, ...]`` of the variants after it."""
        residuals = self.read(x)
        return residuals[0], residuals[1:].unflatten(0, (len(self.blocks), -1))

    def _require_attention(self) -> None:
        if not self.blocks:
            raise InputError("attention patterns need at least one layer; got n_layers=0")


class Block(nn.Module):
    """Pre-norm attention and MLP, each added to the residual stream ``[systems, particles, d_model]``."""

    def __init__(self, d_model: int, n_heads: int, d_mlp: int, norm: Norm, attend_self: bool) -> None:
        super().__init__()
        self.attention_norm = NORMS[norm](d_model)
        self.attention = Attention(d_model, n_heads, attend_self)
        self.mlp_norm = NORMS[norm](d_model)
        self.mlp = mlp(d_model, d_mlp, d_model)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        return x + self.mlp(self.mlp_norm(x))

    def branch(self, x: Tensor, changed: Tensor) -> Tensor:
        """Variants of the residual stream through the block, and new ones that leave the first of them here.

        Args:
            x: ``[variants, systems, particles, d_model]``.
            changed: what attention adds to ``x[0]`` in each new variant, ``[heads, systems, particles, d_model]``.

        Returns:
            ``[variants + heads, systems, particles, d_model]``.
        """
        through = x + self.attention(self.attention_norm(x).flatten(0, 1)).view_as(x)
        x = torch.cat((through, x[0] + changed))
        return x + self.mlp(self.mlp_norm(x))


class Attention(nn.Module):
    """Multi-head softmax attention over particles, optionally blind to the query's own token.

    ``qkv`` maps ``d_model`` to ``[query | key | value]``, each of them the heads side by side; ``output`` maps the
    concatenated heads back. Head ``h`` therefore owns rows ``h d_head : (h+1) d_head`` of each third of ``qkv`` and the
    same columns of ``output``.
    """

    def __init__(self, d_model: int, n_heads: int, attend_self: bool) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.attend_self = attend_self
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.output = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self._heads(x)
        if x.is_cpu and x.shape[1] <= FEW_PARTICLES:
            return self.output(self._side_by_side(torch.bmm(self._weights(query, key), value)))
        query, key, value = (part.unflatten(0, (-1, self.n_heads)) for part in (query, key, value))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=self._bias(key))
        return self.output(mixed.transpose(1, 2).flatten(2))

    def pattern(self, x: Tensor) -> Tensor:
        """Softmax weights ``[systems, heads, query, key]`` that :meth:`forward` applies to the values."""
        query, key, _ = self._heads(x)
        return self._weights(query, key).unflatten(0, (-1, self.n_heads))

    def logits(self, x: Tensor) -> Tensor:
        """What :meth:`pattern` is the softmax of, ``[systems, heads, query, key]``."""
        query, key, _ = self._heads(x)
        return self._logits(query, key, self._bias(key)).unflatten(0, (-1, self.n_heads))

    def blinded(self, x: Tensor, hidden: Tensor) -> Tensor:
        """:meth:`forward` with each head in turn blind to the ``hidden`` keys.

        Args:
            x: ``[systems, particles, d_model]``.
            hidden: bool ``[systems, query, key]``.

        Returns:
            ``[heads, systems, particles, d_model]``.
        """
        query, key, value = self._heads(x)
        seen = self._weights(query, key) @ value
        return self._one_replaced(seen, self._weights(query, key, hidden.repeat_interleave(self.n_heads, 0)) @ value)

    def patched(self, x: Tensor, other: Tensor) -> Tensor:
        """:meth:`forward` with each head in turn giving what it gives for ``other``.

        Args:
            x, other: ``[systems, particles, d_model]``.

        Returns:
            ``[heads, systems, particles, d_model]``.
        """
        mixed = []
        for tokens in (x, other):
            query, key, value = self._heads(tokens)
            mixed.append(self._weights(query, key) @ value)
        return self._one_replaced(*mixed)

    def _one_replaced(self, mixed: Tensor, instead: Tensor) -> Tensor:
        """Outputs ``[heads, systems, particles, d_model]`` of ``mixed`` values, in each those of one head replaced.

        Args:
            mixed, instead: ``[systems * heads, particles, d_head]``.
        """
        # The output is linear in the heads: what one of them changes is added to what all of them give.
        columns = self.output.weight.unflatten(1, (self.n_heads, -1))
        change = (instead - mixed).unflatten(0, (-1, self.n_heads))
        return self.output(self._side_by_side(mixed)) + torch.einsum("shqc,dhc->hsqd", change, columns)

    def head_masks(self, head: int) -> dict[str, Tensor]:
        """Which entries of the parameters belong to ``head``: ``{parameter name: bool mask of its shape}``."""
        width = self.output.in_features // self.n_heads
        columns = torch.arange(self.output.in_features, device=self.output.weight.device) // width == head
        rows = columns.repeat(3)
        return {
            "qkv.weight": rows[:, None].expand_as(self.qkv.weight),
            "qkv.bias": rows,
            "output.weight": columns.expand_as(self.output.weight),
        }

    def head_output(self, x: Tensor, weights: dict[str, Tensor]) -> Tensor:
        """What a head adds to :meth:`forward`'s output ``[systems, particles, d_model]``.

        Args:
            x: input of the layer, ``[systems, particles, d_model]``.
            weights: the head's own entries, flat, as :meth:`head_masks` picks them out of each parameter.
        """
        width = self.output.in_features // self.n_heads
        projected = F.linear(x, weights["qkv.weight"].view(3 * width, -1), weights["qkv.bias"])
        query, key, value = projected.split(width, dim=-1)
        return F.linear(self._weights(query, key) @ value, weights["output.weight"].view(-1, width))

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each ``[systems * heads, particles, d_head]`` and contiguous."""
        systems, particles, d_model = x.shape
        split = self.qkv(x).view(systems, particles, 3, self.n_heads, d_model // self.n_heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).flatten(1, 2).unbind(0)
        return query, key, value

    def _side_by_side(self, heads: Tensor) -> Tensor:
        """``[systems, particles, d_model]`` of heads ``[systems * heads, particles, d_head]``."""
        rows, particles, d_head = heads.shape
        return heads.view(rows // self.n_heads, self.n_heads, particles, d_head).transpose(1, 2).flatten(2)

    def _weights(self, query: Tensor, key: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Softmax weights ``[batch, query, key]`` of queries and keys ``[batch, particles, d_head]``.

        A query from which all keys are ``hidden`` has no weights, all zero.
        """
        bias = self._bias(key)
        if hidden is not None:
            bias = bias.masked_fill(hidden, -torch.inf)
        weights = self._logits(query, key, bias).softmax(-1)
        return weights if hidden is None else weights.where(bias.isfinite().any(-1, keepdim=True), 0.0)

    def _logits(self, query: Tensor, key: Tensor, bias: Tensor) -> Tensor:
        """Products of queries and keys over the root of their width, ``[batch, query, key]``, with the bias added."""
        return torch.baddbmm(bias, query, key.transpose(-1, -2), alpha=query.shape[-1] ** -0.5)

    def _bias(self, key: Tensor) -> Tensor:
        """What is added to the logits, ``[query, key]``: -inf where a query must not see the key, else 0.

        A lone particle sees itself in any case.
        """
        particles = key.shape[-2]
        blind = 0.0 if self.attend_self or particles == 1 else -torch.inf
        return torch.full((particles,), blind, dtype=key.dtype, device=key.device).diag()
