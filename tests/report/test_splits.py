"""The table of evaluation splits."""

import numpy as np

from lightning_physim.report.splits import split_table


def test_a_column_for_every_split_and_a_row_for_what_one_of_them_has():
    values = {
        "test/loss": 0.12345, "test/loss_colliding": 1.5, "test/rollout_mse@1": 2e-6, "test/rollout_mse@10": 0.5,
        "ood_gravity/loss": 2.0, "ood_gravity/rollout_mse@10": np.inf, "ood_gravity/floor_no_pair": 3.0,
        "train/loss": 1.0, "probe/auroc/L0H0": 0.5,
    }  # fmt: skip
    splits, rows = split_table(values)
    assert splits == ["test", "ood_gravity"]
    assert rows == [
        ("loss, colliding", ["1.5", "–"]),
        ("loss, all", ["0.123", "2"]),
        ("no-pair oracle", ["–", "3"]),
        ("position @1", ["2e-06", "–"]),
        ("position @10", ["0.5", "–"]),
    ]


def test_validation_has_names_of_its_own_for_rollouts():
    splits, rows = split_table({"val/loss": 1.0, "rollout/momentum_error@4": 0.25})
    assert (splits, rows) == (["val"], [("loss, all", ["1"]), ("momentum @4", ["0.25"])])


def test_nothing_gives_nothing():
    assert split_table({"train/loss": 1.0}) == ([], [])
