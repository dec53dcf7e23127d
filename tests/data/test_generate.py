"""Splits against direct calls of the simulator, closed forms and numpy."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lightning_physim.data import SplitSpec, generate, make_split, no_pair_oracle
from lightning_physim.errors import InputError
from lightning_physim.physics import ParticleSystem, sample_initial_states, simulate
from tests.helpers.systems import SIX


def spec(name: str = "val", **changes: Any) -> SplitSpec:
    standard = SplitSpec(name, SIX, 7, 5, velocity_std=0.7, integrator="averaged", dt=None, seed=3)
    return replace(standard, **changes)


def load(directory: Path, name: str) -> np.ndarray:
    return np.load(directory / f"{name}.npy", allow_pickle=False)


def contacts(directory: Path) -> np.ndarray:
    """Bool ``[trajectories, intervals, particles, particles]`` out of the lists on disk, by a loop."""
    walls, starts, pairs = (load(directory, name) for name in ("wall_contacts", "contact_starts", "contact_pairs"))
    dense = np.zeros((*walls.shape, walls.shape[-1]), dtype=bool)
    intervals = dense.reshape(-1, *dense.shape[2:])
    for number in range(len(intervals)):
        for i, j in pairs[starts[number] : starts[number + 1]]:
            intervals[number, i, j] = intervals[number, j, i] = True
    return dense


def test_a_split_is_what_the_simulator_says(tmp_path: Path) -> None:
    directory = make_split(spec(), tmp_path)
    x, v = sample_initial_states(SIX, 7, 3, velocity_std=0.7, split="val")
    run = simulate(SIX, x, v, 5)
    states = load(directory, "states")
    assert states.dtype == np.float32 and states.shape == (7, 6, 6, 4)
    np.testing.assert_array_equal(states[..., :2], run.positions.astype(np.float32))
    np.testing.assert_array_equal(states[..., 2:], run.velocities.astype(np.float32))
    np.testing.assert_array_equal(contacts(directory), run.contacts)
    assert run.contacts.any()
    np.testing.assert_array_equal(load(directory, "wall_contacts"), run.wall_contacts)


def test_a_cache_of_an_older_layout_is_told_and_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    older = spec().directory(tmp_path, layout=1)
    older.mkdir()
    (older / "contacts.npy").write_bytes(b"dense")
    directory = make_split(spec(), tmp_path)
    assert directory != older and (directory / "contact_pairs.npy").is_file()
    assert caplog.messages == [f"{older} is of an older layout: made anew as {directory}; the old one can be deleted"]
    make_split(spec(), tmp_path)
    assert len(caplog.messages) == 1 and (older / "contacts.npy").read_bytes() == b"dense"


def test_the_size_of_the_chunks_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make_split(spec(), tmp_path / "whole")
    monkeypatch.setattr(generate, "CHUNK_STATES", 1)
    single = make_split(spec(), tmp_path / "single")
    assert {path.name for path in single.iterdir()} == {
        "metadata.json", "states.npy", "contact_pairs.npy", "contact_starts.npy", "wall_contacts.npy", "no_pair.npy"
    }  # fmt: skip
    for path in whole.glob("*.npy"):
        assert path.read_bytes() == (single / path.name).read_bytes()


def test_statistics_of_the_training_split_are_numpys(tmp_path: Path) -> None:
    directory = make_split(spec("train", n_trajectories=300), tmp_path)
    assert not (directory / "no_pair.npy").exists()
    statistics = json.loads((directory / "metadata.json").read_text())["statistics"]
    states = load(directory, "states").astype(np.float64)
    now, then, h = states[:, :-1], states[:, 1:], 0.05
    flown = now + np.stack((h * now[..., 2], h * now[..., 3] - h**2 / 2, 0 * now[..., 2], 0 * now[..., 3] - h), axis=-1)
    np.testing.assert_allclose(statistics["state_mean"], states.mean((0, 1, 2)), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(statistics["state_std"], states.std((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(statistics["residual_rms"], np.sqrt(np.square(then - flown).mean((0, 1, 2))), rtol=1e-5)
    assert json.loads((make_split(spec(), tmp_path) / "metadata.json").read_text())["statistics"] is None


def test_the_summary_is_numpys(tmp_path: Path) -> None:
    directory = make_split(spec(), tmp_path)
    summary = json.loads((directory / "metadata.json").read_text())["summary"]
    states = load(directory, "states").astype(np.float64)
    energy = np.square(states[..., 2:]).sum(-1) / 2 + states[..., 1]
    assert summary["colliding_fraction"] == pytest.approx(contacts(directory).any(-1).mean())
    assert summary["wall_fraction"] == pytest.approx(load(directory, "wall_contacts").mean())
    assert summary["energy_per_particle_start"] == pytest.approx(energy[:, 0].mean(), rel=1e-6)
    assert summary["energy_per_particle_end"] == pytest.approx(energy[:, -1].mean(), rel=1e-6)


def test_the_oracle_is_exact_where_no_other_particle_was_touched(tmp_path: Path) -> None:
    directory = make_split(spec(n_trajectories=60, dt=5e-4), tmp_path)
    oracle, truth = load(directory, "no_pair"), load(directory, "states")[:, 1:]
    touched, walls = contacts(directory).any(-1), load(directory, "wall_contacts")
    assert (walls & ~touched).sum() > 50 and touched.sum() > 50
    # Not to round-off: the oracle starts anew at each interval, in the middle of a wall contact too.
    np.testing.assert_allclose(oracle[~touched], truth[~touched], atol=5e-4)
    assert np.abs(oracle[touched] - truth[touched]).max() > 0.1


def test_the_oracle_keeps_each_particles_mass_radius_and_walls() -> None:
    """Far apart, unequal particles: the oracle is the simulation itself, though restitution is the lightest pair's."""
    system = ParticleSystem(
        n_particles=3, box=(10.0, 10.0), radius=[0.5, 0.25, 0.5], mass=[1.0, 0.3, 5.0], restitution=0.7, interval=0.1
    )
    x = np.array([[[0.55, 5.0], [5.0, 0.3], [9.4, 9.4]]])
    v = np.array([[[-2.0, 0.0], [0.0, -2.0], [2.0, 2.0]]])
    run = simulate(system, x, v, 1, dt=1e-4)
    assert run.wall_contacts.all() and not run.contacts.any()
    truth = np.concatenate((run.positions[:, 1], run.velocities[:, 1]), axis=-1)
    np.testing.assert_allclose(no_pair_oracle(system, np.concatenate((x, v), axis=-1), dt=1e-4), truth, atol=1e-6)


