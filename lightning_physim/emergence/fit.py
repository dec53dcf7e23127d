"""Fitting a law to a curve whose noise is correlated: maximum likelihood on a grid, then polished."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from lightning_physim.emergence.laws import LAWS, Law

CORRELATIONS = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 0.9])
"""First guesses of the correlation between neighbouring measurements."""
LM_STEPS = 30


@dataclass(frozen=True)
class LawFit:
    """A law on the points it was fitted to.

    Args:
        law: its name in :data:`LAWS`.
        first_step: the step from which the law counts time.
        plateau: the value it tends to.
        amplitude: what is left to it at ``first_step``; not negative.
        shapes: shape parameters; times in steps.
        correlation: of the noise of neighbouring points, in [0, 0.95].
        noise: standard deviation of the noise.
        aicc: Akaike's criterion with its correction for few points, up to a constant that the points determine.
        at_edge: shape parameters that ended at the edge of their range, where the law turns into another one.
    """

    law: str
    first_step: float
    plateau: float
    amplitude: float
    shapes: dict[str, float]
    correlation: float
    noise: float
    aicc: float
    at_edge: tuple[str, ...]

    def predict(self, steps: np.ndarray) -> np.ndarray:
        """The law at ``steps``, from ``first_step`` on; NaN before, where it says nothing."""
        t = np.asarray(steps, dtype=float) - self.first_step
        left = LAWS[self.law].left(np.maximum(t, 0.0), *self.shapes.values())
        return np.where(t < 0, np.nan, self.plateau - self.amplitude * left)


class Fitter:
    """Fits one law to many curves over the same steps.

    Noise is Gaussian, its correlation falls geometrically from one measurement to the next (AR(1)); plateau and amplitude
    follow from the shapes by least squares (variable projection, Golub and Pereyra 1973), so that only shapes and
    correlation are searched for.

    Args:
        name: of the law.
        steps: ``[points]``, ascending.
    """

    def __init__(self, name: str, steps: np.ndarray) -> None:
        self.name = name
        self.law: Law = LAWS[name]
        self.steps = steps
        self.first_step = float(steps[0])
        self.t = steps - steps[0]
        span = float(self.t[-1])
        self.lo, self.hi = (
            np.log([getattr(shape, end) * (span if shape.time else 1.0) for shape in self.law.shapes.values()])
            for end in ("lo", "hi")
        )
        axes = [np.linspace(lo, hi, s.n) for lo, hi, s in zip(self.lo, self.hi, self.law.shapes.values(), strict=True)]
        self.grid = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=-1)
        self._bases = [_basis(self._left(self.grid), correlation) for correlation in CORRELATIONS]

    def fit(self, values: np.ndarray) -> LawFit:
        """The fit of highest likelihood to ``values`` ``[points]``."""
        rough = [
            _deviance(basis, values[None], correlation)[:, 0]
            for basis, correlation in zip(self._bases, CORRELATIONS, strict=True)
        ]
        best = int(np.argmin([deviances.min() for deviances in rough]))
        start = self.grid[int(np.argmin(rough[best]))]
        x0 = np.array([*start, CORRELATIONS[best]])
        low, high = np.array([*self.lo, 0.0]), np.array([*self.hi, 0.95])
        found = minimize(
            lambda x: self._deviance(x, values),
            x0,
            method="Nelder-Mead",
            bounds=list(zip(low, high, strict=True)),
            options={"xatol": 1e-4, "fatol": 1e-6, "maxiter": 2000, "initial_simplex": _simplex(x0, low, high)},
        )
        return self._result(found.x if found.fun <= self._deviance(x0, values) else x0, values)

    def fit_many(self, curves: np.ndarray, correlation: float) -> tuple[np.ndarray, np.ndarray]:
        """Least-squares plateaus ``[curves]`` and shapes ``[curves, shapes]`` of ``curves`` ``[curves, points]``.

        From the best point of the grid by Levenberg-Marquardt steps, for all curves at once.
        """
        deviances = _deviance(_basis(self._left(self.grid), correlation), curves, correlation)
        x = self.grid[np.argmin(deviances, axis=0)]
        targets = whiten(curves, correlation)
        linear, residuals = self._linear(x, targets, correlation)
        damping = np.full(len(x), 1e-2)
        for _ in range(LM_STEPS):
            jacobian = np.stack([self._slope(x, i, targets, correlation) for i in range(x.shape[1])], axis=-1)
            normal = np.einsum("bni,bnj->bij", jacobian, jacobian)
            diagonal = np.einsum("bii->bi", normal)
            normal[:, range(x.shape[1]), range(x.shape[1])] += damping[:, None] * diagonal + 1e-300
            step = np.linalg.solve(normal, -np.einsum("bni,bn->bi", jacobian, residuals)[..., None])[..., 0]
            trial = np.clip(x + np.clip(step, -1.0, 1.0), self.lo, self.hi)
            trial_linear, trial_residuals = self._linear(trial, targets, correlation)
            better = (trial_residuals**2).sum(-1) < (residuals**2).sum(-1)
            x = np.where(better[:, None], trial, x)
            linear = np.where(better[:, None], trial_linear, linear)
            residuals = np.where(better[:, None], trial_residuals, residuals)
            damping = np.clip(np.where(better, damping / 4, damping * 8), 1e-9, 1e9)
        return linear[:, 0], np.exp(x)

    def _linear(self, x: np.ndarray, targets: np.ndarray, correlation: float) -> tuple[np.ndarray, np.ndarray]:
        """The best plateau and slope ``[curves, 2]`` for given shapes, and whitened residuals ``[curves, points]``."""
        left = self._left(x)
        design = np.stack([whiten(np.ones_like(left), correlation), whiten(left, correlation)], axis=-1)
        linear = (np.linalg.pinv(design) @ targets[..., None])[..., 0]
        return linear, targets - np.einsum("bni,bi->bn", design, linear)

    def _slope(self, x: np.ndarray, i: int, targets: np.ndarray, correlation: float) -> np.ndarray:
        """Derivative of the residuals by the logarithm of shape ``i``, by central difference."""
        shift = 1e-4 * np.eye(x.shape[1])[i]
        ahead, behind = (self._linear(x + sign * shift, targets, correlation)[1] for sign in (1, -1))
        return (ahead - behind) / 2e-4

    def jacobian(self, fit: LawFit) -> np.ndarray:
        """Derivatives ``[points, 2 + shapes]`` of the law by plateau, amplitude and the logarithm of each shape."""
        x = np.log([*fit.shapes.values()])
        shifts = 1e-4 * np.eye(len(x))
        slopes = [(self._left((x + shift)[None])[0] - self._left((x - shift)[None])[0]) / 2e-4 for shift in shifts]
        left = self._left(x[None])[0]
        return np.stack([np.ones_like(left), -left, *(-fit.amplitude * slope for slope in slopes)], axis=-1)

    def _left(self, log_shapes: np.ndarray) -> np.ndarray:
        return self.law.left(self.t, *(np.exp(log_shapes[:, i, None]) for i in range(log_shapes.shape[1])))

    def _deviance(self, x: np.ndarray, values: np.ndarray) -> float:
        return float(_deviance(_basis(self._left(x[None, :-1]), x[-1]), values[None], x[-1])[0, 0])

    def _result(self, x: np.ndarray, values: np.ndarray) -> LawFit:
        left = self._left(x[None, :-1])[0]
        columns = np.stack([np.ones_like(left), left], axis=-1)
        design, target = whiten(columns.T, x[-1]).T, whiten(values[None], x[-1])[0]
        plateau, slope = np.linalg.lstsq(design, target, rcond=None)[0]
        if slope > 0:  # a score that falls does not grow by this law
            slope, plateau = 0.0, float(design[:, 0] @ target / (design[:, 0] @ design[:, 0]))
        n, k = len(values), 4 + x.size - 1  # plateau, amplitude, noise, correlation, shapes
        residuals = target - design @ np.array([plateau, slope])
        innovation = residuals @ residuals / max(n - 2 - (x.size - 1), 1)
        edge = tuple(
            name
            for i, name in enumerate(self.law.shapes)
            if min(x[i] - self.lo[i], self.hi[i] - x[i]) < 1e-3 * (self.hi[i] - self.lo[i])
        )
        return LawFit(
            law=self.name,
            first_step=self.first_step,
            plateau=float(plateau),
            amplitude=float(-slope),
            shapes=dict(zip(self.law.shapes, map(float, np.exp(x[:-1])), strict=True)),
            correlation=float(x[-1]),
            noise=float(np.sqrt(innovation / (1 - x[-1] ** 2))),
            aicc=aicc(self._deviance(x, values), n, k),
            at_edge=edge,
        )


def aicc(deviance: float, n: int, k: int) -> float:
    """AICc of Hurvich and Tsai (1989) for ``k`` parameters on ``n`` points."""
    return deviance + 2 * k + 2 * k * (k + 1) / (n - k - 1) if n > k + 1 else float("inf")


def constant_aicc(values: np.ndarray) -> float:
    """AICc of no growth at all: a level with correlated noise."""
    flat = np.zeros((1, len(values)))
    found = minimize(
        lambda x: float(_deviance(_basis(flat, x[0]), values[None], x[0])[0, 0]), [0.5], bounds=[(0.0, 0.95)]
    )
    return aicc(float(found.fun), len(values), 3)


Basis = tuple[np.ndarray, np.ndarray]


def _basis(left: np.ndarray, correlation: float) -> Basis:
    """Orthonormal directions of level and shape, whitened: ``[points]`` and ``[grid, points]``, pointing to growth."""
    level = whiten(np.ones((1, left.shape[1])), correlation)[0]
    level /= np.linalg.norm(level)
    shape = -whiten(left, correlation)
    shape -= np.outer(shape @ level, level)
    norm = np.linalg.norm(shape, axis=1, keepdims=True)
    return level, np.divide(shape, norm, out=np.zeros_like(shape), where=norm > 1e-9)


def _deviance(basis: Basis, curves: np.ndarray, correlation: float) -> np.ndarray:
    """Minus twice the log-likelihood ``[grid, curves]``, up to a constant, at the best level, amplitude and noise."""
    level, shape = basis
    white = whiten(curves, correlation)
    white = white - np.outer(white @ level, level)
    total = (white**2).sum(-1)
    explained = np.maximum(shape @ white.T, 0.0) ** 2
    n = curves.shape[1]
    floor = 1e-24 * np.maximum((curves**2).sum(-1), 1e-300)  # of a curve without noise
    return n * np.log(np.maximum(total - explained, floor) / n) - np.log1p(-(correlation**2))


def whiten(rows: np.ndarray, correlation: float) -> np.ndarray:
    """Rows ``[..., points]`` with AR(1) noise turned into rows with independent noise of equal variance."""
    first = np.sqrt(1 - correlation**2) * rows[..., :1]
    return np.concatenate([first, rows[..., 1:] - correlation * rows[..., :-1]], axis=-1)


def _simplex(x0: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """A first simplex that stays within the bounds and is not flat at an edge."""
    size = np.minimum(0.1 * (high - low), 0.3)
    steps = np.where(x0 + size <= high, size, -size)
    return np.vstack([x0, x0 + np.diag(steps)])
