"""The laws that noisy points allow, as weighted draws: one mechanism for the interval of anything.

The likelihood is averaged, not maximised: over plateau, amplitude and noise in closed form, over shapes and the noise's
correlation by importance sampling. With even weight on plateau and amplitude that is the restricted likelihood of noise
and correlation (Harville 1974), and a skewed parameter gets a skewed interval. The prior is meant to say nothing:
``1 / noise``, even in the correlation, and for the law Jeffreys' measure, under which equally many distinguishable
curves weigh equally. It does not depend on how a law is written down, and gives intervals that cover as often as they
say to second order in one dimension (Welch and Peers 1963); how often they do here is measured: see
``docs/results/growth.md``.

Draws come from Student t distributions around the best draws so far and are weighted all together (adaptive multiple
importance sampling, Cornuet, Marin, Mira and Robert 2012). Its random numbers are fixed: the same points give
the same interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import gammaln, logsumexp

from lightning_physim.emergence.laws import LawOnSteps
from lightning_physim.emergence.noise import CORRELATION, Projection, whiten

Interval = tuple[float, float]

MIN_ROUNDS, ROUNDS = 5, 10
ENOUGH = 1500
"""Effective number of draws at which no further round is taken. It looks high until the draws have found the tails, so
that a least number of rounds is needed as well: with three of 600, laws of three shapes are covered in 85 to 90 %."""
PER_ROUND = 1000
TAIL = 4.0
"""Degrees of freedom of the proposals."""
CENTRES = 12
NARROWER = 0.5
"""Variance of a proposal around its centre over that of all draws."""
EVEN = 0.25
"""Share of the draws that is spread evenly over the whole range of the shapes."""


@dataclass(frozen=True)
class Draws:
    """Weighted draws of everything about a law, ``[draws]`` each.

    Args:
        values: by name: ``plateau``, ``amplitude``, ``noise``, ``correlation`` and every shape.
        weights: they add up to 1.
        fitter: the law on its steps.
    """

    values: dict[str, np.ndarray]
    weights: np.ndarray
    fitter: LawOnSteps

    def __getitem__(self, name: str) -> np.ndarray:
        return self.values[name]

    @property
    def ess(self) -> float:
        """How many draws of equal weight say as much."""
        return float(1 / (self.weights**2).sum())

    def interval(self, values: np.ndarray, level: float = 0.95) -> Interval:
        """Equal-tailed interval of a quantity of the draws ``[draws]``."""
        lo, hi = quantiles(values, self.weights, np.array([(1 - level) / 2, (1 + level) / 2]))
        return float(lo), float(hi)

    def predict(self, step: float) -> np.ndarray:
        """Each draw's law at ``step``, ``[draws]``, without noise."""
        shapes = (self.values[name] for name in self.fitter.law.shapes)
        left = self.fitter.law.left(np.array(step - self.fitter.first_step), *shapes)
        return self.values["plateau"] - self.values["amplitude"] * left


