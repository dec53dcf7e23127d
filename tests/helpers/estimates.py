"""Runs with estimates of learning coefficients whose place in figures is known."""

import numpy as np

from lightning_physim.report.style import PAPER
from lightning_physim.tracking import JsonlLogger, RunDirectory

NAN, INF = float("nan"), float("inf")
STEPS = [30, 100, 300, 1000]
SCORES = {"L0H0": [1.0, 1.1, 1.0, 1.2], "L0H1": [1.0, 1.2, 5.0, 9.0], "L1H0": [0.9, 1.0, 1.0, 0.8]}


def estimate(mean, mcse=0.1, rhat=1.01, ess=100.0, converged=1.0, **other):
    return {"mean": mean, "mcse": mcse, "rhat": rhat, "ess": ess, "n_dead": 0.0, "converged": converged} | other


ESTIMATES = {
    "model": [estimate(mean, mcse=1.0) for mean in (5.0, 9.0, 20.0, 31.0)],
    "L0H0": [estimate(0.2), estimate(-0.4), estimate(0.3), estimate(0.5, rhat=1.3, converged=0.0)],
    "L0H1": [estimate(0.3), estimate(1.0), estimate(6.0, mcse=0.4), estimate(10.0, mcse=0.5)],
    # One that no chain survived, one far off.
    "L1H0": [
        estimate(0.3),
        estimate(NAN, NAN, NAN, NAN, n_dead=4.0, converged=0.0),
        estimate(0.4),
        estimate(500.0, mcse=90.0, n_dead=1.0, step_stability=1.3, converged=0.0),
    ],
}


def as_metrics(estimates=ESTIMATES, scores=SCORES):
    curves = {f"probe/enrichment/{head}": (np.array(STEPS), np.array(values)) for head, values in scores.items()}
    for region, rows in estimates.items():
        for key in set().union(*rows):
            at = [i for i, row in enumerate(rows) if key in row]
            curves[f"llc/{region}/{key}"] = (np.array(STEPS)[at], np.array([rows[i][key] for i in at]))
    return curves


TRACE = {
    "step": 1000,
    "columns": ["draw", "model/0", "model/1", "L0H1/0", "L0H1/1"],
    "data": [[draw, 30.0 + draw, 32.0 - draw, 9.0, None] for draw in range(5)],
}
CALIBRATION = {
    "step": 1000,
    "columns": ["region", "n_beta", "localization", "step_size", "mean", "mcse", "rhat", "ess", "step_stability",
                "noise_ratio", "localization_share", "n_dead", "converged", "recommended"],
    "data": [
        [region, n_beta, localization, step, mean, 0.1, 1.0, 200.0, 0.2, 0.01, 0.1, 0, mean is not None, step == best]
        for region, best in (("model", 1e-4), ("L0H1", None))
        for n_beta, localization in ((100.0, 1.0), (1000.0, 10.0), (1000.0, 1.0))
        for step, mean in ((1e-4, 3.0), (1e-5, 2.9), (1e-3, None))
    ],
}  # fmt: skip


def write_run(path, metrics, tables=()):
    """A run directory as a fit leaves it."""
    run = RunDirectory(path / "20260101-000000-demo-abcd")
    logger = JsonlLogger(run.metrics)
    for step in sorted({int(step) for steps, _ in metrics.values() for step in steps}):
        at_step = {key: values[steps == step][0] for key, (steps, values) in metrics.items() if step in steps}
        logger.log_metrics(at_step, step)
    for key, table in tables:
        logger.log_table(key, table["columns"], table["data"], step=table["step"])
    return run


def drawn(figure, name, mode, panel="y"):
    """The trace of a region in the panel of heads, its ``mode`` "lines", "markers" or, for the band, "fill"."""
    (trace,) = (
        trace
        for trace in figure.data
        if trace.name == name
        and trace.yaxis == panel
        and ("fill" if trace.fill else trace.mode) == mode
        and trace.x[0] is not None
    )
    return trace


def hollow(markers):
    return [color == PAPER for color in markers.marker.color]
