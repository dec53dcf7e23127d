"""Trajectories of others: read, cut, made up for where a file does not know, and written for others to read."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import yaml

from lightning_physim import ParticleDataModule, ParticleSystem, PhysicsSimulator
from lightning_physim.data import export_splits
from lightning_physim.data.formats import FORMATS, read_trajectories
from lightning_physim.data.imported import ImportedSpec, at_walls, near_misses
from lightning_physim.errors import InputError
from lightning_physim.physics import sample_initial_states, simulate
from tests.helpers.fits import TINY, physim

SYSTEM = ParticleSystem(n_particles=5, box=(1.0, 1.0), radius=0.06, stiffness=8000.0, restitution=0.8, interval=0.05)
SIZES = {"n_train": 6, "n_val": 2, "n_test": 2, "n_intervals": 4}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    made = ParticleDataModule(SYSTEM, **SIZES, ood={}, batch_size=4, cache_dir=str(tmp_path_factory.mktemp("data")))
    made.prepare_data()
    made.setup()
    return made


def imported(source, tmp_path, system=SYSTEM, **options) -> ParticleDataModule:
    made = ParticleDataModule(
        system, **(SIZES | options), batch_size=4, cache_dir=str(tmp_path / "cache"), source=str(source)
    )
    made.prepare_data()
    made.setup()
    return made


def lagrangebench(folder, n=3, times=13, n_particles=5, dim=2, **metadata) -> np.ndarray:
    """What h5py alone makes of free flight, in the layout of LagrangeBench; positions of the training split."""
    rng = np.random.default_rng(0)
    start, velocity = rng.uniform(0.3, 0.7, (n, n_particles, dim)), rng.normal(0, 0.3, (n, n_particles, dim))
    path = start[:, None] + velocity[:, None] * (0.05 * np.arange(times))[None, :, None, None]
    for split in ("train", "valid", "test"):
        with h5py.File(folder / f"{split}.h5", "w") as file:
            for i, positions in enumerate(path):
                group = file.create_group(f"{i:05d}")
                group["position"] = positions.astype(np.float32)
                group["particle_type"] = np.zeros(n_particles, dtype=np.int32)
    (folder / "metadata.json").write_text(json.dumps({"dim": dim, "dt": 0.0005, "write_every": 100} | metadata))
    return path


def test_a_file_in_lagrangebenchs_layout_trains(tmp_path):
    path = lagrangebench(tmp_path)
    data = imported(tmp_path, tmp_path, n_train=5, n_val=3, n_test=3, n_intervals=5)
    assert data.test_splits == ["test"]
    states = data.split("train").states
    assert states.shape == (5, 6, 5, 4)  # of 11 states with a velocity, two pieces of 5 intervals
    torch.testing.assert_close(states[:2, :, :, :2], torch.tensor(np.stack([path[0, 1:7], path[0, 6:12]])).float())
    velocity = (path[:, 1] - path[:, 0]) / 0.05
    torch.testing.assert_close(
        states[4, 3, :, 2:], torch.tensor(velocity[2]).float(), atol=1e-5, rtol=0
    )  # free flight: its central difference is exact but for rounding
    model = PhysicsSimulator(n_layers=1, n_heads=2, d_model=8, rollout_horizons=(1,))
    trainer = pl.Trainer(
        max_steps=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(model, datamodule=data)
    assert trainer.global_step == 3
    trainer.validate(model, datamodule=data, verbose=False)
    assert np.isfinite(float(model.errors["val"]["step"].compute()["loss"]))
    assert data.probe_set(4).contacts.dtype == torch.bool
    assert "colliding" in data.describe()


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_exported_comes_back_without_a_difference(simulated, tmp_path, form):
    paths = export_splits(simulated, tmp_path / "out", form)
    assert [path.name for path in paths] == [f"{name}{FORMATS[form][0]}" for name in ("train", "valid", "test")]
    back = imported(tmp_path / "out", tmp_path)
    for name in ("train", "val", "test"):
        ours, theirs = simulated.split(name), back.split(name)
        assert torch.equal(ours.states, theirs.states)
        if form != "lammpstrj":  # which knows neither
            assert (ours.contact_pairs.pairs == theirs.contact_pairs.pairs).all()
            assert (ours.contact_pairs.starts == theirs.contact_pairs.starts).all()
            assert torch.equal(ours.wall_contacts, theirs.wall_contacts)
            assert (ours.no_pair is None and theirs.no_pair is None) or torch.equal(ours.no_pair, theirs.no_pair)
    for ours, theirs in zip(simulated.target.buffers(), back.target.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)
    pl.seed_everything(0, verbose=False)
    one = next(iter(simulated.train_dataloader()))
    assert torch.equal(one.states, next(iter(back.train_dataloader())).states)


def test_lagrangebench_finds_in_an_export_what_it_looks_for(simulated, tmp_path):
    export_splits(simulated, tmp_path)
    with h5py.File(tmp_path / "train.h5") as file:
        assert list(file) == [f"{i:05d}" for i in range(6)]
        assert file["00000/position"].shape == (5, 5, 2) and file["00000/particle_type"].shape == (5,)
    known = json.loads((tmp_path / "metadata.json").read_text())
    step = np.diff(simulated.split("train").states[..., :2].double().numpy(), axis=1)
    assert known["vel_std"] == pytest.approx(step.reshape(-1, 2).std(0)) and known["dim"] == 2
    assert known["bounds"] == [[0.0, 1.0], [0.0, 1.0]] and known["num_particles_max"] == 5


def test_trajectories_beyond_the_hundred_thousandth_keep_their_order(tmp_path):
    with h5py.File(tmp_path / "train.h5", "w") as file:
        for number in (100_001, 99_999, 100_000):
            file[f"{number:05d}/position"] = np.full((2, 1, 2), number)
    assert [each.positions[0, 0, 0] for each in read_trajectories(tmp_path / "train.h5")] == [99_999, 100_000, 100_001]


def test_contacts_that_a_file_does_not_know_are_those_of_free_flight():
    # Two that would fly through each other, and as a matter of fact turned back.
    met = np.array([[[0.4, 0.5, 3, 0], [0.5, 0.52, -3, 0]], [[0.4, 0.5, -3, 0], [0.5, 0.52, 3, 0]]])
    two = ParticleSystem(n_particles=2, box=(1.0, 1.0), radius=0.02, restitution=0.8, interval=0.05)
    assert near_misses(met, two).tolist() == [[0, 0, 1]]
    narrow = replace(two, radius=0.009)
    assert near_misses(met, narrow).tolist() == []
    assert near_misses(met, replace(two, interval=0.005)).tolist() == []  # not yet
    assert near_misses(met[[0, 0]] * [1, 1, -1, 1], two).tolist() == [[0, 0, 1]]  # backwards from the last state
    walls = np.array([[[0.01, 0.5, 0, 0], [0.5, 0.97, 0, 0]], [[0.3, 0.5, 0, 0], [0.5, 0.985, 0, 0]]])
    assert at_walls(walls, two).tolist() == [[True, True]]
    # Of what the simulator saw they miss and add little.
    run = simulate(SYSTEM, *sample_initial_states(SYSTEM, 100, 0), 4)
    guessed = seen = both = 0
    for i, states in enumerate(np.concatenate((run.positions, run.velocities), axis=-1)):
        rows = {tuple(row) for row in near_misses(states, SYSTEM).tolist()}
        interval, pairs = run.contact_pairs.of(4 * i + np.arange(4))
        known = {(int(t), *map(int, pair)) for t, pair in zip(interval, pairs, strict=True)}
        guessed, seen, both = guessed + len(rows), seen + len(known), both + len(rows & known)
    assert seen > 100 and both > 0.97 * seen and both > 0.97 * guessed


def test_arrays_at_hand_make_a_data_module(simulated, tmp_path):
    states = {name: simulated.split(name).states.numpy() for name in ("train", "val")}
    arrays = {name: (each[..., :2], each[..., 2:]) for name, each in states.items()}
    data = ParticleDataModule.from_arrays(SYSTEM, **arrays, cache_dir=str(tmp_path), batch_size=4)
    data.prepare_data()
    data.setup()
    assert torch.equal(data.split("train").states, simulated.split("train").states)
    assert torch.equal(data.split("test").states, simulated.split("val").states)
    places = {name: (each[0],) for name, each in arrays.items()}
    alone = ParticleDataModule.from_arrays(SYSTEM, **places, cache_dir=str(tmp_path))
    alone.prepare_data()
    alone.setup()
    assert alone.split("train").states.shape == (6, 3, 5, 4)
    again = ParticleDataModule.from_arrays(SYSTEM, **arrays, cache_dir=str(tmp_path))
    assert again.hparams["source"] == data.hparams["source"] != alone.hparams["source"]
    with pytest.raises(InputError, match=r"train must be positions and perhaps velocities \[n, times, N, 2\]"):
        ParticleDataModule.from_arrays(SYSTEM, (np.zeros((3, 4, 5)),), arrays["val"], cache_dir=str(tmp_path))


@pytest.mark.parametrize(
    "change, words",
    [
        ({"n_train": 9}, "n_train must be at most 6, the pieces of 5 intervals in .*train.h5; got 9: --data.n_train=6"),
        ({"n_intervals": 30}, "n_intervals must not exceed the intervals of the trajectories"),
        ({"ood": {"gravity": {"gravity": 2.0}}}, "ood must be none where trajectories are read from source"),
        ({"system": {"interval": 0.1}}, "system.interval must be the time between.*--data.system.interval=0.05"),
        ({"system": {"n_particles": 6}}, "system.n_particles must be that of.*--data.system.n_particles=5"),
        ({"system": {"box": (0.5, 0.5)}}, "particles must be in the box"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(tmp_path, change, words):
    lagrangebench(tmp_path)
    system = ParticleSystem(**(vars(SYSTEM) | change.pop("system", {})))
    with pytest.raises(InputError, match=words):
        imported(tmp_path, tmp_path, system, **({"n_train": 5, "n_val": 3, "n_test": 3, "n_intervals": 5} | change))


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"one file of split 'train', e.g. train.h5; got no such folder"):
        imported(tmp_path / "nowhere", tmp_path)
    lagrangebench(tmp_path)
    (tmp_path / "train.npz").write_bytes(b"")
    with pytest.raises(InputError, match="got train.h5 and train.npz"):
        imported(tmp_path, tmp_path)
    for name in ("train.h5", "train.npz", "train.lammpstrj"):
        for path in tmp_path.glob("train.*"):
            path.unlink()
        (tmp_path / name).write_text("ITEM: TIMESTEP\nnone\n")
        with pytest.raises(InputError, match=f"{name} must hold trajectories as docs/data.md says"):
            imported(tmp_path, tmp_path)
        assert not list((tmp_path / "cache").glob("train-*"))
    lagrangebench(tmp_path, dim=3)
    (tmp_path / "train.lammpstrj").unlink()
    with pytest.raises(InputError, match="positions must be in the plane"):
        imported(tmp_path, tmp_path)
    lagrangebench(tmp_path)
    with h5py.File(tmp_path / "train.h5", "a") as file:
        file["00000/position"][:] = 0.3
        file["00000/position"][6] = 0.9
    with pytest.raises(InputError, match="must not jump by half a side .*train.h5 do: simulate"):
        imported(tmp_path, tmp_path)
    with h5py.File(tmp_path / "train.h5", "a") as file:
        file["00000/position"][6] = np.nan
    with pytest.raises(InputError, match="must be finite"):
        imported(tmp_path, tmp_path)
    (tmp_path / "metadata.json").write_text("[]")
    with pytest.raises(InputError, match="must be a table with dt"):
        imported(tmp_path, tmp_path)


def dump(folder, path, bounds="ff ff pp", types=(1, 1, 1, 1, 1)) -> None:
    """What LAMMPS writes of paths ``[n, times, 5, 2 or 3]``."""
    with (folder / "train.lammpstrj").open("w") as file:
        for step, state in enumerate(path.reshape(-1, *path.shape[2:])):
            file.write(f"ITEM: TIMESTEP\n{step % path.shape[1]}\nITEM: NUMBER OF ATOMS\n5\nITEM: BOX BOUNDS {bounds}\n")
            file.write("0 1\n0 1\n-0.5 0.5\nITEM: ATOMS id type x y z\n")
            rows = np.pad(state, ((0, 0), (0, 3 - path.shape[3])))
            file.writelines(f"{i + 1} {types[i]} {x:.9g} {y:.9g} {z:.9g}\n" for i, (x, y, z) in enumerate(rows))


@pytest.mark.parametrize(
    "world, words",
    [
        ("flat", None),
        ("solid", r"must be in the plane.*got \(13, 5, 3\) in .*: leave a third coordinate out if"),
        ("typed", "must be of one type; got 2 types in .*: keep those of one, or leave types out"),
        ("periodic", "must have walls or no sides; got a periodic one in .*: simulate another box, or let"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", FORMATS)
def test_another_world_is_refused_whatever_file_tells_of_it(tmp_path, form, world, words):
    types = [0, 0, 1, 0, 0] if world == "typed" else [3] * 5
    told = {"periodic_boundary_conditions": [world == "periodic" and form != "lammpstrj", False, True]}
    path = lagrangebench(tmp_path, dim=3 if world == "solid" else 2, **told)
    for file in tmp_path.glob("train.h5" if form != "h5" else "none"):
        file.unlink()
    if form == "h5":
        with h5py.File(tmp_path / "train.h5", "a") as file:
            file["00001/particle_type"][...] = types
    elif form == "npz":
        np.savez(tmp_path / "train.npz", positions=path, particle_type=types)
    else:
        dump(tmp_path, path, "xy xz yz ff pp pp" if world == "periodic" else "ff ff pp", types)
    split = ImportedSpec("train", SYSTEM, 5, 5, 1.0, "averaged", None, 0, source=str(tmp_path))
    if words is None:
        assert len(list(split.chunks())) == 5
    else:
        with pytest.raises(InputError, match=words):
            list(split.chunks())


@pytest.mark.parametrize(
    "name, words",
    [
        ("train.npz", r"got: positions of shape \(13, 5, 2\), which is not \[trajectories, "),
        ("train.lammpstrj", "got: columns id xs ys, not id, x, y: `dump 1 all custom"),
    ],
)  # fmt: skip
def test_a_layout_that_is_close_is_named(tmp_path, name, words):
    if name == "train.npz":
        np.savez(tmp_path / name, positions=np.zeros((13, 5, 2)))
    else:
        (tmp_path / name).write_text("ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n1\nITEM: ATOMS id xs ys\n1 0.5 0.5\n")
    with pytest.raises(InputError, match=words):
        list(read_trajectories(tmp_path / name))


def test_a_dump_of_lammps_is_sorted_by_id_and_begins_anew_where_its_steps_do(tmp_path):
    def frame(step: int, shift: float) -> str:
        rows = [f"{i} 1 {0.1 * i + shift:.3f} 0.5 0.0\n" for i in (2, 1)]
        head = f"ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n2\nITEM: BOX BOUNDS ff ff pp\n0 1\n0 1\n-0.5 0.5\n"
        return f"{head}ITEM: ATOMS id type x y z\n{''.join(rows)}"

    path = tmp_path / "train.lammpstrj"
    path.write_text(frame(0, 0.0) + frame(10, 0.01) + frame(0, 0.2) + frame(10, 0.21))
    first, second = read_trajectories(path)
    assert first.velocities is None and first.positions.shape == (2, 2, 2)
    np.testing.assert_allclose(first.positions[1], [[0.11, 0.5], [0.21, 0.5]])
    np.testing.assert_allclose(second.positions[0], [[0.3, 0.5], [0.4, 0.5]])


def test_the_commands_export_and_train_on_what_was_exported(tmp_path):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    said = physim("simulate", "--config=tiny.yaml", "--export=out", "--format=npz", cwd=tmp_path).stdout
    assert "exported: out/train.npz, out/valid.npz, out/test.npz" in said
    said = physim("simulate", "--config=tiny.yaml", "--data.source=out", "--data.ood=null", cwd=tmp_path)
    assert said.code == 0 and "colliding" in said.stdout