def test_the_oracle_flies_freely_in_free_space() -> None:
    system = replace(SIX, walls=False)
    states = np.random.default_rng(0).uniform(0.1, 0.9, (4, 5, 6, 4))
    after = no_pair_oracle(system, states)
    h, g = system.interval, system.gravity
    np.testing.assert_allclose(after[..., 0], states[..., 0] + h * states[..., 2], atol=1e-12)
    np.testing.assert_allclose(after[..., 1], states[..., 1] + h * states[..., 3] - g * h**2 / 2, atol=1e-12)
    np.testing.assert_allclose(after[..., 3], states[..., 3] - g * h, atol=1e-12)


CHANGES: list[dict[str, Any]] = [
    {"name": "test"}, {"system": replace(SIX, gravity=2.0)}, {"n_trajectories": 8}, {"n_intervals": 6},
    {"velocity_std": 0.8}, {"integrator": "verlet"}, {"dt": 1e-3}, {"seed": 4},
]  # fmt: skip


def test_whatever_changes_the_data_changes_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {spec(**change).directory(tmp_path) for change in [{}, *CHANGES]}
    monkeypatch.setattr(generate, "ENGINE_VERSION", -1)
    names.add(spec().directory(tmp_path))
    assert len(names) == len(CHANGES) + 2


