"""The monitor says what the analysis says of the same points, and no more than the points allow."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from lightning_physim import keys
from lightning_physim.callbacks import CollisionProbe, EmergenceMonitor, LogSchedule
from lightning_physim.emergence import (
    LAWS,
    Law,
    Shape,
    compare_growth_laws,
    emergence_threshold,
    fit_power_law,
    forecast,
    onset_step,
)
from lightning_physim.errors import InputError
from lightning_physim.loggers import RunLogger
from tests.helpers.growth import STEPS, correlated

KEY = "probe/partner_score/"
RISING = 0.1 + 0.8 / (1 + (STEPS / 300) ** -2.0) + correlated(np.random.default_rng(0), 0.3, 0.01)
FLAT = 0.1 + correlated(np.random.default_rng(1), 0.3, 0.01)


class Tables(RunLogger):
    """A logger that takes tables."""

    def __init__(self) -> None:
        self.tables: list[dict] = []

    def log_table(self, key: str, columns: list[str], data: list[list], step: int | None = None) -> None:
        assert step is not None and key == "emergence/heads" and step > 0
        self.tables.append({row[0]: dict(zip(columns, row, strict=True)) for row in data})


def at(step: float, planned: float, curves: dict[str, np.ndarray]) -> tuple[dict[str, float], dict[str, dict]]:
    """What the monitor logs after ``step``: metrics, and rows of the table by head; step 0 is none that it looks at."""
    now = STEPS <= step
    history = {KEY + head: ([0, *STEPS[now]], [0.99, *values[now]]) for head, values in curves.items()}
    history["probe/collision_score/L9H9"] = history[KEY + "L0H0"]
    logger = Tables()
    trainer = SimpleNamespace(
        global_step=step, estimated_stepping_batches=planned, loggers=[logger, object()],
        callbacks=[object(), SimpleNamespace(history=history)],
    )  # fmt: skip
    EmergenceMonitor().measure(trainer, None, final=False)
    assert len(logger.tables) == LogSchedule(1).due(step)  # once a decade
    metrics = EmergenceMonitor().measure(trainer, None, final=True)
    return metrics, logger.tables[-1]


def test_numbers_are_those_of_the_analysis_at_the_last_planned_step():
    metrics, table = at(4000, 10_000, {"L0H0": RISING, "L0H1": FLAT})
    now = STEPS <= 4000
    assert metrics["emergence/n_emerging"] == 1
    assert set(metrics) == {"emergence/n_emerging", *(key.of(head="L0H0") for key in keys.EMERGENCE.values())}
    assert not any("L0H1" in key or "L9H9" in key for key in metrics)
    ahead = forecast(STEPS[now], RISING[now], 10_000)
    for key, value in (("forecast", ahead.value), ("forecast_lo", ahead.lo), ("forecast_hi", ahead.hi)):
        assert metrics[f"emergence/L0H0/{key}"] == pytest.approx(value[0], rel=1e-12)
    law = fit_power_law(STEPS[now], RISING[now])
    assert metrics["emergence/L0H0/exponent"] == law.exponent
    assert metrics["emergence/L0H0/exponent_lo"] == law.exponent_lo
    assert metrics["emergence/L0H0/exponent_hi"] == law.exponent_hi
    onset = onset_step(STEPS[now], RISING[now], emergence_threshold(RISING))
    assert metrics["emergence/L0H0/onset_step"] == onset.step
    comparison = compare_growth_laws(STEPS[now], RISING[now])
    row = table["L0H0"]
    assert (row["verdict"], row["reason"]) == (comparison.verdict, comparison.reason)
    assert {law: row[law] for law in comparison.weights} == comparison.weights
    assert (row["onset_lo"], row["onset_hi"], row["forecast_step"]) == (onset.lo, onset.hi, 10_000)
    assert table["L0H1"]["verdict"] == "undecided" and "baseline" in table["L0H1"]["reason"]
    assert math.isnan(table["L0H1"]["exponent"])


def test_without_a_planned_end_it_looks_ten_times_as_far_and_at_the_end_not_at_all():
    _, table = at(2000, math.inf, {"L0H0": RISING})
    assert table["L0H0"]["forecast_step"] == 20_000
    metrics, _ = at(10_000, 10_000, {"L0H0": RISING})
    assert "emergence/L0H0/exponent" in metrics and "emergence/L0H0/forecast" not in metrics


def test_it_measures_after_steps_of_its_schedule_and_logs_a_table_once_a_decade():
    monitor = EmergenceMonitor()
    due = [step for step in range(12) if monitor.due(SimpleNamespace(global_step=step), final=False)]
    assert due == [step for step in range(1, 12) if LogSchedule(4).due(step)]
    assert not monitor.due(SimpleNamespace(global_step=0), final=True)
    assert monitor.due(SimpleNamespace(global_step=7), final=True)
    for step in (316, 1000):  # :func:`at` counts the tables
        at(step, 10_000, {"L0H0": RISING})


def test_a_score_of_another_scale_has_the_same_forecast_in_its_units():
    now = STEPS <= 4000
    ahead = []
    for scale in (1.0, 10.0):
        history = {KEY + "L0H0": (STEPS[now].tolist(), (scale * RISING[now]).tolist())}
        callbacks = [SimpleNamespace(history=history)]
        trainer = SimpleNamespace(global_step=4000, estimated_stepping_batches=10_000, loggers=[], callbacks=callbacks)
        metrics = EmergenceMonitor(ceiling=scale).measure(trainer, None, final=True)
        ahead.append([metrics[f"emergence/L0H0/forecast{end}"] / scale for end in ("", "_lo", "_hi")])
    np.testing.assert_allclose(ahead[1], ahead[0], rtol=1e-6)


def test_a_head_that_has_only_begun_counts_but_is_not_fitted():
    steep = 0.1 + 0.8 / (1 + (STEPS / 300) ** -6.0)
    metrics, table = at(400, 10_000, {"L0H0": steep})
    assert metrics == {"emergence/n_emerging": 1}  # too far from the end for a forecast
    metrics, _ = at(400, 4000, {"L0H0": steep})
    assert {"emergence/L0H0/forecast", "emergence/n_emerging"} < set(metrics) and len(metrics) == 4, metrics
    assert "12 points" in table["L0H0"]["reason"]


def test_laws_are_fitted_from_fewer_points_than_an_onset_takes():
    steps = STEPS[:14]
    history = {KEY + "L0H0": ([*steps], [0.1, 0.1, *np.linspace(0.5, 0.9, 12)])}
    trainer = SimpleNamespace(
        global_step=int(steps[-1]), estimated_stepping_batches=10_000, loggers=[],
        callbacks=[SimpleNamespace(history=history)],
    )  # fmt: skip
    metrics = EmergenceMonitor().measure(trainer, None, final=False)
    assert {key for key in metrics if "weight" in key or "onset" in key} == {
        key.of(head="L0H0") for name, key in keys.EMERGENCE.items() if "weight" in key.of(head="L0H0")
    } and metrics["emergence/n_emerging"] == 1


def test_scores_that_are_not_finite_are_left_out():
    broken = RISING.copy()
    broken[[2, 30]] = np.nan
    metrics, _ = at(4000, 10_000, {"L0H0": broken})
    assert metrics["emergence/n_emerging"] == 1 and "emergence/L0H0/forecast" in metrics
    metrics, _ = at(4000, 10_000, {"L0H0": np.full_like(RISING, np.nan)})
    assert metrics == {"emergence/n_emerging": 0}


def test_the_probe_keeps_its_scores_over_a_resume_and_not_the_last_step_of_a_run_that_went_on():
    probe = CollisionProbe(steps_per_decade=6)
    for step in (0, 1, 2, 3, 5, 7, 10, 14):  # 14 was the last step of the first part
        probe._remember(step, {KEY + "L0H0": step / 10})
    resumed = CollisionProbe(steps_per_decade=6)
    resumed.load_state_dict(probe.state_dict())
    for step in (15, 22):
        resumed._remember(step, {KEY + "L0H0": step / 10})
    steps, values = resumed.history[KEY + "L0H0"]
    assert steps == [0, *LogSchedule(6).steps(22)] and values == [step / 10 for step in steps]


def test_without_scores_or_with_a_ceiling_of_nothing_it_is_refused():
    with pytest.raises(InputError, match="CollisionProbe"):
        EmergenceMonitor().setup(SimpleNamespace(callbacks=[object()]), None, "fit")
    EmergenceMonitor().setup(SimpleNamespace(callbacks=[object()]), None, "validate")
    with pytest.raises(InputError, match="ceiling"):
        EmergenceMonitor(ceiling=0.0)


def test_a_law_that_is_added_is_in_the_table_that_is_logged(monkeypatch):
    monkeypatch.setitem(
        LAWS, "line", Law("line", lambda t, time: np.maximum(1 - t / time, 0), {"time": Shape(0.1, 10.0, time=True)})
    )
    _, table = at(4000, 10_000, {"L0H0": RISING})
    weights = [table["L0H0"][law] for law in LAWS]
    assert "line" in LAWS and sum(weights) == pytest.approx(1.0)
