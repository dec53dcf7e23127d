"""From initial states to trajectories with contact labels."""

import itertools
import math
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

import numpy as np

from lightning_physim.errors import InputError
from lightning_physim.physics.contact import COARSE, STEPS_PER_CONTACT, TOO_COARSE
from lightning_physim.physics.engine import Constants, list_pairs, room_for_pairs, simulate_all, widest_radius
from lightning_physim.physics.pairs import ContactPairs
from lightning_physim.physics.system import ParticleSystem
from lightning_physim.ranges import MOST_COUNTED, check_choice

ENGINE_VERSION = 1
"""Raise whenever the same input gives other numbers: it is part of the name of every cached data set."""

Integrator = Literal["averaged", "verlet"]


class Trajectory(NamedTuple):
    """What :func:`simulate` returns; ``T = n_intervals``.

    - ``positions``, ``velocities``: float64 ``[systems, T + 1, particles, 2]``; index 0 is the initial state.
    - ``contact_pairs``: the pairs that touched at any moment of an interval, as seen by the integrator: whoever is in
      none of an interval's pairs nor in ``wall_contacts`` flew freely. At the interval's ends the resolution is half a
      step. Interval ``t`` of system ``s`` is number ``s T + t``.
    - ``wall_contacts``: bool ``[systems, T, particles]``, the same for the walls.
    - ``times``: float64 ``[T + 1]``.
    """

    positions: np.ndarray
    velocities: np.ndarray
    contact_pairs: ContactPairs
    wall_contacts: np.ndarray
    times: np.ndarray

    @property
    def contacts(self) -> np.ndarray:
        """``contact_pairs`` as bool ``[systems, T, particles, particles]``, symmetric; made anew at each access."""
        n_systems, n_intervals, n_particles = self.wall_contacts.shape
        intervals = np.arange(n_systems * n_intervals).reshape(n_systems, n_intervals)
        return self.contact_pairs.dense(intervals, n_particles)


def simulate(
    system: ParticleSystem,
    x: np.ndarray,
    v: np.ndarray,
    n_intervals: int,
    integrator: Integrator = "averaged",
    dt: float | None = None,
    threads: int | None = None,
    *,
    check_overlap: bool = True,
) -> Trajectory:
    """Simulate independent copies of a system, side by side.

    The result for one system is the same to the last bit whatever the batch that it is in and the number of threads.

    Integrators:

    - ``"averaged"``: velocity Verlet with the contact force averaged over the step, on the straight path through the
      contact's edge. A dashpot's force jumps where a contact begins; averaging restores second order there, and one
      step in 20 of a contact time is as accurate as seven to ten with ``"verlet"``.
    - ``"verlet"``: LAMMPS's ``fix nve`` to round-off (kick, drift, kick; the dashpot sees the half-step velocity).
      First order as soon as there is damping. For comparison with LAMMPS.

    Args:
        system: the particle system.
        x: initial positions ``[systems, particles, 2]``.
        v: initial velocities ``[systems, particles, 2]``.
        n_intervals: number of intervals of ``system.interval`` to simulate.
        integrator: ``"averaged"`` or ``"verlet"``.
        dt: step (time), shortened where needed so that a whole number of steps makes an interval. None: 1/20 of
            ``system.contact_time`` for ``"averaged"``, 1/50 for ``"verlet"``. Halve it to see what it costs.
        threads: threads to share the systems among; None: one per core. The results do not depend on it.
        check_overlap: refuse initial states in which particles overlap one another or a wall. Turn it off for states
            taken from a trajectory, where discs in contact do overlap a little.

    Raises:
        InputError: the states or the step cannot be used, or discs went through each other.
    """
    x, v = _checked_states(system, x, v, check_overlap)
    n_systems, n, _ = x.shape
    if isinstance(n_intervals, bool) or not isinstance(n_intervals, int | np.integer) or n_intervals < 1:
        raise InputError(
            f"n_intervals must be an integer of at least 1; got {n_intervals!r}; give e.g. n_intervals=100"
        )
    if threads is not None and not (isinstance(threads, int) and threads >= 1):
        raise InputError(f"threads must be at least 1; got {threads!r}; give e.g. threads=1 or leave it out")
    n_substeps = _n_substeps(system, integrator, dt)

    positions = np.empty((n_systems, n_intervals + 1, 2 * n))
    velocities = np.empty_like(positions)
    positions[:, 0], velocities[:, 0] = x.reshape(n_systems, -1), v.reshape(n_systems, -1)
    wall_contacts = np.zeros((n_systems, n_intervals, n), dtype=np.bool_)
    counts, sound = np.empty((n_systems, n_intervals), dtype=np.int64), np.empty(n_systems, dtype=np.bool_)
    pair_stiffness, pair_damping = system.pair_contact
    wall_stiffness, wall_damping = system.wall_contact
    constants = Constants(
        radius=system.radii,
        mass=system.masses,
        box=np.array(system.box),
        law=system.contact_law,
        pair_stiffness=pair_stiffness,
        pair_damping=pair_damping,
        wall_stiffness=wall_stiffness,
        wall_damping=wall_damping,
        gravity=system.gravity,
        walls=system.walls,
        averaged=integrator == "averaged",
        n_substeps=n_substeps,
        dt=system.interval / n_substeps,
        packing=system.packing_fraction,
        widest=widest_radius(system.radii),
    )
    arrays = (positions, velocities, wall_contacts, counts, sound)
    n_threads = min(threads or os.cpu_count() or 1, n_systems)
    shares = 4 * n_threads if n_threads > 1 else 1  # a few each, as some take longer
    edges = np.linspace(0, n_systems, shares + 1).astype(int)
    # Plain threads over compiled code that releases the interpreter: numba's own pool changes the number of OpenMP
    # threads that torch computes with, and so its rounding, and does not survive a fork.
    with ThreadPoolExecutor(n_threads) as pool:
        parts = [[array[a:b] for array in arrays] for a, b in itertools.pairwise(edges)]
        pairs = np.concatenate(list(pool.map(lambda part: simulate_all(constants, *part), parts)))
    if not sound.all():
        worst = int(np.argmin(sound))
        raise InputError(
            f"contacts must be stiff enough for the speeds; got an overlap of more than a radius in system {worst}; "
            f"give a larger stiffness than {system.stiffness:g}, or slower particles"
        )
    intervals = np.repeat(np.arange(n_systems * n_intervals), counts.ravel())
    contact_pairs = ContactPairs.gather(intervals, pairs, n_systems * n_intervals, n)
    shape = (n_systems, n_intervals + 1, n, 2)
    times = system.interval * np.arange(n_intervals + 1)
    return Trajectory(positions.reshape(shape), velocities.reshape(shape), contact_pairs, wall_contacts, times)


