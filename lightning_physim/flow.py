"""Gradient flow, at a price: a Runge-Kutta-Chebyshev method as an optimizer."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from numpy.polynomial import Chebyshev
from torch.optim import Optimizer

from lightning_physim.ranges import check_counts, check_positive

DAMPING = 0.1
"""Of the stability polynomial: stiff directions shrink by at least 1 - DAMPING a cycle, and the noise in them dies."""


class RungeKuttaChebyshev(Optimizer):
    """Follow ``dw/dt = -grad L(w)`` by the damped method of order 1 (Sommeijer, Shampine and Verwer 1998, section 2).

    Plain gradient descent at a rate ``lr`` is stable up to a curvature of ``2 / lr``. The curvatures of a network in
    gradient flow grow far beyond what that allows at a worthwhile price. A cycle of ``stages`` gradients takes a step
    of time ``lr``, and is stable up to about ``1.87 stages² / lr``. Each gradient is an optimizer step with a minibatch
    of its own, so that the noise of minibatches is that of gradient descent at a rate of about ``4/3 lr / stages``.
    With one stage it is gradient descent.

    Every stage is a point of the flow: after k steps of a constant rate the time is ``k lr / stages`` but for a quarter
    of ``lr`` at most. The learning rate may change between cycles.

    Args:
        params: as of every optimizer.
        lr: step of time of a cycle.
        stages: gradients in a cycle.

    Raises:
        InputError: ``lr`` not positive, or ``stages`` below 1.
    """

    def __init__(self, params: Any, lr: float, stages: int) -> None:
        check_positive(lr=lr)
        check_counts(stages=stages)
        super().__init__(params, {"lr": lr, "stages": stages, "stage": 0})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One stage.

        Args:
            closure: computes loss and gradients anew.

        Returns:
            What the closure returns.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            momentum, rate = coefficients(group["stages"])[group["stage"]]
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            if moved:
                moves = [self._move(parameter) for parameter in moved]
                torch._foreach_mul_(moves, momentum)
                torch._foreach_add_(moves, [parameter.grad for parameter in moved], alpha=-rate * group["lr"])
                torch._foreach_add_(moved, moves)
            group["stage"] = (group["stage"] + 1) % group["stages"]
        return loss

    def _move(self, parameter: torch.Tensor) -> torch.Tensor:
        """Of the last stage, zero before the first."""
        state = self.state[parameter]
        if "move" not in state:
            state["move"] = torch.zeros_like(parameter)
        return state["move"]


@cache
def coefficients(stages: int) -> list[tuple[float, float]]:
    """What a stage keeps of the move of the one before, and its rate over that of the cycle; for each stage."""
    centre = 1 + DAMPING / stages**2
    polynomial = Chebyshev.basis(stages)
    stretch = polynomial(centre) / polynomial.deriv()(centre)
    heights = [float(Chebyshev.basis(j)(centre)) for j in range(stages + 1)]
    # The first stage has no move before it.
    later = [
        (heights[j - 2] / heights[j], float(2 * stretch * heights[j - 1] / heights[j])) for j in range(2, stages + 1)
    ]
    return [(0.0, float(stretch / centre)), *later]
