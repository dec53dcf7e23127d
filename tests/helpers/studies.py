"""Studies whose truth is known."""

import numpy as np

from lightning_physim.claims import Study

STEPS = np.array([0, *np.unique(np.round(np.logspace(0, 4, 81)))])


LLC_STEPS = np.unique(np.round(np.logspace(1.25, 4, 12)))


UNIFORM = 0.1


ENDS = (0.93, 0.8, 0.7, 0.6, 0.3, 0.2, 0.12, 0.1)
"""Final partner scores of the eight heads of a network: four collision heads."""


def rising(steps: np.ndarray, start: float, end: float, middle: float) -> np.ndarray:
    return start + (end - start) * steps**2 / (steps**2 + middle**2)


def a_run(rng: np.random.Generator, llc_follows="score", weights_follow="nothing", llc_later=1.0, ends=ENDS) -> dict:
    """Metrics of a run with eight heads; what a quantity ``follows`` decides how far it rises."""
    metrics = {"val/loss_colliding": (STEPS[1:], np.full(len(STEPS) - 1, 0.2))}
    for i, end in enumerate(ends):
        head, middle = f"L{i // 4}H{i % 4}", 10 ** rng.uniform(2.4, 2.8)
        score = rising(STEPS, UNIFORM, end, middle)
        target = {"score": end - UNIFORM, "nothing": rng.uniform(0.05, 0.8)}
        llc = rising(LLC_STEPS, 1.0, 1.0 + 20 * target[llc_follows], middle * llc_later) + rng.normal(0, 0.3, 12)
        norm = rising(LLC_STEPS, 5.0, 5.0 + target[weights_follow], middle)
        metrics |= {
            f"probe/partner_score/{head}": (STEPS, score),
            f"probe/enrichment/{head}": (STEPS, score / UNIFORM),
            f"probe/ablation/{head}": (STEPS[1:], np.full(len(STEPS) - 1, 0.5 * (end - UNIFORM))),
            f"llc/{head}/mean": (LLC_STEPS, llc),
            f"llc/{head}/converged": (LLC_STEPS, np.ones(12)),
            f"llc/{head}/weight_norm": (LLC_STEPS, norm),
            f"llc/{head}/grad_norm": (LLC_STEPS, 1.0 + rng.normal(0, 0.1, 12)),
        }
    return metrics


def a_study(n_seeds: int = 5, **kwargs) -> Study:
    rng = np.random.default_rng(0)
    return Study(
        seeds={f"seed {i}": a_run(rng, **kwargs) for i in range(n_seeds)},
        permuted=a_run(rng, ends=(0.12,) * 8),
        no_attention={"val/loss_colliding": (STEPS[1:], np.full(len(STEPS) - 1, 1.9))},
    )