def _n_substeps(system: ParticleSystem, integrator: Integrator, dt: float | None) -> int:
    """Steps per interval, after refusing what is unknown, unstable or too coarse."""
    check_choice(STEPS_PER_CONTACT, integrator=integrator)
    contact_time, stable = system.contact_time, system.stable_step(integrator == "averaged")
    default = min(contact_time / STEPS_PER_CONTACT[integrator], stable / 4)
    if dt is None:
        dt = default
    elif isinstance(dt, bool) or not isinstance(dt, int | float | np.number) or not 0 < dt < math.inf:
        raise InputError(f"dt must be positive and finite; got {dt!r}; give e.g. dt={default:.3g} or leave it out")
    if system.interval / dt > MOST_COUNTED:
        raise InputError(
            f"an interval must take at most {MOST_COUNTED:,} steps; got {system.interval / dt:.3g} steps of {dt:.3g}; "
            "give a shorter interval, softer contacts or a larger dt"
        )
    n_substeps = max(1, math.ceil(system.interval / dt * (1 - 1e-12)))
    used = system.interval / n_substeps
    if used >= stable:
        raise InputError(f"dt must be below the stability bound {stable:.3g}; got {used:.3g}; give dt={default:.3g}")
    per_contact = contact_time / used * (1 + 1e-9)
    if per_contact < TOO_COARSE:
        raise InputError(
            f"dt must be at most 1/{TOO_COARSE:g} of the contact time {contact_time:.3g}; got {used:.3g}; "
            f"give dt={default:.3g}"
        )
    if per_contact < COARSE:
        warnings.warn(
            f"only {per_contact:.1f} steps per contact: expect errors of a percent in restitution; "
            f"dt={default:.3g} is the default",
            stacklevel=3,
        )
    return n_substeps


def _checked_states(
    system: ParticleSystem, x: np.ndarray, v: np.ndarray, check_overlap: bool
) -> tuple[np.ndarray, np.ndarray]:
    x, v = np.asarray(x, dtype=np.float64), np.asarray(v, dtype=np.float64)
    for name, value in (("x", x), ("v", v)):
        if value.ndim != 3 or value.shape[1:] != (system.n_particles, 2) or value.shape != x.shape or not len(x):
            raise InputError(
                f"{name} must have shape [systems, {system.n_particles}, 2], the same for x and v; "
                f"got {list(value.shape)}; sample_initial_states gives such arrays"
            )
        if not np.isfinite(value).all():
            s, i, _ = np.argwhere(~np.isfinite(value))[0]
            raise InputError(f"{name} must be finite; got {value[s, i].tolist()} for particle {i} of system {s}")
    radii, box = system.radii, np.array(system.box)
    if system.walls:
        gap = np.minimum(x, box - x)
        if (gap < 0).any():
            s, i, _ = np.argwhere(gap < 0)[0]
            raise InputError(
                f"particles must lie in the box {box.tolist()}; got {x[s, i].tolist()} for particle {i} of system {s}"
            )
    if not check_overlap:
        return x, v
    tolerance = 1e-9 * float(radii.min())  # a state that touches to round-off does not overlap
    advice = "for states taken from a trajectory give check_overlap=False"
    if system.walls and (inside := gap.min(-1) - radii).min() < -tolerance:
        s, i = np.argwhere(inside < -tolerance)[0]
        raise InputError(
            f"initial states must not overlap a wall; got {-inside[s, i]:.3g} of overlap for particle {i} of "
            f"system {s}; {advice}"
        )
    room, widest = room_for_pairs(len(radii)), widest_radius(radii)
    first, second, reach = np.empty(room, np.uint32), np.empty(room, np.uint32), np.empty(room)
    for s, state in enumerate(x):
        if list_pairs(state.ravel(), radii, -tolerance, first, second, reach, widest):
            i, j = int(first[0]) // 2, int(second[0]) // 2
            raise InputError(
                f"initial states must not overlap each other; got {reach[0] - math.dist(state[i], state[j]):.3g} of "
                f"overlap for particles {i} and {j} of system {s}; {advice}"
            )
    return x, v
