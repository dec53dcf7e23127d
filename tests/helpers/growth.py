"""Curves whose law is known."""

import numpy as np

STEPS = np.unique(np.round(np.logspace(1.5, 4, 51)))


T = STEPS - STEPS[0]


CURVES = {
    "power_law": 0.9 - 0.8 * (1 + T / 80) ** -1.0,
    "exponential": 0.9 - 0.8 * np.exp(-T / 700),
    "stretched_exponential": 0.9 - 0.8 * np.exp((30 / 500) ** 0.5 - ((T + 30) / 500) ** 0.5),
    "logistic": 0.9 - 0.8 / (1 + np.exp(T / 250 - 3)),
    "broken_power_law": 0.9 - 0.8 * (1 + (T / 300) ** 3) ** (-1 / 3),
}


SHAPES = {
    "power_law": {"time": 80.0, "exponent": 1.0},
    "exponential": {"time": 700.0},
    "stretched_exponential": {"time": 500.0, "exponent": 0.5, "before": 30.0},
    "logistic": {"time": 250.0, "ratio": np.exp(-3)},
    "broken_power_law": {"time": 300.0, "exponent": 1.0, "early": 3.0},
}
"""Parameters of the curves; plateau and amplitude are 0.9 and 0.8."""


def correlated(rng: np.random.Generator, correlation: float, size: float, n: int = len(STEPS)) -> np.ndarray:
    noise = rng.normal(size=n)
    for i in range(1, len(noise)):
        noise[i] = correlation * noise[i - 1] + np.sqrt(1 - correlation**2) * noise[i]
    return size * noise
