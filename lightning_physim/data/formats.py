"""Trajectories in files of others: HDF5 in LagrangeBench's layout, NumPy archives, dumps of LAMMPS. Both directions.

A folder holds a file for each split, ``train``, ``val`` (or ``valid``) and ``test``, in one of :data:`FORMATS`:

- ``.h5``: a group ``00000``, ``00001``, ... for each trajectory, with ``position`` ``[times, particles, 2]`` and
  ``particle_type`` ``[particles]``, as of LagrangeBench (Toshev et al. 2023). It knows no velocities and no contacts;
  ours are ``velocity``, ``contacts`` (rows of interval, i, j), ``wall_contacts`` and ``no_pair`` beside them.
- ``.npz``: ``positions`` and perhaps ``velocities`` ``[trajectories, times, particles, 2]`` and ``particle_type``
  ``[particles]``; what else a split of ours holds, under the names of
  :func:`lightning_physim.data.generate.make_split`.
- ``.lammpstrj``: text of LAMMPS's ``dump custom`` with columns ``id x y`` and perhaps ``z``, ``vx vy`` and ``type``. A
  step that is not later than the one before begins a trajectory.
"""

import json
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from lightning_physim.errors import InputError
from lightning_physim.physics import ContactPairs

FORMATS = {"h5": (".h5", ".hdf5"), "npz": (".npz",), "lammpstrj": (".lammpstrj",)}
"""Names of the formats, and the endings of their files; the first is the one that is written."""
LAMMPS_COLUMNS = ("id", "x", "y", "z", "vx", "vy", "type")
"""Of a dump, those that are looked at."""
SPLIT_FILES = {"train": ("train",), "val": ("val", "valid"), "test": ("test",)}
"""What the file of a split may be called; the last is LagrangeBench's name, which is the one that is written."""


class Recorded(NamedTuple):
    """One trajectory of T intervals and N particles; None for what its file does not know.

    Attributes:
        positions: ``[T + 1, N, 2]``.
        velocities: ``[T + 1, N, 2]``.
        contacts: int ``[contacts, 3]``: interval, and the two particles that touched in it.
        wall_contacts: bool ``[T, N]``.
        no_pair: ``[T, N, 4]``, the state that follows each had every particle been alone.
        types: ``[N]``, or as often as they are told.
        periodic: whether the box is told to be.
    """

    positions: np.ndarray
    velocities: np.ndarray | None = None
    contacts: np.ndarray | None = None
    wall_contacts: np.ndarray | None = None
    no_pair: np.ndarray | None = None
    types: np.ndarray | None = None
    periodic: bool = False


def find_file(folder: Path, split: str) -> Path:
    """The file of a split.

    Raises:
        InputError: there is none, or more than one.
    """
    names = [f"{name}{ending}" for name in SPLIT_FILES[split] for endings in FORMATS.values() for ending in endings]
    found = [folder / name for name in names if (folder / name).is_file()]
    if len(found) != 1:
        got = " and ".join(path.name for path in found) or ("none" if folder.is_dir() else "no such folder")
        raise InputError(f"source must hold one file of split {split!r}, e.g. {names[0]}; got {got} in {folder}")
    return found[0]


def read_trajectories(path: Path) -> Iterator[Recorded]:
    """The trajectories of a file, one after the other.

    Raises:
        InputError: it is not of its format, or a package is missing to read it.
    """
    read = {"h5": _read_hdf5, "npz": _read_npz, "lammpstrj": _read_lammps}[_format(path)]
    try:
        yield from read(path)
    except (OSError, ValueError, KeyError, IndexError, TypeError, UnicodeDecodeError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} must hold trajectories as docs/data.md says; got: {reason}") from error


def write_trajectories(path: Path, trajectories: Iterable[Recorded]) -> None:
    """Write a file in the format that its ending names."""
    {"h5": _write_hdf5, "npz": _write_npz, "lammpstrj": _write_lammps}[_format(path)](path, trajectories)


