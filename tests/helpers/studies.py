"""Studies whose truth is known."""

import numpy as np
from scipy.integrate import solve_ivp

from lightning_physim.claims import Study
from lightning_physim.claims.plan import ROLES

STEPS = np.array([0, *np.unique(np.round(np.logspace(0, 4, 81)))])


LLC_STEPS = np.unique(np.round(np.logspace(1.25, 4, 12)))


UNIFORM = 0.1


ENDS = (0.93, 0.8, 0.7, 0.6, 0.3, 0.2, 0.12, 0.1)
"""Final partner scores of the eight heads of a network: four collision heads."""


def rising(steps: np.ndarray, start: float, end: float, middle: float) -> np.ndarray:
    return start + (end - start) * steps**2 / (steps**2 + middle**2)


def a_run(
    rng: np.random.Generator, ends=ENDS, own_time=True, n_directions=60.0, order=2.0, weights_follow="nothing"
) -> dict:
    """Metrics of a run with eight heads.

    Args:
        ends: their final partner scores.
        own_time: directions of each head rise when its score does; otherwise when that of the next head does.
        n_directions: at the end, of every head, from 10 at the start.
        order: of collision heads; that of the others is 2.
        weights_follow: the ``"score"``, or ``"nothing"``: how far the weight norm of a head rises.
    """
    metrics = {"val/loss_colliding": (STEPS[1:], np.full(len(STEPS) - 1, 0.2))}
    middles = 10 ** rng.uniform(2.0, 2.8, len(ends))
    for i, end in enumerate(ends):
        head, middle = f"L{i // 4}H{i % 4}", middles[i]
        score = rising(STEPS, UNIFORM, end, middle)
        target = {"score": end - UNIFORM, "nothing": rng.uniform(0.05, 0.8)}
        llc = rising(LLC_STEPS, 1.0, 20.0, middle) + rng.normal(0, 0.3, 12)
        norm = rising(LLC_STEPS, 5.0, 5.0 + target[weights_follow], middle)
        directions = rising(STEPS, 10.0, n_directions, middle if own_time else np.roll(middles, 1)[i])
        orders = (order if end > 5 * UNIFORM else 2.0) + rng.normal(0, 0.03, 12)
        metrics |= {
            f"probe/partner_score/{head}": (STEPS, score),
            f"probe/enrichment/{head}": (STEPS, score / UNIFORM),
            f"probe/ablation/{head}": (STEPS[1:], np.full(len(STEPS) - 1, 0.5 * (end - UNIFORM))),
            f"llc/{head}/mean": (LLC_STEPS, llc),
            f"llc/{head}/converged": (LLC_STEPS, np.ones(12)),
            f"llc/{head}/weight_norm": (LLC_STEPS, norm),
            f"llc/{head}/order": (LLC_STEPS, orders),
            f"llc/{head}/order_lo": (LLC_STEPS, orders - 0.1),
            f"llc/{head}/n_beta": (LLC_STEPS, np.full(12, 1000.0)),
            f"llc/{head}/localization": (LLC_STEPS, np.full(12, 1000.0)),
            f"geometry/{head}/d_eff/c0p1": (STEPS, directions * np.exp(rng.normal(0, 0.02, len(STEPS)))),
        }
    return metrics


def a_study(n_seeds: int = 5, **kwargs) -> Study:
    rng = np.random.default_rng(0)
    return Study(
        seeds={seed: a_run(rng, **kwargs) for seed in range(n_seeds)},
        permuted={seed: a_run(rng, ends=(0.12,) * 8, n_directions=20.0) for seed in range(n_seeds)},
        no_attention={"val/loss_colliding": (STEPS[1:], np.full(len(STEPS) - 1, 1.9))},
    )


TIMES = np.geomspace(2.0, 320.0, 89)
"""Of gradient flow."""
LATE_TIMES = np.append(TIMES, np.geomspace(320.0, 960.0, 20)[1:])
"""Of that in coarse steps."""


def risen(times: np.ndarray, order: float, approach: float, first: float, half: float) -> np.ndarray:
    """Share of the rise of ``dx/dt = x^order (1 - x)^approach`` at some times, half of it at one of them."""

    def slope(_, x):
        return np.clip(x, 0, 1) ** order * np.clip(1 - x, 0, 1) ** approach

    def passes(level):
        return lambda _, x: x[0] - level

    found = solve_ivp(
        slope, (0, 1e5), [first], events=[passes(0.1), passes(0.5)], rtol=1e-9, atol=1e-12, dense_output=True
    )
    tenth, middle = (float(times[0]) for times in found.t_events)
    return found.sol(np.clip(middle + (times - half) * (middle - tenth) / (0.5 * half), 0, 1e5))[0]


KINDS = {
    "logistic": lambda times, half: risen(times, 1, 1, 1e-6, half),
    "cubic": lambda times, half: risen(times, 2, 1, 1e-3, half),
    "twice cubic": lambda times, half: risen(times, 2, 2, 1e-3, half),
    "slope": lambda times, half: risen(times, 0, 1, 0.0, half),
}


def flows(kinds: list[str], late: float = 1.0, n_seeds: int = 6) -> Study:
    """A study in gradient flow, a head of each kind on every seed; coarse steps are later by a factor."""
    found: dict[str, dict[int, dict]] = {"flow": {}, "flow_fine": {}}
    for seed in range(n_seeds):
        for role, runs in found.items():
            rng = np.random.default_rng([seed, len(role)])
            times, factor = (LATE_TIMES, late) if role == "flow" else (TIMES, 1.0)
            steps = np.append(0, np.round(times / ROLES[role].time))
            run = {}
            for i, kind in enumerate(kinds):
                share = KINDS[kind](times, factor * (70 + 8 * (seed + i)))
                share = np.append(share[:1], share + rng.normal(0, 0.004, len(share)))
                score = UNIFORM + (0.6 + 0.02 * i) * share
                run |= {
                    f"probe/partner_score/L0H{i}": (steps, score),
                    f"probe/enrichment/L0H{i}": (steps, score / UNIFORM),
                    f"probe/ablation/L0H{i}": (steps[1:], np.full(len(steps) - 1, 0.3)),
                }
            loss = 0.3 + 0.7 * np.exp(-times / (60 * factor)) + rng.normal(0, 0.0015, len(times))
            runs[seed] = run | {"val/loss_colliding": (steps[1:], loss)}
    return Study({}, flow=found["flow"], flow_fine=found["flow_fine"])
