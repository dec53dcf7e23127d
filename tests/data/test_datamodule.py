"""Batches and their targets, the data module's public names, and its options on the command line."""

import itertools
import math
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser

from lightning_physim.data import ParticleDataModule, default_ood
from lightning_physim.data.batch import TrajectoryDataset
from lightning_physim.data.describe import _floors
from lightning_physim.data.loader import BatchLoader
from lightning_physim.errors import InputError
from lightning_physim.physics import ParticleSystem
from lightning_physim.target import ResidualTarget
from tests.helpers.defaults import defaults
from tests.helpers.systems import SIX

SIZES: dict[str, Any] = {"n_train": 40, "n_val": 7, "n_test": 5, "n_intervals": 10, "velocity_std": 0.7}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


def module(cache: str, **options: Any) -> ParticleDataModule:
    data = ParticleDataModule(SIX, **{**SIZES, "cache_dir": cache, "batch_size": 8, "eval_batch_size": 3, **options})
    data.prepare_data()
    data.setup()
    return data


@pytest.fixture(scope="module")
def data(cache: str) -> ParticleDataModule:
    return module(cache)


def on_disk(data: ParticleDataModule, split: str, name: str) -> np.ndarray:
    return np.load(data.split(split).directory / f"{name}.npy")


def colliding(data: ParticleDataModule, split: str) -> np.ndarray:
    """Which particles touch another one, ``[trajectories, intervals, particles]``, by a loop over the files."""
    touched, starts = on_disk(data, split, "wall_contacts") & False, on_disk(data, split, "contact_starts")
    intervals = touched.reshape(-1, touched.shape[-1])
    for number, (first, last) in enumerate(itertools.pairwise(starts)):
        intervals[number][on_disk(data, split, "contact_pairs")[first:last].ravel()] = True
    return touched


def standardised(data: ParticleDataModule, now: np.ndarray, then: np.ndarray, gravity: float) -> np.ndarray:
    """The target by its definition, in float64."""
    h = SIX.interval
    flown = now.astype(np.float64)
    flown[..., 0] += h * now[..., 2]
    flown[..., 1] += h * now[..., 3] - gravity * h**2 / 2
    flown[..., 3] -= gravity * h
    result: np.ndarray = (then - flown) / data.target.residual_rms.numpy()
    return result