def test_a_system_that_cannot_be_simulated_is_named(tmp_path: Path) -> None:
    crowded = replace(SIX, n_particles=500)
    with pytest.raises(InputError, match="must fit in the box.*split ood_crowd"):
        make_split(spec("ood_crowd", system=crowded), tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_data_that_do_not_fit_on_the_disk_are_refused_and_large_ones_told(tmp_path, caplog, monkeypatch) -> None:
    large = spec(n_trajectories=10**9)
    with pytest.raises(InputError, match=rf"must fit on the disk; they take 1.+ GB, and .+ GB are free for {tmp_path}"):
        generate.check_room([large], tmp_path)
    room = SimpleNamespace(free=2 * large.n_bytes)
    monkeypatch.setattr(generate.shutil, "disk_usage", lambda _: room)
    generate.check_room([large], tmp_path / "not" / "there" / "yet")
    size, free = f"{large.n_bytes / 1e9:.3g}", f"{2 * large.n_bytes / 1e9:.3g}"
    assert f"the data will take {size} GB in {tmp_path}/not/there/yet, of {free} GB that are free" in caplog.text


@pytest.mark.parametrize("name", ["train", "val"])
def test_the_size_that_is_told_is_that_on_disk(tmp_path: Path, name: str) -> None:
    split = spec(name, n_trajectories=64)
    on_disk = sum(path.stat().st_size for path in make_split(split, tmp_path).iterdir())
    assert split.n_bytes < on_disk < 1.3 * split.n_bytes + 4000


@pytest.mark.parametrize(("states", "sizes"), [(1, [1] * 7), (71, [1] * 7), (72, [2, 2, 2, 1]), (10**6, [7])])
def test_a_chunk_holds_as_many_states_as_it_may(monkeypatch: pytest.MonkeyPatch, states: int, sizes: list[int]) -> None:
    monkeypatch.setattr(generate, "CHUNK_STATES", states)  # a trajectory has six times of six particles
    assert [len(chunk.states) for chunk in generate._simulate_in_chunks(spec())] == sizes


@pytest.mark.parametrize("name", ["train", "val"])
def test_layout_2_has_these_arrays(tmp_path: Path, name: str) -> None:
    """Whoever changes them raises the number: splits that are there would be read in another meaning."""
    directory = make_split(spec(name), tmp_path)
    metadata = json.loads((directory / "metadata.json").read_text())
    n_contacts = len(load(directory, "contact_pairs"))
    expected = {
        "states": ("float32", [7, 6, 6, 4]), "contact_pairs": ("int32", [n_contacts, 2]),
        "contact_starts": ("int64", [36]), "wall_contacts": ("bool", [7, 5, 6]),
    }  # fmt: skip
    if name == "val":
        expected["no_pair"] = ("float32", [7, 5, 6, 4])
    assert {key: (array["dtype"], array["shape"]) for key, array in metadata["arrays"].items()} == expected
    assert metadata["spec"]["layout"] == 2 == generate.LAYOUT_VERSION
    assert metadata["masses"] == [1.0] * 6 and metadata["radii"] == [0.08] * 6


def test_the_size_of_a_split_is_that_of_its_states() -> None:
    assert spec("train").n_bytes == 7 * 6 * 6 * 16
    assert spec("val").n_bytes == 7 * (6 + 5) * 6 * 16  # and those of the oracle


def test_a_data_set_that_just_fits_is_made_and_more_than_two_gigabytes_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    five = spec("train", system=replace(SIX, n_particles=5), n_trajectories=5_000_000, n_intervals=4)
    more = replace(five, n_trajectories=5_000_001)
    assert (five.n_bytes, more.n_bytes) == (2_000_000_000, 2_000_000_400)
    monkeypatch.setattr(generate.shutil, "disk_usage", lambda _: SimpleNamespace(free=2_000_000_400))
    generate.check_room([five], tmp_path)
    assert not caplog.messages
    generate.check_room([more], tmp_path)
    assert caplog.messages == [f"the data will take 2 GB in {tmp_path}, of 2 GB that are free"]
    with pytest.raises(InputError, match="must fit on the disk; they take 2 GB, and 2 GB are free"):
        generate.check_room([more, spec()], tmp_path)
    more.directory(tmp_path).mkdir()  # what is there takes no room
    generate.check_room([more, spec()], tmp_path)
