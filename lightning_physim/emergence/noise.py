"""Least squares under noise that is Gaussian and correlated geometrically from one measurement to the next (AR(1))."""

import numpy as np

CORRELATION = (-0.5, 0.95)
"""Range of the correlation between neighbouring measurements."""


class Projection:
    """Least squares for plateau and amplitude, a row for each law; a score that falls gets amplitude 0.

    Args:
        left: ``[rows, points]``.
        values: ``[points]``.
        correlations: of the noise, ``[rows]``.
    """

    def __init__(self, left: np.ndarray, values: np.ndarray, correlations: np.ndarray) -> None:
        rows, n = left.shape
        level = whiten(np.ones((1, n)), correlations)
        self.size = np.linalg.norm(level, axis=1)
        level = level / self.size[:, None]
        shape = whiten(left, correlations)
        self.shift = (shape * level).sum(1)
        shape = shape - self.shift[:, None] * level
        self.norm = np.linalg.norm(shape, axis=1)
        flat = self.norm <= 1e-9
        self.norm = np.where(flat, 1.0, self.norm)
        shape = np.where(flat[:, None], 0.0, shape / self.norm[:, None])
        self.level, self.shape = level, shape
        target = whiten(np.broadcast_to(values, (1, n)), correlations)
        self.along_level = (target * level).sum(1)
        self.along_shape = np.minimum((target * shape).sum(1), 0.0)
        self.residuals = target - self.along_level[:, None] * level - self.along_shape[:, None] * shape
        # A curve without noise leaves nothing, whose logarithm is wanted all the same.
        self.rest = np.maximum((self.residuals**2).sum(1), 1e-24 * (values**2).sum() + 1e-280)
        self.plateau, self.amplitude = self.linear(self.along_level, self.along_shape)

    def linear(self, along_level: np.ndarray, along_shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Plateau and amplitude ``[rows]`` of coordinates along the orthonormal directions of level and shape."""
        slope = along_shape / self.norm
        return (along_level - self.shift * slope) / self.size, -slope


def whiten(rows: np.ndarray, correlations: np.ndarray) -> np.ndarray:
    """Rows ``[rows, points]`` with AR(1) noise turned into rows with independent noise of equal variance."""
    rho = np.asarray(correlations)[:, None]
    first = np.sqrt(1 - rho**2) * rows[:, :1]
    return np.concatenate([first, rows[:, 1:] - rho * rows[:, :-1]], axis=1)


def deviance(left: np.ndarray, values: np.ndarray, correlations: np.ndarray) -> np.ndarray:
    """Minus twice the log-likelihood ``[rows]``, up to a constant, at the best level, amplitude and noise."""
    n = len(values)
    rest = Projection(left, values, correlations).rest
    return n * np.log(rest / n) - np.log1p(-(correlations**2))
