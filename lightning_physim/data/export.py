"""Splits as files that others read, and that ``source`` reads back without a difference."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lightning_physim.data.batch import TrajectoryDataset
from lightning_physim.data.datamodule import ParticleDataModule
from lightning_physim.data.formats import FORMATS, SPLIT_FILES, Recorded, write_metadata, write_trajectories
from lightning_physim.errors import InputError


def export_splits(data: ParticleDataModule, folder: Path, form: str = "h5") -> list[Path]:
    """Write the training, validation and test split of a data module, and a ``metadata.json``.

    Out-of-distribution splits are left out. A dump of LAMMPS holds positions and velocities alone.

    Args:
        data: set up.
        folder: made where it is missing; files of these names in it are replaced.
        form: a name in :data:`lightning_physim.data.formats.FORMATS`.

    Returns:
        The files of the splits.

    Raises:
        InputError: no such format, or the folder cannot be written.
    """
    if form not in FORMATS:
        raise InputError(f"a format is one of {', '.join(FORMATS)}; got {form}")
    paths = [folder / f"{names[-1]}{FORMATS[form][0]}" for names in SPLIT_FILES.values()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for split, path in zip(SPLIT_FILES, paths, strict=True):
            write_trajectories(path, _recorded(data.split(split)))
        write_metadata(folder, _metadata(data))
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"--export must be a folder that can be written; got {reason} for {folder}") from error
    return paths


def _recorded(split: TrajectoryDataset) -> Iterator[Recorded]:
    for i in range(split.n_trajectories):
        states = split.states[i].numpy()
        interval, pairs = split.contact_pairs.of(i * split.n_intervals + np.arange(split.n_intervals))
        no_pair = None if split.no_pair is None else split.no_pair[i].numpy()
        contacts = np.column_stack((interval, pairs)).astype(np.int64)
        yield Recorded(states[..., :2], states[..., 2:], contacts, split.wall_contacts[i].numpy(), no_pair)


def _metadata(data: ParticleDataModule) -> dict[str, object]:
    """What LagrangeBench asks a data set for; statistics are those of its finite differences, per interval."""
    train, test = data.split("train"), data.split("test")
    system = data.specs["train"].system
    places = np.asarray(train.states[..., :2], dtype=np.float64)
    velocity = np.diff(places, axis=1)
    found: dict[str, object] = {
        "case": "particles", "solver": "lightning_physim", "dim": 2, "dt": system.interval, "write_every": 1,
        "sequence_length_train": train.n_intervals + 1, "num_trajs_train": train.n_trajectories,
        "sequence_length_test": test.n_intervals + 1, "num_trajs_test": test.n_trajectories,
        "num_particles_max": system.n_particles, "periodic_boundary_conditions": [False, False],
        "bounds": [[0.0, side] for side in system.box],
        "default_connectivity_radius": 3 * float(system.radii.max()),
    }  # fmt: skip
    for name, values in {"vel": velocity, "acc": np.diff(velocity, axis=1)}.items():
        if values.size:
            flat = values.reshape(-1, 2)
            found |= {f"{name}_mean": flat.mean(0).tolist(), f"{name}_std": flat.std(0).tolist()}
    return found
