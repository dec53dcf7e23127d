"""What the tests of dynamics say of synthetic heads whose potential is known: rates of right and wrong answers.

    python -m benchmarks.dynamics

Curves have 60 points a decade from 2 to 1600, the half of their rise near 150, and noise whose correlation from one
point to the next is 0.5. A study is ten curves, as ten seeds are.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
from scipy.integrate import solve_ivp
from scipy.signal import lfilter

from lightning_physim.claims.growth import (
    DEGENERATE_START,
    EXPONENTIAL,
    OPEN_GROWTH,
    POWER_LAW,
    REGULAR_START,
    SEVERAL,
    FlowHead,
    answers,
    flow_head,
    measure,
)
from lightning_physim.claims.statistics import t_answer
from lightning_physim.emergence import UNDECIDED
from lightning_physim.emergence.dynamics import growth_order, shape_ratio
from lightning_physim.emergence.relaxation import relaxation
from lightning_physim.errors import InputError

TIME = np.geomspace(2.0, 1600.0, round(60 * np.log10(800)))
HALF, EARLY = 150.0, 80.0
"""Time of half of the rise, and from a twentieth to half of it."""
CORRELATION = 0.5
STUDY = 10
MARGIN = 0.25
"""By how much the order of growth must lie above or below 1, that of a saddle, to be called degenerate or a slope. A
saddle that is seen as a square reads up to 0.12 too low."""
NOISES = (0.005, 0.02)
"""Standard deviations, over the rise."""


def flow(order: int, approach: int, power: int = 1) -> np.ndarray:
    """``x^power`` of gradient flow ``dx/dt = rate x^order (1 - x)^approach``, solved by scipy, ``[points]``.

    A start at ``order`` 1 is a saddle, above it a degenerate one of degree ``order + 1``, at 0 a slope; the end is a
    minimum of degree ``approach + 1``.
    """

    def slope(_: float, x: np.ndarray) -> np.ndarray:
        return np.clip(x, 0, 1) ** order * (1 - np.clip(x, 0, 1)) ** approach

    def passes(level: float) -> Callable[[float, np.ndarray], float]:
        return lambda _, x: x[0] - level

    first = 0.0 if order == 0 else 1e-6 if order == 1 else 0.02
    found = solve_ivp(
        slope, (0, 1e5), [first], events=[passes(0.05), passes(0.5)], rtol=1e-9, atol=1e-12, dense_output=True
    )
    begins, half = (float(times[0]) for times in found.t_events)
    return found.sol(np.clip(half + (TIME - HALF) * (half - begins) / EARLY, 0, 1e5))[0] ** power


def spectrum(exponent: float) -> np.ndarray:
    """The share that a loss ``sum a^2 exp(-2 h t)`` has fallen by: curvatures h of a Gamma density, as a power law."""
    return 1 - (1 + TIME / HALF) ** -exponent


def staged() -> np.ndarray:
    """Two logistic stages, the second one three times slower and later."""
    return (1 / (1 + np.exp(-(TIME - HALF) / 27)) + 1 / (1 + np.exp(-(TIME / 3 - HALF) / 27))) / 2


HEADS: dict[str, tuple[Callable[[], np.ndarray], float | None]] = {
    "logistic (saddle, x²)": (lambda: flow(1, 1), 1.0),
    "logistic, seen as x²": (lambda: flow(1, 1, 2), 1.0),
    "saddle x³": (lambda: flow(2, 1), 2.0),
    "saddle x³, seen as x²": (lambda: flow(2, 1, 2), 1.5),
    "saddle x⁴": (lambda: flow(3, 1), 3.0),
    "exponential (slope to x²)": (lambda: flow(0, 1), 0.0),
    "exponential, seen as x²": (lambda: flow(0, 1, 2), 0.5),
    "slope to x³": (lambda: flow(0, 2), 0.0),
    "slope to x⁴": (lambda: flow(0, 3), 0.0),
    "saddle x² to x³": (lambda: flow(1, 2), 1.0),
    "saddle x² to x⁴": (lambda: flow(1, 3), 1.0),
    "saddle x³ to x³": (lambda: flow(2, 2), 2.0),
    "broad quadratic spectrum, t^-0.5": (lambda: spectrum(0.5), None),
    "broad quadratic spectrum, t^-1": (lambda: spectrum(1.0), None),
    "broad quadratic spectrum, t^-2": (lambda: spectrum(2.0), None),
    "two stages": (staged, None),
}
"""Curves, and the order of their growth where they have one."""


def noisy(curve: np.ndarray, noise: float, seed: int) -> np.ndarray:
    """A curve with correlated noise."""
    rng = np.random.default_rng(seed)
    drawn = rng.normal(size=len(curve))
    drawn[1:] *= np.sqrt(1 - CORRELATION**2)
    return curve + noise * lfilter([1.0], [1.0, -CORRELATION], drawn)


def rows(n: int) -> Iterator[str]:
    """Of the table, for ``n`` curves a row."""
    yield (
        "| head | noise | order of growth, true | measured, mean ± sd | studies: degenerate / open / slope | approach "
        "called power law / exponential / undecided, % | shape ratio, mean ± sd |\n|---|---|---|---|---|---|---|"
    )
    for name, (make, order) in HEADS.items():
        curve = make()
        for noise in NOISES:
            orders, shapes, called = [], [], Counter[str]()
            for seed in range(n):
                values = noisy(curve, noise, seed)
                end = float(values[-3:].mean())
                try:
                    orders.append(growth_order(TIME, values, 0.0, end).order)
                except InputError:  # it is above 0.8 of its rise too soon
                    orders.append(np.nan)
                shapes.append(shape_ratio((TIME, values), 0.0, end))
                called[relaxation(TIME, values).verdict] += 1
            studies = Counter(map(_answer, np.split(np.array(orders), n // STUDY)))
            yield (
                f"| {name} | {noise:g} | {'–' if order is None else f'{order:g}'} | "
                f"{np.nanmean(orders):.2f} ± {np.nanstd(orders):.2f} | "
                f"{studies['degenerate']} / {studies['open']} / {studies['slope']} | "
                + " / ".join(f"{100 * called[law] / n:.0f}" for law in ("power_law", "exponential", UNDECIDED))
                + f" | {np.nanmean(shapes):.2f} ± {np.nanstd(shapes):.2f} |"
            )


def _answer(orders: np.ndarray) -> str:
    """Of one study, each side by Student's t at 2.5 %."""
    for answer, sign in (("degenerate", 1), ("slope", -1)):
        if t_answer((sign * (orders - 1)).tolist(), against=MARGIN, alternative="greater").p < 0.025:
            return answer
    return "open"


