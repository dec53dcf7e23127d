"""A split that is read from a file of others, in place of being simulated."""

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lightning_physim.data.formats import Recorded, find_file, read_told, read_trajectories
from lightning_physim.data.generate import LAYOUT_VERSION, Chunk, SplitSpec
from lightning_physim.errors import InputError
from lightning_physim.files import replace_file
from lightning_physim.physics import ENGINE_VERSION, ContactPairs, ParticleSystem


@dataclass(frozen=True)
class ImportedSpec(SplitSpec):
    """A split of pieces of ``n_intervals`` intervals, cut out of the trajectories of a file one after the other.

    What the file does not know is made up for. Velocities are central differences, so that the first and the last state
    of a trajectory are lost. A pair touches in an interval if free flight would bring it nearer than its radii. A
    particle alone is simulated by the contact law of ``system``, which for foreign data is a guess as good as that.

    Attributes:
        source: folder of the files (:mod:`lightning_physim.data.formats`).
    """

    source: str = ""

    @cached_property
    def file(self) -> Path:
        """Of the split.

        Raises:
            InputError: there is none.
        """
        return find_file(Path(self.source), self.name)

    @cached_property
    def _digest(self) -> str:
        with self.file.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def canonical(self, layout: int = LAYOUT_VERSION) -> dict[str, Any]:
        """JSON values; their hash names the split's directory. The content of the file counts, and not its place."""
        own = {name: value for name, value in asdict(self).items() if name not in ("source", "seed", "velocity_std")}
        return {"layout": layout, "engine": ENGINE_VERSION, "file": self._digest, **own}

    def chunks(self) -> Iterator[Chunk]:
        """A piece at a time.

        Raises:
            InputError: the file holds fewer pieces, other particles, or what cannot be.
        """
        told = read_told(Path(self.source))
        interval = told.interval
        if interval is not None and not np.isclose(interval, self.system.interval, rtol=1e-6):
            raise InputError(
                f"system.interval must be the time between the states of {self.source}, dt times write_every of its "
                f"metadata.json; got {self.system.interval:g} for {interval:g}: --data.system.interval={interval:g}"
            )
        n = 0
        for recorded in read_trajectories(self.file):
            recorded = recorded._replace(periodic=recorded.periodic or told.periodic)
            for piece in self._pieces(self._checked(recorded)):
                yield piece
                n += 1
                if n == self.n_trajectories:
                    return
        option = f"--data.n_{self.name}"
        raise InputError(
            f"{option[2:]} must be at most {n}, the pieces of {self.n_intervals} intervals in {self.file}; got "
            f"{self.n_trajectories}: {option}={n}" if n else
            f"n_intervals must not exceed the intervals of the trajectories in {self.file}; got {self.n_intervals}"
        )  # fmt: skip

    def _checked(self, recorded: Recorded) -> Recorded:
        positions = np.asarray(recorded.positions, dtype=np.float64)
        system, file = self.system, self.file
        if positions.ndim != 3 or positions.shape[2] != 2:
            raise InputError(
                f"positions must be in the plane, [times, particles, 2]; got {positions.shape} in {file}: "
                "leave a third coordinate out if the particles move in a plane"
            )
        types = () if recorded.types is None else np.unique(recorded.types)
        if len(types) > 1:
            raise InputError(
                f"particles must be of one type; got {len(types)} types in {file}: keep those of one, or leave types "
                "out where --data.system.radius and --data.system.mass, a value per particle, say how they differ"
            )
        if recorded.periodic:
            raise InputError(
                f"the box must have walls or no sides; got a periodic one in {file}, where particles that touch may be "
                "far apart: simulate another box, or let the file call the sides fixed if no particle comes near them"
            )
        if positions.shape[1] != system.n_particles:
            raise InputError(
                f"system.n_particles must be that of {file}; got {system.n_particles} for {positions.shape[1]}: "
                f"--data.system.n_particles={positions.shape[1]}"
            )
        times = positions.shape[0]
        shapes = {"velocities": positions.shape, "wall_contacts": (times - 1, system.n_particles),
                  "no_pair": (times - 1, system.n_particles, 4)}  # fmt: skip
        for name, shape in shapes.items():
            values = getattr(recorded, name)
            if values is not None and np.shape(values) != shape:
                raise InputError(f"{name} of {file} must be {shape}, beside its positions; got {np.shape(values)}")
        known = [positions] + ([] if recorded.velocities is None else [recorded.velocities])
        if not all(np.isfinite(values).all() for values in known):
            raise InputError(f"positions and velocities must be finite; those of {file} are not")
        width = np.array(system.box)
        if system.walls and not ((positions >= 0) & (positions <= width)).all():
            raise InputError(
                f"particles must be in the box, from 0 to {width[0]:g} and {width[1]:g}; got {positions.min():g} to "
                f"{positions.max():g} in {file}: give --data.system.box, or --data.system.walls=false"
            )
        if (np.abs(np.diff(positions, axis=0)) > width / 2).any():
            raise InputError(
                f"positions must not jump by half a side of the box in an interval, as in a periodic one; those of "
                f"{file} do: simulate a box with walls, or without sides (--data.system.walls=false)"
            )
        return recorded._replace(positions=positions)

    def _pieces(self, recorded: Recorded) -> Iterator[Chunk]:
        """Of one trajectory."""
        recorded = _with_velocities(recorded, self.system.interval)
        t, n = self.n_intervals, self.system.n_particles
        for first in range(0, len(recorded.positions) - t, t):
            there = slice(first, first + t)
            assert recorded.velocities is not None
            states = np.concatenate(
                (recorded.positions[first : first + t + 1], recorded.velocities[first : first + t + 1]), axis=-1
            )
            if recorded.contacts is None:
                rows = near_misses(states, self.system)
            else:
                of_piece = (recorded.contacts[:, 0] >= first) & (recorded.contacts[:, 0] < first + t)
                rows = recorded.contacts[of_piece] - [first, 0, 0]
            rows = np.asarray(rows, dtype=np.int64)
            walls = recorded.wall_contacts
            yield Chunk(
                states[None],
                ContactPairs.gather(rows[:, 0], np.sort(rows[:, 1:], axis=1), t, n),
                (at_walls(states, self.system) if walls is None else walls[there])[None],
                None if recorded.no_pair is None else recorded.no_pair[there][None],
            )


