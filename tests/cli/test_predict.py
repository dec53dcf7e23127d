"""``physim predict``: rollouts of the test split, by a trained network."""

import functools

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import yaml

from lightning_physim import PhysicsSimulator
from lightning_physim.tracking import find_run, last_checkpoint
from tests.helpers.fits import TINY, only_run, physim


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a run of two steps."""
    folder = tmp_path_factory.mktemp("predict")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    physim("fit", "--config", "tiny.yaml", "--trainer.max_steps=2", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def predicted(folder) -> np.ndarray:
    """What the command gets from Lightning, ``[systems, times, particles, 4]``."""
    batches = []
    predict = pl.Trainer.predict

    @functools.wraps(predict)  # the command reads its arguments off the signature
    def listening(*args, **kwargs):
        batches.extend(predict(*args, **kwargs))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pl.Trainer, "predict", listening)
        physim("predict", "--ckpt_path", "last", "--config", "tiny.yaml", cwd=folder)
    return torch.cat(batches).numpy()


@pytest.fixture(scope="module")
def true(folder) -> np.ndarray:
    """The test split as it lies on disk."""
    (split,) = (folder / "data").glob("test-*")
    return np.load(split / "states.npy")


def test_every_trajectory_is_predicted_once_from_its_first_state(predicted, true):
    assert predicted.shape == true.shape == (5, 7, 6, 4)
    assert np.array_equal(predicted[:, 0], true[:, 0])


def test_a_rollout_is_the_trained_network_applied_to_its_own_output(predicted, true, folder):
    checkpoint = last_checkpoint(find_run(folder / "runs", "last"))
    network = PhysicsSimulator.load_from_checkpoint(checkpoint)
    state = torch.from_numpy(true[:, 0])
    for step in range(1, true.shape[1]):
        with torch.no_grad():
            state = network(state)
        np.testing.assert_allclose(predicted[:, step], state.numpy(), atol=1e-5)
    assert not np.allclose(predicted, true, atol=1e-3)


def test_predictions_have_the_errors_that_a_test_of_the_run_reports(predicted, true, folder):
    shown = physim("test", "--ckpt_path", "last", "--config", "tiny.yaml", cwd=folder).stdout
    for horizon in TINY["model"]["rollout_horizons"]:
        error = np.square(predicted[:, horizon, :, :2].astype(float) - true[:, horizon, :, :2]).mean()
        lines = {line for line in shown.splitlines() if f" test/rollout_mse@{horizon} " in line}
        (reported,) = {float(line.strip("│ ").split()[-1]) for line in lines}
        assert reported == pytest.approx(error, rel=1e-4)


def test_a_prediction_leaves_nothing_behind(predicted, folder):
    assert only_run(folder)
    assert {path.name for path in folder.glob("[!.]*")} == {"tiny.yaml", "data", "runs"}