KINDS = {
    "logistic": ("logistic (saddle, x²)",),
    "saddle x³": ("saddle x³",),
    "saddle x² to x³": ("saddle x² to x³",),
    "exponential": ("exponential (slope to x²)",),
    "logistic; saddle x³": ("logistic (saddle, x²)", "saddle x³"),
    "logistic; two stages": ("logistic (saddle, x²)", "two stages"),
    "logistic; saddle x² to x³": ("logistic (saddle, x²)", "saddle x² to x³"),
    "logistic; logistic, seen as x²": ("logistic (saddle, x²)", "logistic, seen as x²"),
}
"""Potentials that the heads of a study take turns to have."""
SEEN, SEEN_LATE = 600.0, 1600.0
"""Times at which the fine and the coarse run of a study end: heads are at different shares of their rises."""


def studies(n: int) -> Iterator[str]:
    """Of the table of claim (c): ``n`` studies a row, of ten seeds with one or two heads each, at two step sizes."""
    yield (
        "| heads | noise | heads with an end of their own | start called degenerate / not / open, % | several "
        "potentials, % | approach called power law / exponential / undecided, % |\n|---|---|---|---|---|---|"
    )
    curves = {name: make() for name, (make, _) in HEADS.items()}
    for label, kinds in KINDS.items():
        for noise in NOISES:
            complete, starts, approaches, several = 0, Counter[str](), Counter[str](), 0
            for study in range(n):
                rng = np.random.default_rng([study, len(label)])
                heads = [_head(curves[kinds[i % len(kinds)]], i % 10, noise, rng) for i in range(15)]
                numbers = measure([head for head in heads if head is not None], [])
                found = answers(numbers)
                complete += numbers.shape_heads
                starts[found["start"]] += 1
                approaches[found["approach"]] += 1
                several += found["shapes"] == SEVERAL
            called = " / ".join(f"{100 * starts[a] / n:.0f}" for a in (DEGENERATE_START, REGULAR_START, OPEN_GROWTH))
            levels = " / ".join(f"{100 * approaches[law] / n:.0f}" for law in (POWER_LAW, EXPONENTIAL, UNDECIDED))
            yield (
                f"| {label} | {noise:g} | {complete / n:.1f} of 15 | {called} | {100 * several / n:.0f} | {levels} |"
            )


def _head(curve: np.ndarray, seed: int, noise: float, rng: np.random.Generator) -> FlowHead | None:
    """One head with scales of its own, measured twice, until :data:`SEEN`; None where the claim would not count it."""
    stretch, height = np.exp(rng.normal(0, 0.3)), rng.uniform(0.5, 0.8)
    runs = []
    for kept in (TIME <= SEEN_LATE, TIME <= SEEN):
        values = height * noisy(np.interp(TIME / stretch, TIME, curve), noise, int(rng.integers(2**32)))
        runs.append((TIME[kept], values[kept]))
    found = flow_head(seed, "L0H0", *runs, uniform=0.0)
    return found if found.in_flow else None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dynamics", description=__doc__.splitlines()[0])
    parser.add_argument("--curves", type=int, default=100, help="of every row, a multiple of ten (default: 100)")
    parser.add_argument("--studies", type=int, default=100, help="of every row of the second table (default: 100)")
    given = parser.parse_args()
    for row in (*rows(given.curves), "", *studies(given.studies)):
        print(row, flush=True)


if __name__ == "__main__":
    main()
