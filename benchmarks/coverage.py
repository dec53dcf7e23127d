"""How often intervals of growth laws cover, and verdicts err, on curves whose law and noise are known.

    python -m benchmarks.coverage

51 log-spaced points from 32 to 10 000, plateau 0.9, amplitude 0.8. The two tables of ``docs/results/growth.md``.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from itertools import chain

import numpy as np
from scipy.signal import lfilter

from lightning_physim.emergence import LAWS, UNDECIDED, compare_growth_laws, label
from lightning_physim.emergence.fit import Fitter

STEPS = np.unique(np.round(np.logspace(1.5, 4, 51)))
TRUE_SHAPES = {
    "power_law": {"time": 80.0, "exponent": 1.0},
    "exponential": {"time": 700.0},
    "stretched_exponential": {"time": 500.0, "exponent": 0.5, "before": 30.0},
    "logistic": {"time": 250.0, "ratio": float(np.exp(-3))},
    "broken_power_law": {"time": 300.0, "exponent": 1.0, "early": 3.0},
}
NOISE_CORRELATIONS = (0.0, 0.5)


def curve(law: str) -> np.ndarray:
    """The score at :data:`STEPS` without noise, ``[points]``."""
    return 0.9 - 0.8 * LAWS[law].left(STEPS - STEPS[0], **TRUE_SHAPES[law])


def noise(rng: np.random.Generator, correlation: float, size: float) -> np.ndarray:
    """AR(1) noise of standard deviation ``size``, ``[points]``."""
    white = rng.normal(size=len(STEPS))
    white[1:] *= np.sqrt(1 - correlation**2)
    return size * lfilter([1.0], [1.0, -correlation], white)


def coverage(curves: int) -> Iterator[str]:
    """A row for each law and noise: how many of the 95 % intervals of each parameter hold the truth, per cent."""
    rng = np.random.default_rng(0)
    yield "| law | noise | coverage at a noise correlation of 0 / 0.5 |\n|---|---|---|"
    for law, shapes in TRUE_SHAPES.items():
        fitter = Fitter(law, STEPS)
        for size in (0.005, 0.02):
            counts = []
            for correlation in NOISE_CORRELATIONS:
                truth = shapes | {"plateau": 0.9, "amplitude": 0.8, "correlation": correlation, "noise": size}
                held: Counter[str] = Counter()
                for _ in range(curves):
                    fit = fitter.fit(curve(law) + noise(rng, correlation, size))
                    for name, value in truth.items():
                        low, high = fit.interval(name)
                        held[name] += low <= value <= high
                counts.append({name: 100 * held[name] / curves for name in truth})
            told = ", ".join(f"{name} {' / '.join(f'{count[name]:.0f}' for count in counts)}" for name in counts[0])
            yield f"| {label(law)} | {size} | {told} |"


def confusion(curves: int) -> Iterator[str]:
    """A row for each law and noise: how many verdicts are the right law, and how many another one, per cent."""
    rng = np.random.default_rng(1)
    yield "| true law | noise | right, other law, undecided: correlation 0 | correlation 0.5 |\n|---|---|---|---|"
    for law in (*TRUE_SHAPES, None):
        for size in (0.002, 0.005, 0.02):
            told = []
            for correlation in NOISE_CORRELATIONS:
                clean = curve(law) if law else 0.1 + 0 * STEPS
                calls = Counter(
                    compare_growth_laws(STEPS, clean + noise(rng, correlation, size)).verdict for _ in range(curves)
                )
                right, undecided = calls[law] if law else 0, calls[UNDECIDED]
                told.append(
                    " / ".join(f"{100 * n / curves:.0f}" for n in (right, curves - right - undecided, undecided))
                )
            yield f"| {label(law) if law else 'no growth'} | {size} | {' | '.join(told)} |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__.splitlines()[0])
    parser.add_argument("--curves", type=int, default=200, help="of every row (default: 200)")
    given = parser.parse_args()
    for row in chain(coverage(given.curves), [""], confusion(given.curves)):
        print(row, flush=True)


if __name__ == "__main__":
    main()
