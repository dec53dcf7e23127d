"""From a particle system to a split on disk: simulated trajectories, contacts, and the no-neighbour oracle."""

import logging
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from lightning_physim.data.store import ArrayWriter, directory_name, make_directory, open_array
from lightning_physim.errors import InputError
from lightning_physim.physics import (
    ENGINE_VERSION,
    ContactPairs,
    Integrator,
    ParticleSystem,
    sample_initial_states,
    simulate,
)
from lightning_physim.physics.beside import await_compiled, is_compiled
from lightning_physim.target import ResidualTarget

log = logging.getLogger(__name__)

LAYOUT_VERSION = 2
"""Raise whenever the arrays of a split change their names or meaning: it is part of the name of its directory."""
CONTACT_ARRAYS = ("contact_pairs", "contact_starts")
"""What the fields of :class:`lightning_physim.physics.ContactPairs` are called on disk."""
CHUNK_STATES = 2**19
"""States of one particle at one time that are simulated at a time: 32 MiB of them, and their copy."""
TOLD_FROM = 2e9
"""Bytes of a data set from which its size is told before it is made."""


class Chunk(NamedTuple):
    """Some trajectories of a split, c of T intervals and N particles.

    Attributes:
        states: float64 ``[c, T + 1, N, 4]``.
        contacts: interval t of trajectory i is number ``i T + t``.
        wall_contacts: bool ``[c, T, N]``.
        no_pair: ``[c, T, N, 4]``, see :func:`no_pair_oracle`; None where that is still to be asked.
    """

    states: np.ndarray
    contacts: ContactPairs
    wall_contacts: np.ndarray
    no_pair: np.ndarray | None = None


@dataclass(frozen=True)
class SplitSpec:
    """Everything that determines the content of a split.

    Attributes:
        name: ``train``, ``val``, ``test`` or ``ood_<something>``; part of the seed of each trajectory.
        system: what is simulated.
        n_trajectories, n_intervals: how many trajectories of how many intervals.
        velocity_std: standard deviation of each component of the initial velocities.
        integrator, dt: see :func:`lightning_physim.physics.simulate`.
        seed: of the initial states.
    """

    name: str
    system: ParticleSystem
    n_trajectories: int
    n_intervals: int
    velocity_std: float
    integrator: Integrator
    dt: float | None
    seed: int

    @property
    def is_training(self) -> bool:
        return self.name == "train"

    def canonical(self, layout: int = LAYOUT_VERSION) -> dict[str, Any]:
        """JSON values; their hash names the split's directory."""
        return {"layout": layout, "engine": ENGINE_VERSION, **asdict(self)}

    def directory(self, cache_dir: Path, layout: int = LAYOUT_VERSION) -> Path:
        return cache_dir / directory_name(self.name, self.canonical(layout))

    def chunks(self) -> Iterator[Chunk]:
        """All trajectories, some at a time: simulated."""
        return _simulate_in_chunks(self)

    @property
    def n_bytes(self) -> int:
        """What the states take on disk; contacts, of which nobody knows, come to little beside them."""
        intervals = self.n_intervals + 1 + (0 if self.is_training else self.n_intervals)
        return self.n_trajectories * intervals * self.system.n_particles * 16