def _format(path: Path) -> str:
    return next(name for name, endings in FORMATS.items() if path.suffix in endings)


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise InputError(
            "HDF5 needs the package h5py; it is not installed: pip install 'lightning_physim[hdf5]'"
        ) from None
    return h5py


def _read_hdf5(path: Path) -> Iterator[Recorded]:
    with _h5py().File(path, "r") as file:
        for name in sorted(file, key=lambda name: (len(name), name)):  # numbers may outgrow their five digits
            group = file[name]

            def part(key: str, group: Any = group) -> np.ndarray | None:
                return group[key][...] if key in group else None

            walls = part("wall_contacts")
            yield Recorded(
                group["position"][...], part("velocity"), part("contacts"),
                None if walls is None else walls.astype(bool), part("no_pair"), part("particle_type"),
            )  # fmt: skip


def _write_hdf5(path: Path, trajectories: Iterable[Recorded]) -> None:
    with _h5py().File(path, "w") as file:
        for number, each in enumerate(trajectories):
            group = file.create_group(f"{number:05d}")
            group["position"] = each.positions
            group["particle_type"] = np.zeros(each.positions.shape[1], dtype=np.int64)
            known = {"velocity": each.velocities, "contacts": each.contacts, "no_pair": each.no_pair}
            known["wall_contacts"] = None if each.wall_contacts is None else each.wall_contacts.astype(np.uint8)
            for name, values in known.items():
                if values is not None:
                    group[name] = values


def _read_npz(path: Path) -> Iterator[Recorded]:
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    positions = arrays["positions"]
    if positions.ndim != 4:
        raise ValueError(f"positions of shape {positions.shape}, which is not [trajectories, times, particles, 2]")
    contacts = None
    if {"contact_pairs", "contact_starts"} <= arrays.keys():
        contacts = ContactPairs(arrays["contact_pairs"], arrays["contact_starts"])
    for i, path_of_one in enumerate(positions):
        n_intervals = len(path_of_one) - 1
        touched = None
        if contacts is not None:
            interval, pairs = contacts.of(i * n_intervals + np.arange(n_intervals))
            touched = np.column_stack((interval, pairs))
        others = [arrays[name][i] if name in arrays else None for name in ("velocities", "wall_contacts", "no_pair")]
        yield Recorded(path_of_one, others[0], touched, others[1], others[2], arrays.get("particle_type"))


def _write_npz(path: Path, trajectories: Iterable[Recorded]) -> None:
    every = list(trajectories)
    found = {"positions": np.stack([each.positions for each in every])}
    for name in ("velocities", "wall_contacts", "no_pair"):
        parts = [part for each in every if (part := getattr(each, name)) is not None]
        if len(parts) == len(every):
            found[name] = np.stack(parts)
    contacts = [each.contacts for each in every if each.contacts is not None]
    if len(contacts) == len(every):
        n_intervals, n = found["positions"].shape[1] - 1, found["positions"].shape[2]
        shifted = [rows + [i * n_intervals, 0, 0] for i, rows in enumerate(contacts)]
        rows = np.concatenate(shifted).astype(np.int64)
        pairs = ContactPairs.gather(rows[:, 0], rows[:, 1:], n_intervals * len(every), n)
        found |= {"contact_pairs": pairs.pairs, "contact_starts": pairs.starts}
    np.savez(path, **found)  # type: ignore[arg-type]


class _Frame(NamedTuple):
    """One state of a dump: known columns by name, in the order of the particles' ids."""

    step: int
    columns: dict[str, np.ndarray]
    periodic: bool


def _read_lammps(path: Path) -> Iterator[Recorded]:
    frames: list[_Frame] = []
    with path.open() as file:
        while (frame := _lammps_frame(file)) is not None:
            if frames and frame.step <= frames[-1].step:
                yield _of_frames(frames)
                frames = []
            frames.append(frame)
    if frames:
        yield _of_frames(frames)


