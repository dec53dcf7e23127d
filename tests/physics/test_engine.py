"""The engine against a plain all-pairs integrator, its labels, its independence of batch and threads, its refusals."""

import multiprocessing
import warnings
from dataclasses import replace

import numpy as np
import pytest

from lightning_physim.errors import InputError
from lightning_physim.physics import ParticleSystem, sample_initial_states, simulate

SYSTEM = ParticleSystem(n_particles=16, box=(6.0, 6.0), restitution=0.9, interval=0.1)


def start(system: ParticleSystem, n_systems: int, velocity_std: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    return sample_initial_states(system, n_systems, seed=3, velocity_std=velocity_std)


def all_pairs(system: ParticleSystem, x: np.ndarray, v: np.ndarray, dt: float, steps: int):
    """LAMMPS's scheme over every pair in numpy; the path and who touches whom at each force evaluation."""
    radii, masses, box = system.radii, system.masses, np.array(system.box)
    k, gamma = system.pair_contact
    k_wall, gamma_wall = system.wall_contact
    m_eff = masses[:, None] * masses / (masses[:, None] + masses)

    def acceleration(x, v):
        offset = x[:, None] - x[None]
        distance = np.linalg.norm(offset, axis=-1) + np.eye(len(x)) * 1e9
        overlap = radii[:, None] + radii - distance
        normal = offset / distance[..., None]
        rate = (normal * (v[:, None] - v[None])).sum(-1)
        force = np.where(overlap > 0, k * overlap - m_eff * gamma * rate, 0.0)
        a = (force[..., None] * normal).sum(1) / masses[:, None] - np.array([0.0, system.gravity])
        for wall, sign in ((np.zeros(2), 1.0), (box, -1.0)):
            depth = radii[:, None] - sign * (x - wall)
            push = k_wall * depth - masses[:, None] * gamma_wall * sign * v
            a += np.where(depth > 0, sign * push / masses[:, None], 0.0)
        return a, overlap > 0

    path, labels = [x], []
    a, touching = acceleration(x, v)
    labels.append(touching)
    for _ in range(steps):
        v = v + 0.5 * dt * a
        x = x + dt * v
        a, touching = acceleration(x, v)
        v = v + 0.5 * dt * a
        path.append(x)
        labels.append(touching)
    return np.array(path), np.array(labels)


@pytest.mark.parametrize(
    "system",
    [
        SYSTEM,
        replace(SYSTEM, radius=[0.3, 0.6] * 8, mass=[1.0, 3.0] * 8),
        replace(SYSTEM, wall_stiffness=500.0, wall_damping=1.0),
        replace(SYSTEM, n_particles=250, box=(24.0, 24.0)),  # past the size from which cells are used
    ],
    ids=["equal", "unequal", "own walls", "cells"],
)
def test_neighbour_lists_miss_nothing(system):
    x, v = start(system, 1, velocity_std=3.0)
    dt, per = 1e-3, 100
    run = simulate(system, x, v, 4, "verlet", dt=dt)
    path, labels = all_pairs(system, x[0], v[0], dt, 4 * per)
    assert labels.any()
    assert np.abs(run.positions[0] - path[::per]).max() < 1e-9
    for i in range(4):
        # Both ends belong to the interval: the network sees the one state and predicts the other.
        assert (run.contacts[0, i] == labels[i * per : (i + 1) * per + 1].any(0)).all()


def test_contacts_are_symmetric_and_nobody_touches_itself():
    run = simulate(SYSTEM, *start(SYSTEM, 8), 10)
    assert (run.contacts == run.contacts.swapaxes(-1, -2)).all()
    assert not run.contacts.diagonal(axis1=-2, axis2=-1).any()


def test_whoever_has_no_label_flew_freely():
    run = simulate(SYSTEM, *start(SYSTEM, 32), 10)
    free = ~(run.contacts.any(-1) | run.wall_contacts)
    t, fall = SYSTEM.interval, SYSTEM.gravity * SYSTEM.interval
    expected = run.positions[:, :-1] + run.velocities[:, :-1] * t - [0, 0.5 * fall * t]
    error = np.abs(run.positions[:, 1:] - expected).max(-1)
    assert 0.1 < free.mean() < 0.9
    assert error[free].max() < 1e-12
    assert (error[~free] > 1e-9).mean() > 0.99


def arrays(run):
    return run.positions, run.velocities, run.contacts, run.wall_contacts


@pytest.mark.parametrize("integrator", ["verlet", "averaged"])
def test_batch_and_threads_change_no_bit(integrator):
    x, v = start(SYSTEM, 64)
    whole = simulate(SYSTEM, x, v, 5, integrator, threads=1)
    for other in (
        simulate(SYSTEM, x, v, 5, integrator, threads=2),
        simulate(SYSTEM, x, v, 5, integrator, threads=7),
        [np.concatenate(parts) for parts in zip(*(
            arrays(simulate(SYSTEM, x[i : i + 1], v[i : i + 1], 5, integrator)) for i in range(64)
        ), strict=True)],
    ):  # fmt: skip
        for ours, theirs in zip(arrays(whole), other if isinstance(other, list) else arrays(other), strict=True):
            assert np.array_equal(ours, theirs)


def _in_a_fork(x, v, queue):
    queue.put(simulate(SYSTEM, x, v, 2, threads=2).positions)


def test_a_forked_process_simulates_too():
    x, v = start(SYSTEM, 8)
    here = simulate(SYSTEM, x, v, 2, threads=2).positions
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which is the point
        process = context.Process(target=_in_a_fork, args=(x, v, queue))
        process.start()
    assert np.array_equal(queue.get(timeout=60), here)
    process.join()


def test_shapes_and_times():
    run = simulate(SYSTEM, *start(SYSTEM, 3), 5)
    assert run.positions.shape == run.velocities.shape == (3, 6, 16, 2)
    assert run.contacts.shape == (3, 5, 16, 16) and run.wall_contacts.shape == (3, 5, 16)
    np.testing.assert_allclose(run.times, 0.1 * np.arange(6))


@pytest.mark.parametrize(
    "fields, rule",
    [
        ({"restitution": 0.9, "damping": 1.0}, "exactly one of restitution and damping must be given; got both"),
        ({}, "exactly one of restitution and damping must be given; got neither"),
        ({"restitution": 0.0}, "restitution must be positive"),
        ({"restitution": 1.1}, "restitution must be at most 1; got 1.1"),
        ({"restitution": float("nan")}, "restitution must be positive and finite"),
        ({"damping": -1.0}, "damping must be at least 0"),
        ({"damping": 1e4}, "must not be overdamped"),
        ({"restitution": 0.9, "stiffness": -5.0}, "stiffness must be positive and finite; got -5.0"),
        ({"restitution": 0.9, "mass": 0.0}, "mass must be positive"),
        ({"restitution": 0.9, "radius": [0.5, 0.5]}, "radius must be one number or one per particle; got 2"),
        ({"restitution": 0.9, "radius": 6.0}, "every particle must fit in the box"),
        ({"restitution": 0.9, "n_particles": 0}, "n_particles must be an integer of at least 1"),
        ({"restitution": 0.9, "box": (1.0,)}, "box must be a width and a height"),
        ({"restitution": 0.9, "interval": 0.0}, "interval must be positive"),
        ({"restitution": 0.9, "gravity": float("inf")}, "gravity must be a finite number"),
    ],
)
def test_systems_that_cannot_be_are_refused(fields, rule):
    with pytest.raises(InputError, match=rule):
        ParticleSystem(**fields)


def overlapping(x, v):
    x[1, 3] = x[1, 2] + [0.4, 0.0]
    return x, v


def in_the_wall(x, v):
    x[0, 5, 0] = 0.2
    return x, v


def outside(x, v):
    x[0, 5, 0] = -0.2
    return x, v


def not_finite(x, v):
    v[1, 4, 0] = np.nan
    return x, v


@pytest.mark.parametrize(
    "change, rule",
    [
        (overlapping, "must not overlap each other; got .* for particles 2 and . of system 1|particles . and 3"),
        (in_the_wall, "must not overlap a wall; got 0.3 of overlap for particle 5 of system 0"),
        (outside, "must lie in the box"),
        (not_finite, "v must be finite; got .* for particle 4 of system 1"),
        (lambda x, v: (x[:, :5], v[:, :5]), r"x must have shape \[systems, 16, 2\]"),
    ],
)
def test_states_that_cannot_be_are_refused(change, rule):
    x, v = change(*start(SYSTEM, 2))
    with pytest.raises(InputError, match=rule):
        simulate(SYSTEM, x, v, 1)


def test_overlap_may_be_allowed():
    x, v = in_the_wall(*start(SYSTEM, 2))
    assert np.isfinite(simulate(SYSTEM, x, v, 1, check_overlap=False).positions).all()


@pytest.mark.parametrize(
    "options, rule",
    [
        ({"dt": 0.05}, "dt must be below the stability bound"),
        ({"dt": 0.006}, "dt must be at most 1/10 of the contact time"),
        ({"dt": -1.0}, "dt must be positive and finite"),
        ({"integrator": "euler"}, "integrator must be one of averaged, verlet; got 'euler'"),
        ({"threads": 0}, "threads must be at least 1; got 0"),
        ({"n_intervals": 0}, "n_intervals must be an integer of at least 1"),
    ],
)
def test_steps_that_cannot_be_taken_are_refused(options, rule):
    with pytest.raises(InputError, match=rule):
        simulate(SYSTEM, *start(SYSTEM, 1), **({"n_intervals": 1} | options))


def test_a_coarse_step_is_warned_of():
    with pytest.warns(UserWarning, match="only 1.* steps per contact"):
        simulate(SYSTEM, *start(SYSTEM, 1), 1, dt=SYSTEM.contact_time / 12)


def test_discs_that_go_through_each_other_are_not_passed_off_as_physics():
    x, v = start(SYSTEM, 4, velocity_std=100.0)
    with pytest.raises(InputError, match="contacts must be stiff enough for the speeds"):
        simulate(SYSTEM, x, v, 1)
