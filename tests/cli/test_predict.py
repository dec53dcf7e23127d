"""``physim predict``: rollouts of the test split, by a trained network."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from lightning_physim import PhysicsSimulator
from lightning_physim.cli.evaluation import predict
from lightning_physim.errors import InputError
from lightning_physim.tracking import find_run, last_checkpoint
from tests.helpers.fits import TINY, only_run, physim, rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a run of two steps."""
    folder = tmp_path_factory.mktemp("predict")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    physim("fit", "--config", "tiny.yaml", "--trainer.max_steps=2", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def predicted(folder) -> np.ndarray:
    """What the command leaves, ``[systems, times, particles, 4]``."""
    done = physim("predict", "--ckpt_path", "last", "--config", "tiny.yaml", cwd=folder)
    path = only_run(folder) / "predictions-00000002.npz"
    assert done.stdout.strip().endswith(f"runs/{path.parent.name}/{path.name}")
    with np.load(path) as arrays:
        assert sorted(arrays) == ["predicted", "truth"]
        (split,) = (folder / "data").glob("test-*")
        assert np.array_equal(arrays["truth"], np.load(split / "states.npy"))
        return arrays["predicted"]


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
    physim("test", "--ckpt_path", "last", "--config", "tiny.yaml", cwd=folder)
    reported = rows(only_run(folder))[-1]
    for horizon in TINY["model"]["rollout_horizons"]:
        error = np.square(predicted[:, horizon, :, :2].astype(float) - true[:, horizon, :, :2]).mean()
        assert reported[f"test/rollout_mse@{horizon}"] == pytest.approx(error, rel=1e-4)


def test_a_prediction_leaves_nothing_behind(predicted, folder):
    assert only_run(folder)
    assert {path.name for path in folder.glob("[!.]*")} == {"tiny.yaml", "data", "runs"}


def test_several_processes_are_refused_before_they_predict():
    with pytest.raises(InputError, match="got 2: type --trainer.devices=1"):
        predict(SimpleNamespace(world_size=2), None, None, "runs/a/checkpoints/step-00000001.ckpt")


def test_what_another_network_returns_is_joined_by_name(tmp_path, capsys):
    def batch(n):
        return {"next": torch.full((n, 2), float(n)), "heads": [torch.zeros(n, 3), (torch.tensor(float(n)),)]}

    (tmp_path / "checkpoints").mkdir()
    checkpoint = str(tmp_path / "checkpoints" / "step-00000007.ckpt")
    one = SimpleNamespace(world_size=1)
    predict(one, lambda: [batch(2), batch(1)], lambda: torch.ones(3, 4), checkpoint)
    with np.load(tmp_path / "predictions-00000007.npz") as arrays:
        assert {name: arrays[name].shape for name in arrays} == {
            "predicted/next": (3, 2), "predicted/heads/0": (3, 3), "predicted/heads/1/0": (2,), "truth": (3, 4),
        }  # fmt: skip
        assert arrays["predicted/next"].tolist() == [[2, 2], [2, 2], [1, 1]]
        assert arrays["predicted/heads/1/0"].tolist() == [2, 1]
    assert "predicted/heads/0 [3, 3], " in capsys.readouterr().out
    predict(one, lambda: [torch.ones(3).bfloat16()], lambda: torch.ones(3), checkpoint)
    with np.load(tmp_path / "predictions-00000007.npz") as arrays:
        assert arrays["predicted"].dtype == np.float32
    for returned, words in (
        ([{"next": None}], "predict_step returns tensors.*; got NoneType as predicted/next: return one tensor"),
        (
            [torch.ones(2, 3), torch.ones(2, 4)],
            "alike in all batches but for their first dimension; predicted is not: ",
        ),
        ([torch.ones(2).to_sparse()], "must be dense tensors, .*; predicted is not: "),
        ([torch.ones(2, 3), None], "got Tensor and NoneType as predicted: "),
        ([[torch.ones(2)] * 3, [torch.ones(2)]], "got list of 3 and list of 1 as predicted: "),
        ([{"a": torch.ones(2)}, {"b": torch.ones(2)}], "got dict of a and dict of b as predicted: "),
        ([[], []], "got list of 0 as predicted: "),
        ([], "got no batch as predicted: "),
        (None, "got no batch as predicted: "),  # of a trainer that is limited to none
    ):
        with pytest.raises(InputError, match=words):
            predict(one, lambda returned=returned: returned, lambda: torch.ones(1), checkpoint)
