"""Laws that hold for every system and every state, tried on drawn ones."""

from dataclasses import asdict, replace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lightning_physim.physics import ParticleSystem, Trajectory, sample_initial_states, simulate

N_INTERVALS = 4


class Scene(NamedTuple):
    """A system of unequal discs and states of it, ``[systems, particles, 2]``."""

    system: ParticleSystem
    x: np.ndarray
    v: np.ndarray


@st.composite
def scenes(draw, **fixed) -> Scene:
    """A few discs, so crowded that most of them collide; ``fixed`` are fields of the system."""
    n = draw(st.integers(2, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    radii, masses = rng.uniform(0.3, 0.6, n), rng.uniform(0.5, 2.0, n)
    width = 2.2 * np.sqrt(n * np.square(radii).mean() / draw(st.floats(0.35, 0.55)))
    fields = {
        "n_particles": n,
        "box": (float(width), float(width * draw(st.floats(1.0, 1.5)))),
        "radius": radii.tolist(),
        "mass": masses.tolist(),
        "restitution": draw(st.floats(0.4, 1.0)),
        "gravity": draw(st.sampled_from([0.0, 1.0])),
        "walls": draw(st.booleans()),
    }
    system = ParticleSystem(**(fields | fixed))
    return Scene(system, *sample_initial_states(system, 4, seed=int(rng.integers(2**31)), velocity_std=2.0))


def end(scene: Scene, integrator: str = "averaged") -> Trajectory:
    return simulate(*scene, N_INTERVALS, integrator)


def gaps(system: ParticleSystem, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Room between particles ``[..., particles, particles]``, endless for one with itself, and to the walls
    ``[..., particles, 4]``; negative where two overlap. States ``x`` are ``[..., particles, 2]``."""
    radii = system.radii
    distance = np.linalg.norm(x[..., :, None, :] - x[..., None, :, :], axis=-1) - (radii[:, None] + radii)
    distance[..., np.eye(len(radii), dtype=bool)] = np.inf
    walls = np.concatenate((x, np.array(system.box) - x), axis=-1) - radii[:, None]
    return distance, walls if system.walls else np.full_like(walls, np.inf)


def energy(system: ParticleSystem, run: Trajectory) -> np.ndarray:
    """Kinetic, gravitational and elastic energy ``[systems, times]``."""
    x, v = run.positions, run.velocities
    pairs, walls = (np.minimum(room, 0.0) for room in gaps(system, x))
    elastic = 0.25 * system.pair_contact[0] * np.square(pairs).sum((-1, -2))
    elastic = elastic + 0.5 * system.wall_contact[0] * np.square(walls).sum((-1, -2))
    kinetic = 0.5 * (system.masses * np.square(v).sum(-1)).sum(-1)
    return kinetic + elastic + system.gravity * (system.masses * x[..., 1]).sum(-1)


both_integrators = pytest.mark.parametrize("integrator", ["averaged", "verlet"])


@both_integrators
@given(scene=scenes(walls=False, gravity=0.0))
def test_momentum_is_conserved_without_walls_and_gravity(integrator, scene):
    run = end(scene, integrator)
    momentum = np.einsum("n,stnk->stk", scene.system.masses, run.velocities)
    np.testing.assert_allclose(momentum, np.broadcast_to(momentum[:, :1], momentum.shape), atol=1e-11)


@both_integrators
@given(scene=scenes(restitution=0.6))
def test_energy_never_rises_where_contacts_are_damped(integrator, scene):
    total = energy(scene.system, end(scene, integrator))
    scale = np.abs(total).max()
    assert np.diff(total, axis=1).max() < 1e-3 * scale


@given(scene=scenes(walls=False, gravity=0.0), drift=st.tuples(st.floats(-3, 3), st.floats(-3, 3)))
def test_a_moving_observer_sees_the_same_collisions(scene, drift):
    run = end(scene)
    moving = end(scene._replace(v=scene.v + np.array(drift)))
    np.testing.assert_allclose(moving.velocities - drift, run.velocities, atol=1e-6)
    np.testing.assert_allclose(moving.positions - run.times[:, None, None] * drift, run.positions, atol=1e-8)


@given(scene=scenes(), data=st.data())
def test_the_names_of_the_particles_do_not_matter(scene, data):
    system, x, v = scene
    order = list(data.draw(st.permutations(range(system.n_particles))))
    renamed = replace(system, radius=system.radii[order].tolist(), mass=system.masses[order].tolist())
    run, permuted = end(scene), end(Scene(renamed, x[:, order], v[:, order]))
    np.testing.assert_allclose(permuted.positions, run.positions[:, :, order], atol=1e-9)
    assert np.array_equal(permuted.contacts, run.contacts[:, :, order][..., order])
    assert np.array_equal(permuted.wall_contacts, run.wall_contacts[:, :, order])


@given(scene=scenes(), axis=st.sampled_from([0, 1]))
def test_mirror_images_stay_mirror_images(scene, axis):
    assume(axis == 0 or scene.system.gravity == 0)
    mirror, shift = np.ones(2), np.zeros(2)
    mirror[axis], shift[axis] = -1.0, scene.system.box[axis]
    run, mirrored = end(scene), end(scene._replace(x=scene.x * mirror + shift, v=scene.v * mirror))
    np.testing.assert_allclose(mirrored.positions, run.positions * mirror + shift, atol=1e-8)


@given(scene=scenes(), power=st.tuples(*[st.integers(-3, 3)] * 3))
def test_any_units_of_length_time_and_mass_give_the_same_motion(scene, power):
    length, time, mass = (2.0**p for p in power)
    old = asdict(scene.system)
    new = old | {
        "box": tuple(side * length for side in old["box"]),
        "radius": [r * length for r in old["radius"]],
        "mass": [m * mass for m in old["mass"]],
        "stiffness": old["stiffness"] * mass / time**2,
        "gravity": old["gravity"] * length / time**2,
        "interval": old["interval"] * time,
    }
    run, other = end(scene), end(Scene(ParticleSystem(**new), scene.x * length, scene.v * length / time))
    np.testing.assert_allclose(other.positions / length, run.positions, atol=1e-9)
    assert np.array_equal(other.contacts, run.contacts)


@both_integrators
@given(scene=scenes())
def test_the_future_depends_on_nothing_but_the_state(integrator, scene):
    run, half = end(scene, integrator), N_INTERVALS // 2
    # Inside a contact an integrator also carries the force of its last step.
    apart = [room.min((-1, -2)) > 0.02 for room in gaps(scene.system, run.positions[:, half])]
    chosen = np.logical_and(*apart)
    assume(chosen.any())
    x, v = run.positions[chosen], run.velocities[chosen]
    rest = simulate(scene.system, x[:, half], v[:, half], half, integrator)
    np.testing.assert_allclose(rest.positions, x[:, half:], atol=1e-9)
    np.testing.assert_allclose(rest.velocities, v[:, half:], atol=1e-7)
    assert np.array_equal(rest.contacts, run.contacts[chosen, half:])
