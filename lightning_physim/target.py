"""What the network is asked to predict: the standardised residual of free flight, and the way back to a state.

The state of a particle is ``(x, y, v_x, v_y)``. Over one interval a particle that touches nothing flies freely under
gravity; the target is what the true motion adds to that. Each component is divided by its root mean square over the
training split, so that *predicting free flight* means predicting zero and has loss 1 on that split by construction.
"""

import numpy as np
import torch
from torch import Tensor, nn


class ResidualTarget(nn.Module):
    """Statistics of the training split, and the maps between states and standardised residuals.

    Everything is a buffer, so that a checkpoint carries what its network needs to be a simulator.

    Args:
        state_mean, state_std: ``[4]``, mean and standard deviation of a state's components.
        residual_rms: ``[4]``, root mean square of (next state - free flight).
        interval: time between two states.
        gravity: acceleration along ``-y``.
    """

    state_mean: Tensor
    state_std: Tensor
    residual_rms: Tensor
    interval: Tensor
    gravity: Tensor

    def __init__(
        self,
        state_mean: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0),
        state_std: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0),
        residual_rms: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0),
        interval: float = 1.0,
        gravity: float = 0.0,
    ) -> None:
        super().__init__()
        self.register_buffer("state_mean", torch.tensor(state_mean, dtype=torch.float32))
        self.register_buffer("state_std", torch.tensor(state_std, dtype=torch.float32))
        self.register_buffer("residual_rms", torch.tensor(residual_rms, dtype=torch.float32))
        self.register_buffer("interval", torch.tensor(interval, dtype=torch.float32))
        self.register_buffer("gravity", torch.tensor(gravity, dtype=torch.float32))

    @classmethod
    def fit(cls, states: np.ndarray, interval: float, gravity: float, chunk: int = 256) -> "ResidualTarget":
        """Statistics of ``states`` ``[trajectories, times, particles, 4]``, memory-mapped or not; sums in float64."""
        total, square, residual = np.zeros(4), np.zeros(4), np.zeros(4)
        for start in range(0, len(states), chunk):
            part = torch.from_numpy(np.array(states[start : start + chunk], dtype=np.float64))
            total += part.sum((0, 1, 2)).numpy()
            square += part.square().sum((0, 1, 2)).numpy()
            missed = part[:, 1:] - free_flight(part[:, :-1], interval, gravity)
            residual += missed.square().sum((0, 1, 2)).numpy()
        n_states = states[..., 0].size
        n_steps = n_states - states[:, 0, :, 0].size
        mean = total / n_states
        std = np.sqrt(np.maximum(square / n_states - mean**2, 0.0))
        rms = np.sqrt(residual / n_steps)
        # A component that never varies (free space without gravity, say) is left in its own units.
        std, rms = np.where(std > 0, std, 1.0), np.where(rms > 0, rms, 1.0)
        return cls(tuple(mean.tolist()), tuple(std.tolist()), tuple(rms.tolist()), interval, gravity)

    def standardize(self, state: Tensor) -> Tensor:
        """State ``[..., 4]`` to the network's input ``[..., 4]``, zero mean and unit variance on the training split."""
        return (state - self.state_mean) / self.state_std

    def residual(self, state: Tensor, next_state: Tensor, gravity: Tensor | None = None) -> Tensor:
        """Standardised residual ``[..., 4]`` that leads from ``state`` to ``next_state``."""
        return (next_state - self.free_flight(state, gravity)) / self.residual_rms

    def advance(self, state: Tensor, residual: Tensor, gravity: Tensor | None = None) -> Tensor:
        """The next state ``[..., 4]`` that a standardised residual leads to; inverse of :meth:`residual`."""
        return self.free_flight(state, gravity) + residual * self.residual_rms

    def free_flight(self, state: Tensor, gravity: Tensor | None = None) -> Tensor:
        """State after one interval without contacts; ``gravity`` defaults to the training split's."""
        return free_flight(state, self.interval, self.gravity if gravity is None else gravity)


def free_flight(state: Tensor, interval: float | Tensor, gravity: float | Tensor) -> Tensor:
    """State ``[..., 4]`` after ``interval`` under gravity alone: exact, element-wise (no reduced-precision matmul)."""
    x, y, v_x, v_y = state.unbind(-1)
    fall = gravity * interval
    return torch.stack((x + v_x * interval, y + (v_y - 0.5 * fall) * interval, v_x, v_y - fall), dim=-1)
