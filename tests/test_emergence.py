"""The main claim: collision heads emerge, in the shipped configurations. Minutes, hence marked slow."""

from pathlib import Path

import numpy as np
import pytest

from lightning_physim.report import head_table
from lightning_physim.tracking import read_metrics
from tests.helpers.fits import only_run, physim

pytestmark = pytest.mark.slow


UNMEASURED = ("--llc=false", "--geometry=false")
"""Observers change nothing in training, which other tests hold; these two take longer than it."""


def fit(folder: Path, config: str, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    physim("fit", "--config", config, f"--seed_everything={seed}", *UNMEASURED, cwd=folder)
    return read_metrics(only_run(folder) / "metrics.jsonl")


def last(metrics: dict, key: str) -> float:
    return metrics[key][1][-1]


@pytest.mark.parametrize("seed", [0, 1])
def test_smoke_grows_a_collision_head(tmp_path, seed):
    metrics = fit(tmp_path, "smoke", seed)
    heads = head_table(metrics)
    assert heads[0]["enrichment"] >= 5
    assert last(metrics, "val/loss_colliding") < 0.5 * last(metrics, "val/floor_ballistic_colliding")
    assert last(metrics, "emergence/n_emerging") >= 1
    # The untrained network had none.
    assert metrics["probe/best_enrichment"][0][0] == 0 and metrics["probe/best_enrichment"][1][0] < 1.5


def test_demo_grows_several_and_beats_the_no_pair_oracle_by_far(tmp_path):
    metrics = fit(tmp_path, "demo", 0)
    enrichment = [row["enrichment"] for row in head_table(metrics)]
    assert enrichment[0] >= 8
    assert sum(value >= 5 for value in enrichment) >= 3
    assert last(metrics, "val/loss_colliding") <= 0.10 * last(metrics, "val/floor_ballistic_colliding")
    assert last(metrics, "val/loss_colliding") <= 0.15 * last(metrics, "val/floor_no_pair_colliding")


def test_a_network_without_attention_learns_no_more_than_what_collisions_do_on_average(tmp_path):
    """The control for the threshold above, and for what the no-pair floor is not."""
    physim("fit", "--config", "smoke", "--model.architecture=no_attention", *UNMEASURED, cwd=tmp_path)
    metrics = read_metrics(only_run(tmp_path) / "metrics.jsonl")
    colliding = last(metrics, "val/loss_colliding")
    assert colliding > 0.5 * last(metrics, "val/floor_ballistic_colliding")
    # The oracle is exact, but no bound on the squared error of a network that cannot see its neighbours either.
    assert colliding < last(metrics, "val/floor_no_pair_colliding")