def keep_arrays(splits: Mapping[str, Sequence[np.ndarray]], cache_dir: Path) -> Path:
    """A folder under ``cache_dir`` with positions, and perhaps velocities, of splits; named by their content."""
    digest = hashlib.sha256()
    for name, arrays in splits.items():
        digest.update(name.encode())
        for each in arrays:
            digest.update(np.ascontiguousarray(each, dtype=np.float64).tobytes())
    folder = cache_dir / f"arrays-{digest.hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    for name, arrays in splits.items():
        content = io.BytesIO()
        np.savez(content, **dict(zip(("positions", "velocities"), arrays, strict=False)))  # type: ignore[arg-type]
        replace_file(folder / f"{name}.npz", content.getvalue())
    return folder


def _with_velocities(recorded: Recorded, interval: float) -> Recorded:
    """Central differences where there are none; the first and the last state are then left out."""
    if recorded.velocities is not None:
        return recorded._replace(velocities=np.asarray(recorded.velocities, dtype=np.float64))
    velocities = (recorded.positions[2:] - recorded.positions[:-2]) / (2 * interval)
    contacts, walls, no_pair = recorded.contacts, recorded.wall_contacts, recorded.no_pair
    return Recorded(
        recorded.positions[1:-1],
        velocities,
        None if contacts is None else contacts - [1, 0, 0],
        None if walls is None else walls[1:-1],
        None if no_pair is None else no_pair[1:-1],
    )


def near_misses(states: np.ndarray, system: ParticleSystem) -> np.ndarray:
    """Pairs that would come nearer than the sum of their radii in an interval, were they to fly freely.

    Forwards from its first state, or backwards from its last one. Whoever touches does one of the two, but for the
    meddling of a third.

    Args:
        states: ``[T + 1, N, 4]``.
        system: with the radii and the interval.

    Returns:
        int ``[pairs, 3]``: interval, i < j.
    """
    i, j = np.triu_indices(system.n_particles, 1)
    between = states[:, i] - states[:, j]  # in free fall, too, a straight path
    reach = system.radii[i] + system.radii[j]
    near = np.zeros((len(states) - 1, len(i)), dtype=bool)
    for start, interval in ((between[:-1], system.interval), (between[1:], -system.interval)):
        place, move = start[..., :2], start[..., 2:] * interval
        square = np.maximum((move**2).sum(-1), np.finfo(float).tiny)
        nearest = np.clip(-(place * move).sum(-1) / square, 0, 1)[..., None]
        near |= np.linalg.norm(place + nearest * move, axis=-1) < reach
    interval_number, pair = np.nonzero(near)
    return np.column_stack((interval_number, i[pair], j[pair]))


def at_walls(states: np.ndarray, system: ParticleSystem) -> np.ndarray:
    """Which particles are nearer to a wall than their radius at an end of an interval, bool ``[T, N]``."""
    if not system.walls:
        return np.zeros((len(states) - 1, system.n_particles), dtype=bool)
    place, radius = states[..., :2], system.radii[:, None]
    touching = ((place < radius) | (place > np.array(system.box) - radius)).any(-1)
    both: np.ndarray = touching[:-1] | touching[1:]
    return both