def _lammps_frame(file: IO[str]) -> _Frame | None:
    """The next one of a file; None at the end."""
    step, count, periodic = None, 0, False
    for line in file:
        if line.startswith("ITEM: TIMESTEP"):
            step = int(next(file, ""))
        elif line.startswith("ITEM: NUMBER OF ATOMS"):
            count = int(next(file, ""))
        elif line.startswith("ITEM: BOX BOUNDS"):
            # Of a tilted box "xy xz yz" come before the boundaries of x, y and z, as of any other.
            sides = [word for word in line.split()[3:] if word not in ("xy", "xz", "yz")]
            periodic = any(side.startswith("p") for side in sides[:2])
        elif line.startswith("ITEM: ATOMS"):
            names = line.split()[2:]
            if not {"id", "x", "y"} <= set(names):
                raise ValueError(f"columns {' '.join(names)}, not id, x, y: `dump 1 all custom 10 FILE id x y vx vy`")
            known = [name for name in LAMMPS_COLUMNS if name in names]
            columns = [names.index(name) for name in known]
            lines = [next(file, "").split() for _ in range(count)]
            rows = np.array([[float(words[column]) for column in columns] for words in lines])
            if step is None:
                raise ValueError("atoms before the first time step")
            return _Frame(step, dict(zip(known, rows[np.argsort(rows[:, 0])].T, strict=True)), periodic)
    return None


def _of_frames(frames: list[_Frame]) -> Recorded:
    def over_time(*names: str) -> np.ndarray | None:
        if any(name not in frame.columns for frame in frames for name in names):
            return None
        return np.stack([np.stack([frame.columns[name] for name in names], axis=-1) for frame in frames])

    height = over_time("z")
    in_plane = height is None or np.ptp(height) == 0  # as in every simulation of LAMMPS in two dimensions
    positions = over_time("x", "y") if in_plane else over_time("x", "y", "z")
    assert positions is not None
    periodic = any(frame.periodic for frame in frames)
    return Recorded(positions, over_time("vx", "vy"), types=over_time("type"), periodic=periodic)


def _write_lammps(path: Path, trajectories: Iterable[Recorded]) -> None:
    with path.open("w") as file:
        for each in trajectories:
            names = ["id", "x", "y"] + (["vx", "vy"] if each.velocities is not None else [])
            for step, positions in enumerate(each.positions):
                n = len(positions)
                low, high = positions.min(0), positions.max(0)
                file.write(f"ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n{n}\nITEM: BOX BOUNDS ff ff pp\n")
                file.write("".join(f"{a:.9g} {b:.9g}\n" for a, b in zip(low, high, strict=True)) + "-0.5 0.5\n")
                file.write(f"ITEM: ATOMS {' '.join(names)}\n")
                columns = [np.arange(1, n + 1)[:, None], positions]
                columns += [each.velocities[step]] if each.velocities is not None else []
                rows = np.hstack(columns)
                file.writelines(f"{row[0]:.0f} " + " ".join(f"{x:.9g}" for x in row[1:]) + "\n" for row in rows)


def write_metadata(folder: Path, values: dict[str, Any]) -> None:
    """The ``metadata.json`` of a folder of files, as LagrangeBench reads it."""
    (folder / "metadata.json").write_text(json.dumps(values, indent=1) + "\n")


class Told(NamedTuple):
    """What the ``metadata.json`` of a folder tells; the defaults where there is none.

    Attributes:
        interval: the time between two states.
        periodic: whether the box is periodic along x or y.
    """

    interval: float | None = None
    periodic: bool = False


def read_told(folder: Path) -> Told:
    """The ``metadata.json`` of a folder, as of LagrangeBench.

    Raises:
        InputError: it is none.
    """
    path = folder / "metadata.json"
    if not path.is_file():
        return Told()
    try:
        known = json.loads(path.read_text())
        interval = float(known["dt"]) * float(known.get("write_every", 1))
        return Told(interval, any(list(known.get("periodic_boundary_conditions", []))[:2]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} must be a table with dt, as of LagrangeBench; got: {error!r}") from error
