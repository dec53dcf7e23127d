"""What draws of several chains amount to: mean, standard error, R-hat, effective sample size."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor


class Summary(NamedTuple):
    """Of draws of several chains.

    Attributes:
        mean: over living chains.
        mcse: standard error of the mean.
        rhat: split R-hat.
        ess: effective sample size of all draws together.
    """

    mean: float
    mcse: float
    rhat: float
    ess: float


class Shared(NamedTuple):
    """Minibatches that all chains share, one of them at each draw, whatever the others were.

    Attributes:
        size: samples of each.
        dealt: samples that are in one of them.
        n: samples of the estimation set.
        controlled: gradients and draws lack the minibatch's error of first order.
    """

    size: int
    dealt: int
    n: int
    controlled: bool

    def factor(self, n_draws: int) -> float:
        """Variance of the mean of so many draws, for a variance 1 of what minibatches differ by.

        Samples that fill no minibatch add to it.
        """
        return 1 / n_draws + self.size * (1 / self.dealt - 1 / self.n)


def summarize(trace: np.ndarray, shared: Shared | None = None, noise_ratio: float = 0.0) -> Summary:
    """Of draws ``[chains, draws]``, without chains that hold a NaN; all NaN without a chain of four draws.

    Args:
        shared: where chains saw the same minibatches. Their errors then have a part in common, which does not average
            out over chains. With controlled gradients it is what the losses of minibatches differ by. Otherwise the
            variance of the chain average, up to the lag at which chains decorrelate, is compared with what independent
            chains would have, and the standard error raised by as much.
        noise_ratio: share of the variance that minibatch gradients have put into all chains alike.
    """
    from arviz_stats.base import array_stats  # a second of imports

    alive = trace[np.isfinite(trace).all(1)]
    if alive.shape[0] < 1 or alive.shape[1] < 4:
        return Summary(math.nan, math.nan, math.nan, math.nan)
    mean = float(alive.mean())
    if np.ptp(alive) == 0:
        return Summary(mean, 0.0, math.nan, math.nan)
    axes = {"chain_axis": 0, "draw_axis": 1}
    ess = float(array_stats.ess(alive, method="mean", **axes))
    if len(alive) > 1:
        rhat = float(array_stats.rhat(alive, method="split", **axes))
    else:  # which "split" refuses
        halves = alive[:, : alive.shape[1] // 2 * 2].reshape(2, -1)
        rhat = float(array_stats.rhat(halves, method="identity", **axes))
    variance = float(alive.var(ddof=1)) / ess
    if shared is not None and len(alive) > 1:
        if shared.controlled:
            n_chains, n_draws = alive.shape
            together = alive.mean(0)
            apart = (alive - together) * (n_chains / (n_chains - 1)) ** 0.5
            variance = float(apart.var(ddof=1)) / float(array_stats.ess(apart, method="mean", **axes))
            variance *= 1 + (n_chains - 1) * noise_ratio
            of_minibatches = max(0.0, float(together.var(ddof=1)) - float(apart.var(ddof=1)) / n_chains)
            variance += shared.factor(n_draws) * of_minibatches
        else:
            variance *= max(1.0, _common_part(alive, ess))
    return Summary(mean, math.sqrt(variance), rhat, ess)


def _common_part(trace: np.ndarray, ess: float) -> float:
    """Long-run variance of the mean over chains, relative to that of independent chains."""
    n_chains, n_draws = trace.shape
    lags = min(n_draws // 4, math.ceil(trace.size / ess))
    single = np.mean([_long_run_variance(chain, lags) for chain in trace])
    together = _long_run_variance(trace.mean(0), lags)
    return float(n_chains * together / single) if single > 0 else 1.0


def _long_run_variance(series: np.ndarray, lags: int) -> float:
    """Bartlett's estimate of the sum of autocovariances."""
    x = series - series.mean()
    covariances = [float(x[: len(x) - k] @ x[k:]) / len(x) for k in range(lags + 1)]
    return covariances[0] + 2 * sum((1 - k / (lags + 1)) * c for k, c in enumerate(covariances) if k)


def rhat_of_positions(away: Sequence[float], within: Sequence[float], n_draws: int) -> float:
    """R-hat of where chains are, by traces of the covariances between and within them.

    Of a single chain its halves take the place of chains.

    It has the noise of all directions together. In a region of many parameters it sees chains that are still on their
    way in soft ones, which hardly change the loss, though the centre lies where they lead.

    Args:
        away: squared distance of the mean of each chain from that of all; two or more, or the answer is NaN.
        within: mean squared distance of each chain's draws from their mean.
        n_draws: of each chain.
    """
    variance = sum(within) / max(len(within), 1) * n_draws / (n_draws - 1)
    if len(away) < 2 or not variance > 0:
        return math.nan
    return math.sqrt((n_draws - 1) / n_draws + sum(away) / (len(away) - 1) / variance)


class Off(NamedTuple):
    """What an estimate lacks as the centre of so many draws is off the true one, and the standard error of that."""

    mean: float
    mcse: float


def off(own: Tensor) -> Off:
    """By what the means of single chains add, ``[chains]``.

    The centre of all is as many times less off as there are chains, exactly so where the loss is quadratic.
    """
    n = len(own)
    return Off(float(own.mean()) / (n - 1), float(own.std()) / n**0.5 / (n - 1)) if n > 1 else Off(0.0, 0.0)