@pytest.mark.parametrize("window", [1, 3, 10])
def test_a_training_batch_is_the_rows_that_it_was_asked_for(cache: str, window: int) -> None:
    data = module(cache, train_window=window)
    split, states = data.split("train"), on_disk(data, "train", "states")
    starts = 11 - window
    assert len(split) == 40 * starts
    index = [0, len(split) - 1, starts, 3 * starts // 2]
    batch = split[index]
    for row, i in enumerate(index):
        trajectory, start = i // starts, i % starts
        here = slice(start, start + window)
        np.testing.assert_array_equal(batch.states[row], states[trajectory, start : start + window + 1])
        expected = standardised(data, states[trajectory, here], states[trajectory, start + 1 : start + window + 1], 1.0)
        np.testing.assert_allclose(batch.targets[row], expected, atol=2e-4)
    assert batch.evaluation is None
    assert batch.targets.shape == (4, window, 6, 4) and batch.targets.dtype == torch.float32


def test_the_target_of_free_flight_is_zero_and_its_loss_one_on_the_training_split(data: ParticleDataModule) -> None:
    split = data.split("train")
    batch = split[range(len(split))]
    free = (~(colliding(data, "train") | split.wall_contacts.numpy())).reshape(-1, 1, 6)
    assert free.sum() > 500
    assert batch.targets[free].abs().max() < 1e-4
    np.testing.assert_allclose(batch.targets.square().mean((0, 1, 2)), np.ones(4), rtol=1e-4)


def test_an_evaluation_batch_is_whole_trajectories_with_the_oracle(data: ParticleDataModule) -> None:
    batch = data.split("ood_gravity")[[4, 1]]
    assert batch.states.shape == (2, 11, 6, 4)
    assert batch.gravity == 2.0
    states, oracle = on_disk(data, "ood_gravity", "states"), on_disk(data, "ood_gravity", "no_pair")
    assert batch.evaluation is not None
    np.testing.assert_array_equal(batch.evaluation.colliding, colliding(data, "ood_gravity")[[4, 1]])
    expected = standardised(data, states[[4, 1], :-1], oracle[[4, 1]], 2.0)
    np.testing.assert_allclose(batch.evaluation.no_pair, expected, atol=2e-4)
    free = ~(batch.evaluation.colliding | data.split("ood_gravity").wall_contacts[[4, 1]])
    assert batch.targets[free].abs().max() < 1e-4


def test_who_collides_in_a_trajectory_is_what_its_contacts_say(data: ParticleDataModule) -> None:
    split = data.split("val")
    for trajectory in (0, 1, split.n_trajectories - 1):
        np.testing.assert_array_equal(split.colliding(trajectory).numpy(), colliding(data, "val")[trajectory])


def test_a_batch_may_be_empty(data: ParticleDataModule) -> None:
    for name, window in (("train", 1), ("val", 10)):
        batch = data.split(name)[[]]
        assert batch.states.shape == (0, window + 1, 6, 4)
        assert batch.targets.shape == (0, window, 6, 4)
        assert name == "train" or batch.evaluation.colliding.shape == (0, window, 6)


def test_input_noise_moves_the_first_state_and_the_target_leads_back(cache: str) -> None:
    clean = list(module(cache, train_window=3).train_dataloader())
    data = module(cache, train_window=3, input_noise=0.1)
    noisy = list(data.train_dataloader())
    offsets = torch.cat([b.states[:, 0] - a.states[:, 0] for a, b in zip(clean, noisy, strict=True)])
    np.testing.assert_allclose(offsets.std((0, 1)), 0.1 * data.target.state_std, rtol=0.1)
    for a, b in zip(clean, noisy, strict=True):
        torch.testing.assert_close(a.states[:, 1:], b.states[:, 1:], rtol=0, atol=0)
        torch.testing.assert_close(a.targets[:, 1:], b.targets[:, 1:], rtol=0, atol=0)
        torch.testing.assert_close(data.target.advance(b.states[:, 0], b.targets[:, 0]), a.states[:, 1])
    before = torch.random.get_rng_state()
    for a, b in zip(noisy, data.train_dataloader(), strict=True):
        assert torch.equal(a.states, b.states)
    assert torch.equal(before, torch.random.get_rng_state())


def test_permuted_targets_have_the_same_values_and_nothing_to_do_with_their_states(cache: str) -> None:
    honest = module(cache, batch_size=100)
    control = module(cache, batch_size=100, permute_targets=True)
    pairs = list(zip(honest.train_dataloader(), control.train_dataloader(), strict=True))
    for true, dealt in pairs:
        assert torch.equal(true.states, dealt.states)
        # Whole particles change places: as sorted rows, the targets of a batch are the same.
        rows = [batch.targets.reshape(-1, 4).numpy() for batch in (true, dealt)]
        for both in zip(*(row[np.lexsort(row.T)] for row in rows), strict=True):
            np.testing.assert_array_equal(*both)
        hit = dealt.targets.abs().amax(-1) > 0.1  # targets of free particles are all alike
        assert (dealt.targets == true.targets).all(-1)[hit].double().mean() < 0.03
        own = {tuple(row) for row in true.targets[:, 0, 0].tolist()}
        given = dealt.targets[:, 0, 0][hit[:, 0, 0]].tolist()
        assert sum(tuple(row) in own for row in given) < 0.5 * len(given)  # a sixth by chance
    # Gravity apart, what a collision with a wall or particle does to a velocity points against it.
    opposed = []
    for batches in zip(*pairs, strict=True):
        velocity = torch.cat([batch.states[:, 0, :, 2] for batch in batches]).flatten()
        push = torch.cat([batch.targets[:, 0, :, 2] for batch in batches]).flatten()
        opposed.append(np.corrcoef(velocity, push)[0, 1])
    assert opposed[0] < -0.2 and abs(opposed[1]) < 0.08  # 2400 particles: three standard errors are 0.06
    for true, dealt in zip(honest.val_dataloader(), control.val_dataloader(), strict=True):
        assert torch.equal(true.targets, dealt.targets)
    again = list(control.train_dataloader())
    assert all(torch.equal(a.targets, b.targets) for (_, a), b in zip(pairs, again, strict=True))
    assert torch.equal(control.estimation_set(20)[1], honest.estimation_set(20)[1])


def test_the_probe_set_brings_the_targets_of_the_probe_states(data: ParticleDataModule) -> None:
    states, contacts = data.probe_states(35)
    probe = data.probe_set(35)
    assert torch.equal(probe.states, states) and torch.equal(probe.contacts, contacts)
    every = on_disk(data, "val", "states")
    for state, target in zip(probe.states, probe.targets, strict=True):
        trajectory, time = np.argwhere((every[:, :-1] == state.numpy()).all((2, 3)))[0]
        expected = standardised(data, every[trajectory, time], every[trajectory, time + 1], 1.0)
        np.testing.assert_allclose(target, expected, atol=1e-4)


def test_probe_states_are_distinct_and_even_in_trajectory_and_time(data: ParticleDataModule) -> None:
    states, contacts = data.probe_states(35)
    assert states.shape == (35, 6, 4) and contacts.shape == (35, 6, 6)
    every, touched = on_disk(data, "val", "states")[:, :-1], colliding(data, "val")
    found = [np.argwhere((every == state.numpy()).all((2, 3)))[0] for state in states]
    assert len({tuple(place) for place in found}) == 35
    for place, contact in zip(found, contacts, strict=True):
        np.testing.assert_array_equal(touched[tuple(place)], contact.any(-1))
        assert (contact == contact.T).all() and not contact.diagonal().any()
    per_trajectory = np.bincount([place[0] for place in found], minlength=7)
    per_time = np.bincount([place[1] for place in found], minlength=10)
    assert per_trajectory.min() >= 4 and per_time.min() >= 3
    assert torch.equal(data.probe_states(70)[0].flatten(), torch.from_numpy(every.reshape(-1)))
    with pytest.raises(InputError, match="1 to 70"):
        data.probe_states(71)


def test_the_estimation_set_is_spread_evenly_and_at_most_the_training_split(data: ParticleDataModule) -> None:
    train = data.split("train")
    total = train.n_trajectories * train.n_intervals
    every = torch.from_numpy(np.asarray(train.states[:, :-1])).flatten(0, 1)
    for asked, given in ((3, 3), (total, total), (total + 5, total)):
        states, residuals = data.estimation_set(asked)
        assert states.shape == residuals.shape == (given, *every.shape[1:])
        assert sum(torch.equal(state, row) for state in states for row in every) == given
    with pytest.raises(InputError, match="an estimation set has 1 to"):
        data.estimation_set(0)


def test_contact_distance_is_the_sum_of_radii(cache: str) -> None:
    unequal = replace(SIX, radius=[0.05, 0.06, 0.07, 0.08, 0.09, 0.1])
    data = ParticleDataModule(unequal, **{**SIZES, "n_train": 2}, ood={}, cache_dir=cache)
    data.prepare_data()
    data.setup()
    assert data.contact_distance[1, 4] == pytest.approx(0.15)
    assert torch.equal(data.contact_distance, data.contact_distance.T)


def test_the_target_is_a_copy(data: ParticleDataModule) -> None:
    data.target.residual_rms.zero_()
    assert (data.target.residual_rms > 0).all()
    assert isinstance(data.target, ResidualTarget)


def test_default_ood_changes_what_the_system_allows(data: ParticleDataModule) -> None:
    assert data.test_splits == ["test", "ood_particles", "ood_restitution", "ood_gravity"]
    assert data.split("ood_particles")[[0]].evaluation.masses.shape == (9,)
    assert data.specs["ood_restitution"].system.restitution == 0.5
    assert data.specs["ood_restitution"].system.stiffness == SIX.stiffness
    assert set(default_ood(replace(SIX, gravity=0.0, mass=[1.0] * 6))) == {"restitution"}
    assert default_ood(replace(SIX, restitution=0.5))["restitution"] == {"restitution": 0.9}
    damped = ParticleDataModule(replace(SIX, restitution=None, damping=1.0)).specs["ood_restitution"].system
    assert damped.damping is None and damped.restitution == 0.9
    assert ParticleDataModule(SIX, ood={}).test_splits == ["test"]


def test_statistics_come_from_the_training_split_alone(data: ParticleDataModule) -> None:
    for name in data.specs:
        assert torch.equal(data.split(name).target.residual_rms, data.target.residual_rms)
    np.testing.assert_allclose(data.target.state_mean, on_disk(data, "train", "states").mean((0, 1, 2)), rtol=1e-3)


def test_describe_tells_the_floors(data: ParticleDataModule, cache: str) -> None:
    text = data.describe()
    assert str(data) == text
    states, contacts = on_disk(data, "val", "states"), colliding(data, "val")
    truth = standardised(data, states[:, :-1], states[:, 1:], 1.0)
    oracle = standardised(data, states[:, :-1], on_disk(data, "val", "no_pair"), 1.0)
    expected = []
    for guess in (np.zeros_like(truth), oracle):
        error = np.square(guess - truth).mean(-1)
        expected += [error.mean(), error[contacts].mean(), error[~contacts].mean()]
    row = next(line for line in text.split("Floors")[1].splitlines() if line.startswith("val"))
    np.testing.assert_allclose([float(word) for word in row.split()[1:]], expected, atol=1e-4)
    for name in data.specs:
        assert f"{name}: {cache}/{name}-" in text


def test_a_data_set_travels_as_its_path(data: ParticleDataModule) -> None:
    split = data.split("train")
    packed = pickle.dumps(split)
    assert len(packed) < 5000
    again: TrajectoryDataset = pickle.loads(packed)
    assert torch.equal(again[[3, 5]].targets, split[[3, 5]].targets)


def test_a_second_module_uses_what_is_there(data: ParticleDataModule, cache: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path(cache).rglob("*") if path.is_file()}
    module(cache)
    assert before == {path: path.stat().st_mtime_ns for path in Path(cache).rglob("*") if path.is_file()}


BAD: list[tuple[dict[str, Any], str]] = [
    ({"n_train": 0}, "n_train must be at least 1; got 0"),
    ({"train_window": 11}, "train_window must not exceed n_intervals=10; got 11"),
    ({"input_noise": -0.1}, "input_noise must be finite"),
    ({"permute_targets": True, "train_window": 3}, "permute_targets needs train_window=1, .*got 3"),
    ({"velocity_std": float("nan")}, "velocity_std must be finite"),
    ({"seed": -1}, "seed must not be negative"),
    ({"ood": {"a/b": {}}}, "name is made of"),
    ({"ood": {"hot": {"speed": 3}}}, "may change n_particles, box.*; got speed"),
    ({"ood": {"slow": {"interval": 1.0}}}, "must keep the interval"),
    ({"ood": {"odd": {"restitution": 2.0}}}, "restitution must be at most 1"),
]


@pytest.mark.parametrize(("options", "message"), BAD, ids=lambda case: str(case))
def test_bad_values_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ParticleDataModule(SIX, **{**SIZES, **options})


def test_what_is_not_there_is_refused(data: ParticleDataModule, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one of train, val, test, ood_particles.*got 'ood'"):
        data.split("ood")
    fresh = ParticleDataModule(SIX, **SIZES, cache_dir=str(tmp_path))
    with pytest.raises(InputError, match=r"prepare_data\(\)"):
        fresh.setup("fit")
    with pytest.raises(InputError, match=r"prepare_data\(\) and setup\(\)"):
        fresh.train_dataloader()
    with pytest.raises(InputError, match="--data.batch_size"):
        module(str(data.cache_dir), batch_size=401).train_dataloader()


def test_options_are_read_from_yaml(tmp_path: Path) -> None:
    parser = ArgumentParser()
    parser.add_class_arguments(ParticleDataModule, "data")
    config = tmp_path / "data.yaml"
    config.write_text(
        "system: {n_particles: 4, radius: 0.3, restitution: 0.9}\nn_train: 3\n"
        "ood: {heavy: {mass: 2.0}}\ncache_dir: elsewhere\n"
    )
    options = parser.parse_args([f"--data={config}", "--data.system.gravity=0", "--data.dt=1e-3"])
    data = parser.instantiate(options).data
    assert data.system == ParticleSystem(n_particles=4, radius=0.3, restitution=0.9, gravity=0.0)
    assert data.specs["ood_heavy"].system.mass == 2.0
    assert data.specs["train"].dt == 1e-3 and data.cache_dir == Path("elsewhere")


def test_hyperparameters_are_plain_values(data: ParticleDataModule) -> None:
    def plain(value: Any) -> bool:
        if isinstance(value, dict):
            return all(isinstance(key, str) and plain(item) for key, item in value.items())
        if isinstance(value, list | tuple):
            return all(map(plain, value))
        return value is None or type(value) in (int, float, bool, str)

    assert plain(dict(data.hparams))
    again = ParticleDataModule(**data.hparams)
    assert again.specs == data.specs and again.hparams == data.hparams


def test_defaults() -> None:
    plain = {"input_noise": 0.0, "permute_targets": False, "num_workers": 0, "pin_memory": False}
    assert defaults(BatchLoader).items() >= plain.items()
    assert defaults(ParticleDataModule) == {
        "n_train": 4000, "n_val": 200, "n_test": 200, "n_intervals": 20, "velocity_std": 1.0, "ood": None,
        "integrator": "averaged", "dt": None, "batch_size": 64, "eval_batch_size": 50, "train_window": 1,
        "input_noise": 0.0, "permute_targets": False, "seed": 0, "cache_dir": "data", "num_workers": 0,
        "source": None,
    }  # fmt: skip


def test_describe_tells_sizes_fractions_and_energies(data: ParticleDataModule) -> None:
    split = data.split("val")
    summary = split.metadata["summary"]
    split.metadata["arrays"]["states"]["bytes"] += 12_340_000
    try:
        text = data.describe()
        n_bytes = sum(path.stat().st_size for path in split.directory.glob("*.npy")) + 12_340_000
    finally:
        split.metadata["arrays"]["states"]["bytes"] -= 12_340_000
    head, *rows, touching, energy = text.split("\n\n")[0].splitlines()
    assert touching.startswith("colliding, walls: ") and energy.startswith("energy/particle: ")
    assert head.split() == "split trajectories intervals particles MB colliding walls energy/particle".split()
    assert [row.split()[0] for row in rows] == list(data.specs)
    words = next(row for row in rows if row.startswith("val")).split()
    assert words[:5] == ["val", "7", "10", "6", f"{n_bytes / 1e6:.1f}"] and words[4] == "12.4"
    assert words[5:7] == [f"{summary[f'{kind}_fraction']:.3f}" for kind in ("colliding", "wall")]
    assert words[7::2] == [f"{summary[f'energy_per_particle_{when}']:.2f}" for when in ("start", "end")]
    lines = text.split("\n\n")[2].splitlines()
    assert lines[0].split() == ["training", "split", "x", "y", "v_x", "v_y"]
    for line, name in zip(lines[1:], ("state_mean", "state_std", "residual_rms"), strict=True):
        assert line.split() == [name, *(f"{value:.4f}" for value in getattr(data.target, name).tolist())]
    assert len({len(row) for row in rows}) == 1  # columns stand under each other


def test_floors_are_the_same_however_many_trajectories_are_looked_at_at_a_time(data: ParticleDataModule) -> None:
    np.testing.assert_allclose(_floors(data.split("val"), chunk=3), _floors(data.split("val")), rtol=1e-5)


def test_contacts_are_those_of_the_intervals_that_are_asked_for(data: ParticleDataModule) -> None:
    split, touched = data.split("val"), colliding(data, "val")
    assert (
        split.contacts(torch.tensor([2, 6]), torch.tensor([3, 9])).any(-1).tolist() == touched[[2, 6], [3, 9]].tolist()
    )


def test_the_default_ood_splits_are_those_of_the_table() -> None:
    def area(fraction: float) -> float:
        return math.sqrt(fraction / (5 * math.pi))

    five = replace(SIX, n_particles=5, radius=area(0.29))
    assert default_ood(five) == {
        "particles": {"n_particles": 8}, "restitution": {"restitution": 0.5}, "gravity": {"gravity": 2.0}
    }  # fmt: skip
    assert "particles" not in default_ood(replace(five, radius=area(0.31)))
    assert "particles" not in default_ood(replace(five, mass=[1.0] * 5))
    assert "particles" not in default_ood(replace(five, radius=[0.08] * 5))
    for before, after in ((0.7, 0.9), (0.71, 0.5)):
        assert default_ood(replace(five, restitution=before))["restitution"] == {"restitution": after}
    assert default_ood(replace(five, restitution=None, damping=1.0))["restitution"] == {"restitution": 0.9}


def test_of_damping_and_restitution_an_ood_split_keeps_the_one_that_it_names() -> None:
    ood = {"damped": {"damping": 2.0}, "bouncy": {"restitution": 0.3}, "heavy": {"mass": 2.0}}
    found = ParticleDataModule(SIX, ood=ood).specs
    pairs = {name: (found[f"ood_{name}"].system.damping, found[f"ood_{name}"].system.restitution) for name in ood}
    assert pairs == {"damped": (2.0, None), "bouncy": (None, 0.3), "heavy": (None, 0.8)}
    assert ParticleDataModule(SIX, ood={"same": {"interval": SIX.interval}}).test_splits == ["test", "ood_same"]


def test_sizes_and_options_come_to_the_splits_that_they_are_for() -> None:
    specs = ParticleDataModule(SIX, **SIZES, seed=5, dt=1e-3, integrator="verlet").specs
    sizes = {"train": 40, "val": 7, "test": 5, "ood_particles": 5, "ood_restitution": 5, "ood_gravity": 5}
    assert {name: spec.n_trajectories for name, spec in specs.items()} == sizes
    rest = {(spec.n_intervals, spec.velocity_std, spec.seed, spec.dt, spec.integrator) for spec in specs.values()}
    assert rest == {(10, 0.7, 5, 1e-3, "verlet")}


def test_a_split_of_one_interval_has_one_probe_state(cache: str) -> None:
    data = module(cache, n_train=8, n_val=1, n_test=1, n_intervals=1, ood={})
    states, contacts = data.probe_states(1)
    assert states.shape == (1, 6, 4) and contacts.shape == (1, 6, 6)
    with pytest.raises(InputError, match="1 to 1 states"):
        data.probe_states(2)


def test_what_is_not_set_up_says_so(tmp_path: Path) -> None:
    fresh = ParticleDataModule(SIX, ood={}, cache_dir=str(tmp_path))
    assert str(fresh) == "ParticleDataModule(train, val, test; not set up)"