def check_room(specs: Iterable[SplitSpec], cache_dir: Path) -> None:
    """See to it that splits that are still to be made fit on the disk, and tell where they take much.

    Raises:
        InputError: they do not.
    """
    wanted = sum(spec.n_bytes for spec in missing_splits(specs, cache_dir))
    there = next(folder for folder in (cache_dir.absolute(), *cache_dir.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if wanted > free:
        raise InputError(
            f"the data must fit on the disk; they take {wanted / 1e9:.3g} GB, and {free / 1e9:.3g} GB are free for "
            f"{cache_dir}: lower --data.n_train, or choose another --data.cache_dir"
        )
    if wanted > TOLD_FROM:
        log.warning("the data will take %.3g GB in %s, of %.3g GB that are free", wanted / 1e9, cache_dir, free / 1e9)


def make_splits(specs: Iterable[SplitSpec], cache_dir: Path) -> None:
    """Make those splits that are not there yet, under one bar.

    Raises:
        InputError: as :func:`check_room` and :func:`make_split`.
    """
    specs = list(specs)
    check_room(specs, cache_dir)
    missing = missing_splits(specs, cache_dir)
    if missing and not is_compiled():
        print("compiling the simulator, once on a machine: about half a minute", file=sys.stderr, flush=True)
        await_compiled()
    # Where nobody watches, in a log, a line every ten seconds.
    interval = 0.1 if sys.stderr.isatty() else 10.0
    total = sum(spec.n_trajectories for spec in missing)
    with tqdm(
        desc="making data", total=total, unit=" trajectories", mininterval=interval, dynamic_ncols=True,
        disable=not missing,
    ) as bar:  # fmt: skip
        for spec in specs:
            make_split(spec, cache_dir, bar.update)


def missing_splits(specs: Iterable[SplitSpec], cache_dir: Path) -> list[SplitSpec]:
    """Those that are still to be made."""
    return [spec for spec in specs if not spec.directory(cache_dir).is_dir()]


def make_split(spec: SplitSpec, cache_dir: Path, progress: Callable[[int], object] = lambda n: None) -> Path:
    """The directory of the split under ``cache_dir``; simulated unless it is there already.

    ``progress`` gets the number of trajectories that were added.

    ``states.npy`` float32 ``[n, T+1, N, 4]``; ``contact_pairs.npy`` int32 ``[contacts, 2]`` and ``contact_starts.npy``
    int64 ``[n T + 1]``, see :class:`lightning_physim.physics.ContactPairs`; ``wall_contacts.npy`` bool ``[n, T, N]``;
    in evaluation splits ``no_pair.npy`` float32 ``[n, T, N, 4]``: the state one interval after
    ``states[:, :-1]`` had each particle been alone. ``metadata.json`` says what made them and sums them up.

    Raises:
        InputError: ``cache_dir`` cannot be written or is full, or the system cannot be simulated.
    """
    directory = spec.directory(cache_dir)
    for layout in range(1, LAYOUT_VERSION):
        if (older := spec.directory(cache_dir, layout)).is_dir() and not directory.is_dir():
            log.warning("%s is of an older layout: made anew as %s; the old one can be deleted", older, directory)
    try:
        make_directory(directory, spec.canonical(), lambda folder: _write_split(spec, folder, progress))
    except InputError as error:
        raise InputError(f"{error} (split {spec.name})") from error
    return directory


def _write_split(spec: SplitSpec, folder: Path, progress: Callable[[int], object]) -> dict[str, Any]:
    n, t, p = spec.n_trajectories, spec.n_intervals, spec.system.n_particles
    layout: dict[str, tuple[tuple[int, ...], str]] = {
        "states": ((t + 1, p, 4), "float32"),
        "contact_pairs": ((2,), "int32"),
        "contact_starts": ((), "int64"),
        "wall_contacts": ((t, p), "bool"),
    }
    if not spec.is_training:
        layout["no_pair"] = ((t, p, 4), "float32")
    touched = walls = 0
    energy = np.zeros(2)
    with ExitStack() as stack:
        arrays = {
            name: stack.enter_context(ArrayWriter(folder / f"{name}.npy", row, dtype))
            for name, (row, dtype) in layout.items()
        }
        arrays["contact_starts"].append(np.zeros(1))
        for states, contacts, wall_contacts, no_pair in spec.chunks():
            arrays["states"].append(states)
            arrays["contact_starts"].append(arrays["contact_pairs"].length + contacts.starts[1:])
            arrays["contact_pairs"].append(contacts.pairs)
            arrays["wall_contacts"].append(wall_contacts)
            if "no_pair" in arrays:
                if no_pair is None:
                    no_pair = no_pair_oracle(spec.system, states[:, :-1], spec.integrator, spec.dt)
                arrays["no_pair"].append(no_pair)
            touched += int(contacts.touching(np.arange(len(states) * t), p).sum())
            walls += int(wall_contacts.sum())
            energy += _energy(spec.system, states[:, [0, -1]]).sum(0)
            progress(len(states))
    return {
        "arrays": {name: writer.entry() for name, writer in arrays.items()},
        "masses": spec.system.masses.tolist(),
        "radii": spec.system.radii.tolist(),
        "summary": {
            "colliding_fraction": touched / (n * t * p),
            "wall_fraction": walls / (n * t * p),
            "energy_per_particle_start": energy[0] / (n * p),
            "energy_per_particle_end": energy[1] / (n * p),
        },
        "statistics": _statistics(spec, folder) if spec.is_training else None,
    }


def _simulate_in_chunks(spec: SplitSpec) -> Iterator[Chunk]:
    system, t, p = spec.system, spec.n_intervals, spec.system.n_particles
    chunk = min(256, max(1, CHUNK_STATES // ((t + 1) * p)))
    for first in range(0, spec.n_trajectories, chunk):
        count = min(chunk, spec.n_trajectories - first)
        x, v = sample_initial_states(
            system, count, spec.seed, velocity_std=spec.velocity_std, split=spec.name, first_index=first
        )
        run = simulate(system, x, v, t, integrator=spec.integrator, dt=spec.dt)
        states = np.concatenate((run.positions, run.velocities), axis=-1)
        yield Chunk(states, run.contact_pairs, run.wall_contacts)


def no_pair_oracle(
    system: ParticleSystem, states: np.ndarray, integrator: Integrator = "averaged", dt: float | None = None
) -> np.ndarray:
    """States float64 ``[..., N, 4]`` one interval after ``states`` had each particle been alone in the box.

    Gravity and walls are simulated exactly as in the data; only the neighbours are missing.
    """
    after = np.empty_like(states)
    masses, radii = system.masses, system.radii
    for mass, radius in sorted(set(zip(masses.tolist(), radii.tolist(), strict=True))):
        alike = (masses == mass) & (radii == radius)
        alone = system.alone(mass, radius)
        start = states[..., alike, :].reshape(-1, 1, 4)
        run = simulate(alone, start[..., :2], start[..., 2:], 1, integrator=integrator, dt=dt, check_overlap=False)
        end = np.concatenate((run.positions[:, 1], run.velocities[:, 1]), axis=-1)
        after[..., alike, :] = end.reshape(*states.shape[:-2], -1, 4)
    return after


def _energy(system: ParticleSystem, states: np.ndarray) -> np.ndarray:
    """Kinetic and gravitational energy, summed over the particles of ``states`` ``[..., N, 4]``."""
    kinetic = 0.5 * np.square(states[..., 2:]).sum(-1)
    total: np.ndarray = (system.masses * (kinetic + system.gravity * states[..., 1])).sum(-1)
    return total


def _statistics(spec: SplitSpec, folder: Path) -> dict[str, Any]:
    target = ResidualTarget.fit(open_array(folder, "states"), spec.system.interval, spec.system.gravity)
    return {
        "components": ["x", "y", "v_x", "v_y"],
        "state_mean": target.state_mean.tolist(),
        "state_std": target.state_std.tolist(),
        "residual_rms": target.residual_rms.tolist(),
        "interval": spec.system.interval,
        "gravity": spec.system.gravity,
    }
