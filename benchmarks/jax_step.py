"""The same training step as a JAX jit: the network of ``PhysicsTransformer`` in its shipped configuration.

Written from the formulas; weights come from the torch network, so that both start from the same place.
"""

import os
from collections.abc import Callable
from typing import Any

import numpy as np

# Read when JAX starts: one thread, as torch has here.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")


def make_step(network: Any, lr: Callable[[int], float]) -> Callable[[np.ndarray, np.ndarray], float]:
    """``step(states, targets)``: one step of Adam; the loss before it."""
    import jax
    import jax.numpy as jnp

    heads = network.blocks[0].attention.n_heads
    weights = {name: jnp.asarray(value.detach().numpy().copy()) for name, value in network.named_parameters()}
    mean, std = (jnp.asarray(getattr(network.target, f"state_{name}").numpy()) for name in ("mean", "std"))

    def linear(w: dict, name: str, x: Any) -> Any:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(w: dict, name: str, x: Any) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-5)
        return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]

    def mlp(w: dict, name: str, x: Any) -> Any:
        return linear(w, f"{name}.2", jax.nn.gelu(linear(w, f"{name}.0", x), approximate=False))

    def attention(w: dict, name: str, x: Any) -> Any:
        systems, particles, d_model = x.shape
        split = linear(w, f"{name}.qkv", x).reshape(systems, particles, 3, heads, -1)
        query, key, value = (split[:, :, i].swapaxes(1, 2) for i in range(3))
        logits = query @ key.swapaxes(-1, -2) * query.shape[-1] ** -0.5
        pattern = jax.nn.softmax(jnp.where(jnp.eye(particles, dtype=bool), -jnp.inf, logits))
        return linear(w, f"{name}.output", (pattern @ value).swapaxes(1, 2).reshape(systems, particles, d_model))

    def loss(w: dict, states: Any, targets: Any) -> Any:
        x = mlp(w, "embedding", (states - mean) / std)
        for i in range(len(network.blocks)):
            x = x + attention(w, f"blocks.{i}.attention", norm(w, f"blocks.{i}.attention_norm", x))
            x = x + mlp(w, f"blocks.{i}.mlp", norm(w, f"blocks.{i}.mlp_norm", x))
        return jnp.square(linear(w, "readout", norm(w, "norm", x)) - targets).mean()

    @jax.jit
    def update(w: dict, first: dict, second: dict, rate: Any, count: Any, states: Any, targets: Any) -> Any:
        value, gradient = jax.value_and_grad(loss)(w, states, targets)
        first = {n: 0.9 * first[n] + 0.1 * g for n, g in gradient.items()}
        second = {n: 0.999 * second[n] + 0.001 * g * g for n, g in gradient.items()}
        size = rate / (1 - 0.9**count)
        root = jnp.sqrt(1 - 0.999**count)
        new = {n: w[n] - size * first[n] / (jnp.sqrt(second[n]) / root + 1e-8) for n in w}
        return new, first, second, value

    zeros = {n: jnp.zeros_like(v) for n, v in weights.items()}
    state = [weights, zeros, zeros]
    count = 0

    def step(states: np.ndarray, targets: np.ndarray) -> float:
        nonlocal count
        *state[:], value = update(*state, lr(count), float(count + 1), states, targets)
        count += 1
        return float(value)

    return step