def quantiles(values: np.ndarray, weights: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Quantiles of weighted values."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) - 0.5 * weights[order]
    return np.interp(shares * weights.sum(), reached, values[order])


def sample(fitter: LawOnSteps, x: np.ndarray, correlation: float, values: np.ndarray) -> Draws:
    """Draws of the law around the fit with logarithms of shapes ``x`` and the given correlation of the noise."""
    lo, hi = np.append(fitter.lo, np.arctanh(CORRELATION[0])), np.append(fitter.hi, np.arctanh(CORRELATION[1]))
    normal, gauss, chi2, even = _random(len(lo), len(values))
    where, target, summed = np.empty((0, len(lo))), np.empty(0), np.empty(0)
    centres, spread = (
        np.append(x, np.arctanh(correlation))[None],
        _first_spread(fitter, x, correlation, values, hi - lo),
    )
    proposals: list[tuple[np.ndarray, np.ndarray]] = []
    parts = []
    for r in range(ROUNDS):
        root = np.linalg.cholesky(spread)
        points = np.resize(centres, (PER_ROUND, len(lo))) + normal[r] @ root.T
        n_even = int(EVEN * PER_ROUND)
        points[:n_even] = lo + (hi - lo) * even[r, :n_even]
        # Every draw by every proposal: the old ones by the new proposal, the new ones by all.
        proposals.append((centres, root))
        ours = np.logaddexp.reduce([_log_student(points, *proposal) for proposal in proposals])
        summed = np.concatenate([np.logaddexp(summed, _log_student(where, centres, root)), ours])
        log_target, quantities = _log_target(fitter, points, values, correlation, gauss[r], chi2[r], lo, hi)
        parts.append(quantities)
        where, target = np.concatenate([where, points]), np.concatenate([target, log_target])
        adapted = np.log((1 - EVEN) / len(proposals)) + summed
        log_weights = target - np.logaddexp(adapted, np.log(EVEN) - np.log(hi - lo).sum())
        weights = np.exp(log_weights - logsumexp(log_weights))
        if r + 1 >= MIN_ROUNDS and (weights**2).sum() <= 1 / ENOUGH:
            break
        centres, spread = _next(where, log_weights, spread)
    drawn = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Draws(drawn, weights, fitter)


def _log_target(
    fitter: LawOnSteps, points: np.ndarray, values: np.ndarray, correlation: float,
    gauss: np.ndarray, chi2: np.ndarray, lo: np.ndarray, hi: np.ndarray,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:  # fmt: skip
    """Log density ``[draws]`` at shapes and correlation, and all quantities with plateau, amplitude and noise drawn.

    Jeffreys' measure is taken at the one ``correlation`` of the fit: a prior of the law that knew of the noise's would
    undo the restricted likelihood.
    """
    inside = ((points >= lo) & (points <= hi)).all(1)
    points = np.clip(points, lo, hi)
    x, correlations = points[:, :-1], np.tanh(points[:, -1])
    left = fitter.left(x)
    found = Projection(left, values, correlations)
    noise = np.sqrt(found.rest / chi2)
    plateau, amplitude = found.linear(found.along_level + noise * gauss[:, 0], found.along_shape + noise * gauss[:, 1])
    fixed = np.full(len(x), correlation)
    at_fit = Projection(left, values, fixed)
    slopes = np.stack([_orthogonal(whiten(slope, fixed), at_fit) for slope in fitter.slopes(x)])
    volume = np.linalg.slogdet(np.einsum("irn,jrn->rij", slopes, slopes) + 1e-300 * np.eye(len(slopes)))[1]
    grows = inside & (amplitude > 0)
    log_density = (
        -(len(values) - 2) / 2 * np.log(found.rest)
        + 1.5 * np.log1p(-(correlations**2))  # half of it the likelihood's, the rest from arctanh to the correlation
        - np.log(found.size * found.norm)
        + np.log(at_fit.size * at_fit.norm)
        + 0.5 * volume
        + x.shape[1] * np.log(np.where(grows, amplitude, 1.0))
    )
    quantities = {
        "plateau": plateau,
        "amplitude": amplitude,
        "noise": noise / np.sqrt(1 - correlations**2),
        "correlation": correlations,
        **dict(zip(fitter.law.shapes, np.exp(x).T, strict=True)),
    }
    return np.where(grows, log_density, -np.inf), quantities


def _orthogonal(rows: np.ndarray, found: Projection) -> np.ndarray:
    for direction in (found.level, found.shape):
        rows = rows - (rows * direction).sum(1, keepdims=True) * direction
    return rows


def _first_spread(
    fitter: LawOnSteps, x: np.ndarray, correlation: float, values: np.ndarray, width: np.ndarray
) -> np.ndarray:
    """Covariance of shapes and correlation by the curvature of the likelihood, none beyond the range of a shape."""
    rho = np.full(1, correlation)
    found = Projection(fitter.left(x[None]), values, rho)
    slopes = np.stack([_orthogonal(whiten(slope, rho), found)[0] for slope in fitter.slopes(x[None])])
    variance = float(found.rest[0]) / len(values)
    information = float(found.amplitude[0]) ** 2 * slopes @ slopes.T / variance
    spread = np.zeros((len(width), len(width)))
    spread[:-1, :-1] = np.linalg.inv(information + np.diag((4 / width[:-1]) ** 2))
    spread[-1, -1] = 1 / len(values) / (1 - correlation**2)
    return 1.5 * spread


def _next(where: np.ndarray, log_weights: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres and their common covariance for the next round: a few of the draws so far, by their weights.

    Several narrow proposals follow a crescent where a single wide one does not. Weights are flattened, so that tails
    get their share, and more where few draws have a say.
    """
    top = log_weights - log_weights.max()
    for power in (0.5, 0.25, 0.1):
        weights = np.exp(power * top)
        weights = weights / weights.sum()
        if 1 / (weights**2).sum() > 20 * where.shape[1]:
            break
    centred = where - weights @ where
    covariance = (centred * weights[:, None]).T @ centred
    picked = np.searchsorted(np.cumsum(weights), (np.arange(CENTRES) + 0.5) / CENTRES)
    return where[np.minimum(picked, len(where) - 1)], NARROWER * covariance + 1e-6 * np.diag(np.diag(spread))


def _log_student(where: np.ndarray, centres: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Log density ``[draws]`` of a mixture of Student t distributions around ``centres``."""
    d = where.shape[1]
    inverse = np.linalg.inv(root).T
    at, around = where @ inverse, centres @ inverse
    distances = np.maximum((at**2).sum(1)[:, None] + (around**2).sum(1) - 2 * at @ around.T, 0.0)
    density = np.mean((1 + distances / TAIL) ** (-(TAIL + d) / 2), axis=1)
    constant = gammaln((TAIL + d) / 2) - gammaln(TAIL / 2) - d / 2 * np.log(TAIL * np.pi)
    return constant - np.log(np.diag(root)).sum() + np.log(density)


@lru_cache(maxsize=64)
def _random(d: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Fixed random numbers: Student t and even ``[rounds, draws, d]``, two Gaussian and one chi-squared a draw."""
    rng = np.random.default_rng(0)
    shape = (ROUNDS, PER_ROUND)
    stretch = np.sqrt(TAIL / rng.chisquare(TAIL, (*shape, 1)))
    return (
        rng.normal(size=(*shape, d)) * stretch,
        rng.normal(size=(*shape, 2)),
        rng.chisquare(n - 2, shape),
        rng.random((*shape, d)),
    )
