"""How fast a score grows where it stands: its velocity, the order of its growth, and whether two curves are one.

In gradient flow in one coordinate the velocity is a function of the place alone. What is here takes the time as it is
given: training steps, or the sum of learning rates, which is the time of gradient flow.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from lightning_physim.curves import Curve, crossing_step, final
from lightning_physim.emergence.curve import checked
from lightning_physim.errors import InputError

BANDWIDTH = 0.08 * np.log(10.0)
"""Standard deviation of the weights of neighbours of a point, in the logarithm of time."""
MIN_VELOCITY = 8
"""Points from which velocities are taken."""
GROWN = 0.8
"""Share of the rise up to which the order of growth is fitted."""
MIN_GROWTH = 8
"""Points below that share from which it is fitted."""
SHARES = np.concatenate([np.geomspace(1e-6, 0.5, 1500)[:-1], 1 - np.geomspace(0.5, 1e-6, 1500)])
"""Where the time of growth is integrated."""
ORDER_RANGE = (-2.0, 5.0)
"""Range of the order of growth."""
FIRST_ORDERS = (0.0, 1.0, 2.0)
"""Orders of growth that fits start from."""
OWN_SPANS = 2.0
"""Times from a tenth to half of a rise, after half of it, at which :func:`own_end` ends it."""
NEAR_END = 3
"""Points around that time that the value there is the mean of."""
MAX_ROUNDS = 200
"""In which that end is found: each is nearer by a factor of its own."""


@dataclass(frozen=True)
class Velocity:
    """A smoothed curve and its rate of change.

    Args:
        time: of the points, ``[points]``.
        value: smoothed, in units of the curve.
        rate: units of the curve per unit of time.
    """

    time: np.ndarray
    value: np.ndarray
    rate: np.ndarray


def velocity(time: np.ndarray, values: np.ndarray, bandwidth: float = BANDWIDTH) -> Velocity:
    """Rate of change of a curve, by local quadratic regression on the logarithm of time (Fan and Gijbels 1996).

    Args:
        time, values: ``[points]``, ascending; a time of 0 is left out.
        bandwidth: standard deviation of the Gaussian weights, in the logarithm of time. What happens within it is
            smoothed away: a logistic of order 1 whose velocities are regressed on its values reads an order of 0.3.

    Raises:
        InputError: fewer than 8 points, and as :func:`lightning_physim.emergence.compare_growth_laws`.
    """
    time, values = checked(time, values)
    if len(time) < MIN_VELOCITY:
        raise InputError(f"a velocity takes {MIN_VELOCITY} points; got {len(time)}")
    log_time = np.log(time)
    value, slope = np.empty_like(time), np.empty_like(time)
    for i, at in enumerate(log_time):
        away = (log_time - at) / bandwidth
        # polyfit weights residuals, not their squares.
        _, slope[i], value[i] = np.polyfit(away, values, 2, w=np.exp(-(away**2) / 4))
    return Velocity(time, value, slope / bandwidth / time)


@dataclass(frozen=True)
class GrowthEquation:
    """``dy/dt = rate y^order (1 - y)^approach`` for the share y of a rise.

    Args:
        order: above 1 the start is a degenerate saddle, at 1 a regular one, below 1 a slope. For a score that goes as
            the m-th power of a coordinate with order q it is ``(m - 1 + q) / m``.
        approach: of the distance that is left; 1 is an exponential approach.
        rate: per unit of time.
        half: time at which y is 1/2.
    """

    order: float
    approach: float
    rate: float
    half: float

    def share(self, time: np.ndarray) -> np.ndarray:
        """y at given times; 0 before a start and 1 after an end that are reached in finite time."""
        # Integrated over y, where the equation has no time in it, and read the other way round.
        slowness = SHARES**-self.order * (1 - SHARES) ** -self.approach
        elapsed = np.concatenate([[0.0], np.cumsum((slowness[1:] + slowness[:-1]) / 2 * np.diff(SHARES))])
        elapsed -= np.interp(0.5, SHARES, elapsed)
        return np.interp((np.asarray(time) - self.half) * self.rate, elapsed, SHARES, left=0.0, right=1.0)


def growth_order(time: np.ndarray, values: np.ndarray, start: float, end: float) -> GrowthEquation:
    """Fit the order of growth by integration in time, not by derivatives, which smoothing bends.

    Args:
        time, values: ``[points]``; those up to the first above 0.8 of the rise are fitted, by least squares.
        start: value before the growth: that of uniform attention, for a score. A start that is taken from the first
            points makes an order of 2 look like 1.3.
        end: value at the end of it.

    Raises:
        InputError: no rise, fewer than 8 points to fit, or fewer than 8 points at all.
    """
    time, values = checked(time, values)
    if not end > start:
        raise InputError(f"an order of growth takes a rise; got {start:g} to {end:g}")
    share = (values - start) / (end - start)
    above = np.flatnonzero(share > GROWN)
    n = int(above[0]) if len(above) else len(share)
    if n < MIN_GROWTH:
        raise InputError(f"an order of growth takes {MIN_GROWTH} points below {GROWN:g} of the rise; got {n}")
    time, share = time[:n], share[:n]
    half = float(np.interp(0.5, np.maximum.accumulate(share), time))

    def growth(x: np.ndarray) -> GrowthEquation:
        return GrowthEquation(float(x[0]), float(x[1]), float(np.exp(x[2])) / half, float(x[3]) * half)

    best = min(
        (
            least_squares(
                lambda x: growth(x).share(time) - share,
                [order, 1.0, np.log(4 * 2**order), 1.0],
                bounds=([ORDER_RANGE[0], 0.0, -20.0, 0.3], [ORDER_RANGE[1], 5.0, 20.0, 3.0]),
                x_scale=[0.3, 0.3, 0.3, 0.05],
                diff_step=1e-4,
            )
            for order in FIRST_ORDERS
        ),
        key=lambda fit: fit.cost,
    )
    return growth(best.x)


def rise_times(curve: Curve, start: float, end: float) -> tuple[float, float, float]:
    """Times at which a curve passes a tenth, half and nine tenths of its rise for good; NaN where it does not."""
    tenth, half, most = (crossing_step(curve, start + share * (end - start)) for share in (0.1, 0.5, 0.9))
    return tenth, half, most


def own_end(curve: Curve, start: float) -> float:
    """The value at which a rise is taken to end: two spans after half of it; a span is the time from a tenth to half.

    Curves of one potential that were looked at for different lengths end at one share of their rises there. Those of
    the last measurement do not. A logistic ends at 0.988.

    Args:
        curve: times and values ``[points]``.
        start: value before the rise.

    Returns:
        In units of the values; NaN where the curve ends before that time, or does not rise.
    """
    time, values = curve
    after = time > 0
    time, values = time[after], values[after]
    if len(time) < NEAR_END:
        return float("nan")
    smooth = np.convolve(np.pad(values, NEAR_END // 2, mode="edge"), np.full(NEAR_END, 1 / NEAR_END), "valid")
    end = final(curve)
    for _ in range(MAX_ROUNDS):
        tenth, half, _ = rise_times((time, values), start, end)
        at = half + OWN_SPANS * (half - tenth)
        if not (end > start and at <= time[-1]):
            return float("nan")
        found = float(np.interp(np.log(at), np.log(time), smooth))
        if abs(found - end) < 1e-6 * abs(end - start):
            break
        end = found
    return end


def shape_ratio(curve: Curve, start: float, end: float) -> float:
    """``ln(T2 / T1)`` with the times from 0.5 to 0.9 and from 0.1 to 0.5 of a rise; NaN where it does not pass them.

    Equal for all curves that have one velocity at each share of the rise, whatever their rises and time scales.

    Args:
        curve: times and values ``[points]``.
        start, end: values at both ends of the rise.
    """
    tenth, half, most = rise_times(curve, start, end)
    return float(np.log((most - half) / (half - tenth)))


def collapse(a: Curve, b: Curve, level: float) -> float:
    """``ln(t_a / t_b)`` of the times at which two curves pass a level for good; NaN where one does not.

    0 where the curves of two learning rates are one over the sum of rates, as those of gradient flow are.

    Args:
        a, b: times and values ``[points]``; the values rise.
        level: to be passed.
    """
    return float(np.log(crossing_step(a, level) / crossing_step(b, level)))
