"""What a bayes sweep tries next, and which trials are not worth going on with."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lightning_physim.errors import InputError
from lightning_physim.files import nest
from lightning_physim.sweeps.engine import STARTUP, SweepEngine
from lightning_physim.sweeps.hyperband import Hyperband
from lightning_physim.sweeps.parameters import read_parameters

CONTENT = {"metric": {"name": "val/loss"}}
PARAMETERS = tuple(
    read_parameters(
        {
            "k": {"distribution": "uniform", "min": 0.0, "max": 1.0},
            "model": {"parameters": {"lr": {"distribution": "log_uniform_values", "min": 1.0e-3, "max": 1.0}}},
            "heads": {"min": 1, "max": 8},
            "a": {"values": [None, True]},
            "mu": {"distribution": "q_normal", "q": 0.5},
            "fixed": {"value": 3},
        }
    )
)


def row(index: int, parameters: dict, metric: Any, state: str = "finished") -> dict:
    return {"trial": index, "run_id": str(index), "parameters": parameters, "metric": metric, "state": state}


def searched(seed: int, value: Callable[[float], float], count: int) -> list[dict]:
    """Rows of a sweep whose metric is a function of ``k``: drawn first, then suggested."""
    rows: list[dict] = []
    engine = SweepEngine(CONTENT, PARAMETERS, seed)
    for index in range(count):
        given = engine.suggest(index, rows)
        if given is None:
            generator = np.random.default_rng([seed, index])
            given = nest((parameter.name, parameter.draw(generator)) for parameter in PARAMETERS)
        rows.append(row(index, given, value(given["k"])))
    return rows


def test_suggestions_come_from_the_results_alone():
    rows = searched(0, lambda k: (k - 0.9) ** 2, STARTUP + 5)
    suggested = [each["parameters"] for each in rows[STARTUP:]]
    for given in suggested:
        assert list(given) == ["k", "model", "heads", "a", "mu", "fixed"] and given["fixed"] == 3
        assert given["a"] in (None, True) and type(given["heads"]) is int and 1 <= given["heads"] <= 8
        assert type(given["k"]) is type(given["model"]["lr"]) is float and 1.0e-3 <= given["model"]["lr"] <= 1.0
        assert given["mu"] % 0.5 == 0 and abs(given["mu"]) <= 3.0  # a thousandth of the draws lies beyond 3.09
    assert np.mean([given["k"] for given in suggested]) > 0.65
    # An engine that has just been made knows what the old one did: nothing but the rows counts.
    before = np.random.get_state()[1].tolist()
    assert SweepEngine(CONTENT, PARAMETERS, 0).suggest(STARTUP + 4, rows[:-1]) == suggested[-1]
    assert np.random.get_state()[1].tolist() == before
    mirrored = [each | {"metric": -each["metric"]} for each in rows[:-1]]
    largest = SweepEngine({"metric": {"name": "x", "goal": "maximize"}}, PARAMETERS, 0)
    assert largest.suggest(STARTUP + 4, mirrored) == suggested[-1]


def test_trials_that_failed_are_the_worst_and_those_that_run_are_kept_clear_of():
    rows = searched(0, lambda k: k, STARTUP)
    engine = SweepEngine(CONTENT, PARAMETERS, 0)
    worst = max(each["metric"] for each in rows)
    plain = engine.suggest(20, rows)
    lost = row(11, plain, None, "failed")
    as_worst = engine.suggest(20, [*rows, row(11, plain, worst)])
    for state, metric in (("failed", -9.0), ("diverged", "NaN")):
        assert engine.suggest(20, [*rows, lost | {"state": state, "metric": metric}]) == as_worst
    assert engine.suggest(20, [*rows, lost | {"state": "stopped", "metric": worst}]) == as_worst
    assert as_worst != plain
    running = engine.suggest(20, [*rows, lost | {"state": "started"}])
    assert running not in (plain, as_worst)
    assert running == engine.suggest(20, [*rows, lost | {"state": "interrupted", "metric": 0.1}])
    assert engine.suggest(20, [*rows[1:], lost | {"state": "started"}]) is None
    assert engine.suggest(0, [lost]) is None


def test_a_search_needs_something_to_vary_and_optuna(monkeypatch):
    with pytest.raises(InputError, match="a parameter to vary"):
        SweepEngine(CONTENT, PARAMETERS[-1:], 0)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"pip install 'lightning_physim\[bayes\]'"):
        SweepEngine(CONTENT, PARAMETERS, 0)


# Decided by W&B's engine, the package sweeps 0.3.0: settings, whether to maximize, histories, who runs, who is to stop.
DECIDED = [
    ({"min_iter": 2}, False, {
        "a": [3.1, 5.5, 8.3], "b": [2.5, 6.3, 0.8, 6.2, 2.8], "c": [5.6], "d": [9.0, 1.5, 0.4, 8.9],
        "e": [8.3, 0.3, 6.7, 3.1, 2.3, 5.9, 1.3, 8.8]}, "acd", "a"),
    ({"min_iter": 1, "eta": 2, "strict": True}, False, {
        "a": [8.6, 3.1, 1.6, 7.7], "b": [4.9, 2.3, 6.0, 4.2, 7.4, 5.8, 7.2], "c": [2.5, 3.1, 8.4, 3.7, 8.3],
        "d": [7.8, 6.2], "e": [8.6, 4.7, 4.8, 1.5, 7.5]}, "bcde", "d"),
    ({"min_iter": 3, "eta": 1.5, "strict": True}, True, {
        "a": [3.6, 2.5, 3.7, 1.0, 7.5], "b": [8.7, 4.9, 2.7, 2.7, 4.6],
        "c": [2.6, 3.2, 1.2, 3.7, 5.1, 4.8, 4.2, 1.4, 3.4], "d": [8.6, 8.7, 5.5, 3.2, 8.0, 0.0, 1.0],
        "e": [8.2, 4.9, 2.9, 7.9, 5.1, 3.9, 8.8, 4.4, 4.3]}, "abde", "a"),
    ({"max_iter": 27, "s": 2}, False, {
        "a": [6.2, 8.0, 9.0, 5.0], "b": [2.8, 0.8], "c": [7.4, 2.8, 1.2, 0.7], "d": [6.3, 7.2, 8.7],
        "e": [2.5, 4.4, 2.2]}, "abe", "a"),
    ({"max_iter": 9, "s": 4, "eta": 2, "strict": True}, True, {
        "a": [0.3, 1.1, 8.7, 7.4, 3.9, 2.3, 8.6, 0.1], "b": [3.9, 3.3, 3.0, 0.1, 5.3, 7.4, 6.5, 0.9],
        "c": [5.5, 5.7, 1.3, 6.9, 3.9, 3.9, 3.0, 4.0], "d": [4.1, 3.9, 4.0], "e": [4.8, 8.7]}, "abde", "b"),
    ({"max_iter": 12, "s": 1, "eta": 2, "strict": True}, False, {
        "a": [8.1, 6.2, 7.5, 6.6], "b": [5.1, 4.3, 0.8, 1.1, 3.1, 7.1, 3.8, 8.7, 6.0],
        "c": [1.6, 5.9, 8.1, 8.2, 5.5, 3.5], "d": [7.6], "e": [6.2, 8.9, 2.2, 0.9, 2.6, 7.2, 7.2, 0.7]}, "bcde", "e"),
]  # fmt: skip


@pytest.mark.parametrize("settings, maximize, histories, running, stopped", DECIDED)
def test_hyperband_decides_as_wandbs_engine(settings, maximize, histories, running, stopped):
    rule = Hyperband({"type": "hyperband", **settings}, maximize)
    assert rule.to_stop(histories, set(running)) == set(stopped)
    # What is no number counts for nothing.
    odd = {key: [float("nan"), *values, float("inf")] for key, values in histories.items()}
    assert rule.to_stop(odd, set(running)) == set(stopped)


@pytest.mark.parametrize(
    "settings",
    [
        3, {"min_iter": 2}, {"type": "median", "min_iter": 2}, {"type": "hyperband"},
        {"type": "hyperband", "max_iter": 9},
        {"type": "hyperband", "min_iter": 0}, {"type": "hyperband", "min_iter": 1.5},
        {"type": "hyperband", "min_iter": 2, "eta": 1}, {"type": "hyperband", "min_iter": 2, "strict": 1},
        {"type": "hyperband", "max_iter": 2, "s": 1}, {"type": "hyperband", "min_iter": 2, "patience": 3},
    ],
)  # fmt: skip
def test_settings_that_are_no_hyperband_are_refused(settings):
    with pytest.raises(
        InputError, match="early_terminate must be {type: hyperband, min_iter: N} or .* with eta above 1"
    ):
        Hyperband(settings, False)
