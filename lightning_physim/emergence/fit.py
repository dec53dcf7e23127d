"""Fitting a law to a curve whose noise is correlated: the point of highest likelihood, and AICc there."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lightning_physim.emergence.laws import LAWS, SHIFT, LawOnSteps
from lightning_physim.emergence.noise import CORRELATION, Projection, deviance
from lightning_physim.emergence.posterior import Draws, Interval, sample

CORRELATIONS = np.array([-0.3, 0.0, 0.2, 0.4, 0.6, 0.75, 0.9])
"""First guesses of it."""
FINER = (0.2, 0.05, 0.012)
"""Half-widths of the searches around the best guess so far."""
LM_STEPS = 40


@dataclass(frozen=True)
class LawFit:
    """A law on the points it was fitted to.

    Args:
        fitter: the law on its steps.
        values: ``[points]``.
        plateau: the value it tends to.
        amplitude: what is left to it at the first step; not negative.
        shapes: shape parameters by name; times in steps.
        correlation: of the noise of neighbouring points, in :data:`CORRELATION`.
        noise: standard deviation of the noise.
        aicc: Akaike's criterion with its correction for few points, up to a constant that the points determine.
        at_edge: shape parameters that ended at the edge of their range, where the law turns into another one.
    """

    fitter: LawOnSteps
    values: np.ndarray
    plateau: float
    amplitude: float
    shapes: dict[str, float]
    correlation: float
    noise: float
    aicc: float
    at_edge: tuple[str, ...]

    @property
    def law(self) -> str:
        return self.fitter.name

    @property
    def first_step(self) -> float:
        """The step from which the law counts time."""
        return self.fitter.first_step

    def predict(self, steps: np.ndarray | Sequence[float]) -> np.ndarray:
        """The law at ``steps``, from ``first_step`` on; NaN before, where it says nothing."""
        t = np.asarray(steps, dtype=float) - self.first_step
        left = LAWS[self.law].left(np.maximum(t, 0.0), *self.shapes.values())
        return np.where(t < 0, np.nan, self.plateau - self.amplitude * left)

    @cached_property
    def draws(self) -> Draws:
        """The laws that the points allow, see :mod:`lightning_physim.emergence.posterior`."""
        return sample(self.fitter, np.log([*self.shapes.values()]), self.correlation, self.values)

    def interval(self, name: str, level: float = 0.95) -> Interval:
        """Equal-tailed interval of ``"plateau"``, ``"amplitude"``, ``"noise"``, ``"correlation"`` or a shape.

        Raises:
            KeyError: the law has no such parameter.
        """
        return self.draws.interval(self.draws[name], level)


class Fitter(LawOnSteps):
    """Fits one law to curves over the same steps.

    Plateau and amplitude follow from the shapes by least squares (variable projection, Golub and Pereyra 1973), so that
    only shapes and the correlation of the noise are searched for: shapes by Levenberg-Marquardt steps from the best
    point of a grid, for a row of correlations at once, and that row ever finer.

    Args:
        name: of the law.
        steps: ``[points]``, ascending.
    """

    def __init__(self, name: str, steps: np.ndarray) -> None:
        super().__init__(name, steps)
        axes = [
            np.linspace(lo, hi, shape.n)
            for lo, hi, shape in zip(self.lo, self.hi, self.law.shapes.values(), strict=True)
        ]
        self.grid = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=-1)

    def fit(self, values: np.ndarray) -> LawFit:
        """The fit of highest likelihood to ``values`` ``[points]``."""
        left = self.left(self.grid)
        starts = [int(np.argmin(deviance(left, values, np.full(1, rho)))) for rho in CORRELATIONS]
        correlations, x = CORRELATIONS, self._descend(self.grid[starts], CORRELATIONS, values)
        for width in FINER:
            best = int(np.argmin(deviance(self.left(x), values, correlations)))
            correlations = np.clip(correlations[best] + width * np.linspace(-1, 1, 5), *CORRELATION)
            x = self._descend(np.repeat(x[best : best + 1], 5, axis=0), correlations, values)
        best = int(np.argmin(deviance(self.left(x), values, correlations)))
        return self._result(x[best], float(correlations[best]), values)

    def _descend(self, x: np.ndarray, correlations: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Logarithms of shapes ``[rows, shapes]`` that fit best, from ``x`` on, each row with its own correlation."""

        def residuals(x: np.ndarray) -> np.ndarray:
            rho = np.tile(correlations, len(x) // len(correlations))
            return Projection(self.left(x), values, rho).residuals

        rows, n = x.shape
        shifts = SHIFT * np.concatenate([np.eye(n), -np.eye(n)])[:, None, :]
        damping = np.full(rows, 1e-2)
        now = residuals(x)
        for _ in range(LM_STEPS):
            around = residuals((x + shifts).reshape(-1, n)).reshape(2, n, rows, -1)
            jacobian = (around[0] - around[1]) / (2 * SHIFT)
            # A shape that pushes against its edge stays there, and the others move on without it.
            gradient = np.einsum("irn,rn->ri", jacobian, now)
            stuck = ((x <= self.lo) & (gradient > 0)) | ((x >= self.hi) & (gradient < 0))
            jacobian = np.where(stuck.T[..., None], 0.0, jacobian)
            normal = np.einsum("irn,jrn->rij", jacobian, jacobian)
            diagonal = np.einsum("rii->ri", normal)
            scale = damping[:, None] * diagonal + 1e-12 * diagonal.max(1, keepdims=True) + 1e-300
            step = np.linalg.solve(normal + scale[:, None] * np.eye(n), -np.where(stuck, 0.0, gradient)[..., None])
            trial = np.clip(x + np.clip(step[..., 0], -1.0, 1.0), self.lo, self.hi)
            after = residuals(trial)
            gain = (now**2).sum(1) - (after**2).sum(1)
            better = gain > 0
            x, now = np.where(better[:, None], trial, x), np.where(better[:, None], after, now)
            damping = np.clip(np.where(better, damping / 5, damping * 5), 1e-9, 1e9)
            if (np.abs(gain) <= 1e-9 * (now**2).sum(1)).all():
                break
        return x

    def _result(self, x: np.ndarray, correlation: float, values: np.ndarray) -> LawFit:
        rho = np.full(1, correlation)
        found = Projection(self.left(x[None]), values, rho)
        n, k = len(values), 4 + x.size  # plateau, amplitude, noise, correlation, shapes
        innovation = float((found.residuals**2).sum()) / max(n - 2 - x.size, 1)
        edge = np.minimum(x - self.lo, self.hi - x) < 1e-3 * (self.hi - self.lo)
        return LawFit(
            fitter=self,
            values=values,
            plateau=float(found.plateau[0]),
            amplitude=float(found.amplitude[0]),
            shapes=dict(zip(self.law.shapes, map(float, np.exp(x)), strict=True)),
            correlation=correlation,
            noise=float(np.sqrt(innovation / (1 - correlation**2))),
            aicc=aicc(float(deviance(self.left(x[None]), values, rho)[0]), n, k),
            at_edge=tuple(name for name, there in zip(self.law.shapes, edge, strict=True) if there),
        )


def aicc(deviance: float, n: int, k: int) -> float:
    """AICc of Hurvich and Tsai (1989) for ``k`` parameters on ``n`` points."""
    return deviance + 2 * k + 2 * k * (k + 1) / (n - k - 1) if n > k + 1 else float("inf")


def constant_aicc(values: np.ndarray) -> float:
    """AICc of no growth at all: a level with correlated noise."""
    correlations = np.linspace(*CORRELATION, 146)
    flat = np.zeros((len(correlations), len(values)))
    return aicc(float(deviance(flat, values, correlations).min()), len(values), 3)
