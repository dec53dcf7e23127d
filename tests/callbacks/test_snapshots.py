"""Snapshots: the right states, the network as it is, honest rounding, and files that hold no code."""

import types
import zipfile

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from lightning_physim import ParticleDataModule, ParticleSystem, PhysicsSimulator, PhysicsTransformer
from lightning_physim.callbacks import Snapshots
from lightning_physim.errors import InputError
from lightning_physim.probes import about_to_touch
from lightning_physim.tracking import JsonlLogger, read_arrays


class Drift(pl.LightningModule):
    """Everything moves by a hundredth to the right at every step; attention is a known pattern."""

    def forward(self, state):
        return state + torch.tensor([0.01, 0.0, 0.0, 0.0])

    def attention(self, states):
        return torch.linspace(0, 1, 3).expand(2, len(states), 4, 3, 3)


class Blind(pl.LightningModule):
    def forward(self, state):
        return state * 1e5


class Data:
    """Five states of three particles of diameter 0.1: in the fourth two pairs are about to touch, in the second one."""

    system = types.SimpleNamespace(box=(1.0, 2.0), interval=0.5)
    contact_distance = torch.full((3, 3), 0.1)
    n_trajectories = 5

    def __init__(self):
        x = torch.tensor([0.2, 0.5, 0.8]).repeat(5, 1)
        x[4, 1] = 0.25  # overlaps the first one already
        speed = torch.tensor([9.0, -9.0, 9.0]).expand_as(x)  # says nothing of who overlaps
        self.states = torch.stack((x, x, speed, -speed), dim=-1)
        self.asked: list[int] = []
        self.contacts = torch.zeros(5, 3, 3, dtype=torch.bool)
        for state, i, j in ((1, 0, 1), (3, 0, 1), (3, 1, 2), (4, 0, 1)):
            self.contacts[state, i, j] = self.contacts[state, j, i] = True

    def split(self, name):
        assert name == "val"
        states = self.states[:, None].expand(5, 6, 3, 4)
        return types.SimpleNamespace(states=states, n_trajectories=self.n_trajectories, n_intervals=5)

    def probe_states(self, n):
        self.asked.append(n)
        return self.states[:n], self.contacts[:n]


def snapshots(module, **options):
    callback = Snapshots(**{"n_states": 2, "n_rollouts": 1} | options)
    callback.setup(types.SimpleNamespace(datamodule=Data()), module, "fit")
    return callback


def test_the_states_are_those_with_most_pairs_about_to_touch():
    arrays = snapshots(Drift()).record(Drift())
    assert torch.equal(torch.from_numpy(arrays["states"]), Data().states[[3, 1]])
    assert [sorted(map(tuple, np.argwhere(np.triu(pairs)))) for pairs in arrays["touching"]] == [
        [(0, 1), (1, 2)],
        [(0, 1)],
    ]
    data = Data()
    assert not about_to_touch(data.states, data.contacts, data.contact_distance)[4].any()  # they overlap already


def test_what_is_recorded_is_the_network():
    arrays = snapshots(Drift(), n_rollouts=2).record(Drift())
    assert arrays["attention"].shape == (2, 2, 4, 3, 3) and arrays["attention"].dtype == np.uint8
    assert arrays["attention"][1, 0, 2, 1].tolist() == [0, 128, 255]
    moved = arrays["rollout"][:, :, :, 0].astype(float) - arrays["rollout"][:, :1, :, 0]
    assert moved == pytest.approx(np.broadcast_to(0.01 * np.arange(6)[None, :, None], moved.shape), abs=1e-3)
    assert arrays["truth"].shape == (2, 6, 3, 2) and np.ptp(arrays["truth"], axis=1).max() == 0
    assert arrays["radii"].tolist() == pytest.approx([0.05] * 3) and arrays["box"].tolist() == [1, 2]


@pytest.mark.parametrize("left_out, there", [("n_states", "rollout"), ("n_rollouts", "attention")])
def test_one_of_both_can_be_left_out(left_out, there):
    module = PhysicsTransformer(n_layers=1, n_heads=2, d_model=8, d_mlp=8, d_embedding=8)
    module.device = torch.device("cpu")
    recorded = snapshots(module, **{left_out: 0}).record(module)
    assert {"attention", "rollout"} & recorded.keys() == {there}


def test_a_network_without_attention_that_diverges_leaves_its_rollouts():
    arrays = snapshots(Blind()).record(Blind())
    assert "attention" not in arrays
    assert np.isinf(arrays["rollout"][0, -1]).all() and np.isfinite(arrays["rollout"][0, 0]).all()


@pytest.mark.parametrize("n_trajectories, asked", [(5, 25), (51, 255), (52, 256), (100, 256)])
def test_states_are_chosen_among_all_that_are_held_out_but_256_at_most(monkeypatch, n_trajectories, asked):
    monkeypatch.setattr(Data, "n_trajectories", n_trajectories)
    data = Data()
    Snapshots().setup(types.SimpleNamespace(datamodule=data), Drift(), "fit")
    assert data.asked == [asked]


def test_only_a_fit_needs_data_and_one_of_anything_is_enough():
    Snapshots(n_states=1, n_rollouts=0).setup(types.SimpleNamespace(), Drift(), "test")
    Snapshots(n_states=0, n_rollouts=1).setup(types.SimpleNamespace(), Drift(), "validate")
    with pytest.raises(InputError, match=r"Snapshots needs a data module with .*probe_states\(n\)"):
        Snapshots().setup(types.SimpleNamespace(datamodule=None), Drift(), "fit")


@pytest.mark.parametrize("options", [{"n_states": -1}, {"n_states": 0, "n_rollouts": 0}, {"radius": 0.0}])
def test_bad_numbers(options):
    with pytest.raises(InputError):
        Snapshots(**options)


def test_files_come_back_whole_hold_no_pickles_and_those_after_a_resume_go(tmp_path):
    logger = JsonlLogger(tmp_path / "metrics.jsonl")
    arrays = {"a": np.arange(6, dtype=np.uint8).reshape(2, 3), "b": np.float32(0.5), "c": np.array([True, False])}
    for step in (0, 5, 1_000_000_000):
        logger.log_arrays("probe/snapshots", arrays, step)
    folder = tmp_path / "figures" / "probe_snapshots"
    back = read_arrays(folder)
    assert list(back) == [0, 5, 1_000_000_000]
    for name, array in arrays.items():
        assert np.array_equal(back[5][name], array) and back[5][name].dtype == array.dtype
    for path in folder.iterdir():
        with zipfile.ZipFile(path) as archive:
            assert all(archive.read(name)[:6] == b"\x93NUMPY" for name in archive.namelist())
    JsonlLogger(tmp_path / "metrics.jsonl", resume_step=5).log_arrays("probe/snapshots", arrays, 7)
    assert list(read_arrays(folder)) == [0, 5, 7]
    assert read_arrays(tmp_path / "nowhere") == {}


def test_views_inside_heads_that_cannot_be_made_cost_a_line():
    trainer = types.SimpleNamespace(datamodule=ParticleDataModule(ParticleSystem(restitution=1.0)))  # never set up
    with pytest.warns(UserWarning, match="cannot be made, the run goes without: "):
        assert Snapshots()._inside(trainer, PhysicsSimulator()) == {}
