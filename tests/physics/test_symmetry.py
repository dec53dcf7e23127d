"""What no integrator may break: conservation laws, symmetries, order of convergence."""

from dataclasses import replace

import numpy as np
import pytest

from lightning_physim.physics import ParticleSystem, sample_initial_states, simulate

INTEGRATORS = ["verlet", "averaged"]
BOX = ParticleSystem(n_particles=20, restitution=0.9, gravity=1.0, interval=1.0)
FREE = replace(BOX, walls=False, gravity=0.0)


def start(system: ParticleSystem, n_systems: int = 4) -> tuple[np.ndarray, np.ndarray]:
    return sample_initial_states(system, n_systems, seed=7, velocity_std=1.5)


def end(system: ParticleSystem, x: np.ndarray, v: np.ndarray, integrator: str) -> tuple[np.ndarray, np.ndarray]:
    run = simulate(system, x, v, 1, integrator, dt=1e-3)
    assert run.contacts.any()
    return run.positions[:, 1], run.velocities[:, 1]


def energy(system: ParticleSystem, x: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Kinetic, gravitational and elastic energy of states ``[..., particles, 2]``."""
    stiffness, _ = system.pair_contact
    wall, _ = system.wall_contact
    gaps = np.linalg.norm(x[..., :, None, :] - x[..., None, :, :], axis=-1) - 2 * system.radii[0]
    gaps[..., np.arange(system.n_particles), np.arange(system.n_particles)] = 0.0
    elastic = 0.25 * stiffness * np.square(np.minimum(gaps, 0)).sum((-1, -2))
    if system.walls:
        room = np.minimum(x, np.array(system.box) - x) - system.radii[0]
        elastic = elastic + 0.5 * wall * np.square(np.minimum(room, 0)).sum((-1, -2))
    kinetic = 0.5 * np.square(v).sum((-1, -2))
    return kinetic + elastic + system.gravity * x[..., 1].sum(-1)


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_momentum_and_angular_momentum_are_conserved_without_walls(integrator):
    x, v = start(FREE)
    x_end, v_end = end(FREE, x, v, integrator)
    assert np.abs(v_end.sum(1) - v.sum(1)).max() < 1e-11

    def angular(x, v):
        return (x[..., 0] * v[..., 1] - x[..., 1] * v[..., 0]).sum(-1)

    assert np.abs(angular(x_end, v_end) - angular(x, v)).max() < 1e-9


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_a_moving_observer_sees_the_same(integrator):
    x, v = start(FREE)
    drift = np.array([0.7, -0.3])
    x_end, v_end = end(FREE, x, v, integrator)
    x_moving, v_moving = end(FREE, x, v + drift, integrator)
    assert np.abs(x_moving - drift - x_end).max() < 1e-8
    assert np.abs(v_moving - drift - v_end).max() < 1e-6


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_the_order_of_particles_does_not_matter(integrator):
    x, v = start(BOX)
    order = np.random.default_rng(0).permutation(BOX.n_particles)
    x_end, _ = end(BOX, x, v, integrator)
    x_permuted, _ = end(BOX, x[:, order], v[:, order], integrator)
    assert np.abs(x_permuted - x_end[:, order]).max() < 1e-9


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_mirror_images_stay_mirror_images(integrator):
    x, v = start(BOX)
    mirror, shift = np.array([-1.0, 1.0]), np.array([10.0, 0.0])
    x_end, _ = end(BOX, x, v, integrator)
    x_mirror, _ = end(BOX, x * mirror + shift, v * mirror, integrator)
    assert np.abs(x_mirror - (x_end * mirror + shift)).max() < 1e-8


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_the_axes_are_alike_without_gravity(integrator):
    system = replace(BOX, gravity=0.0)
    x, v = start(system)
    x_end, _ = end(system, x, v, integrator)
    x_swapped, _ = end(system, x[..., ::-1], v[..., ::-1], integrator)
    assert np.abs(x_swapped[..., ::-1] - x_end).max() < 1e-8


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_elastic_energy_is_kept_to_second_order(integrator):
    system = replace(BOX, restitution=1.0, interval=0.5)
    x, v = start(system)
    worst = {}
    for dt, tolerance in ((1e-3, 1e-3), (2.5e-4, 1e-4)):
        run = simulate(system, x, v, 20, integrator, dt=dt)
        total = energy(system, run.positions, run.velocities)
        worst[dt] = np.abs(total / total[:, :1] - 1).max()
        assert worst[dt] < tolerance
    assert worst[1e-3] / worst[2.5e-4] > 8


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_damped_energy_only_falls(integrator):
    system = replace(BOX, restitution=0.5, interval=1e-3)  # a state every step
    x, v = start(system)
    run = simulate(system, x, v, 4000, integrator, dt=1e-3)
    total = energy(system, run.positions, run.velocities)
    assert np.diff(total, axis=1).max() < 1e-12 * total.max()
    assert (total[:, -1] < 0.9 * total[:, 0]).all()


def test_verlet_runs_backwards_where_nothing_is_damped():
    system = replace(BOX, restitution=1.0)
    x, v = start(system)
    x_end, v_end = end(system, x, v, "verlet")
    back = simulate(system, x_end, -v_end, 1, "verlet", dt=1e-3, check_overlap=False)
    assert np.abs(back.positions[:, 1] - x).max() < 1e-9


def test_averaged_converges_in_second_order_through_damped_contacts_and_verlet_in_first():
    system = replace(BOX, interval=0.5)
    x, v = start(system, 16)
    exact = simulate(system, x, v, 1, "averaged", dt=2e-5).positions[:, 1]

    def error(integrator, dt):
        return np.median(np.abs(simulate(system, x, v, 1, integrator, dt=dt).positions[:, 1] - exact).max((1, 2)))

    averaged = error("averaged", 2e-3) / error("averaged", 2.5e-4)  # 64 in second order
    verlet = error("verlet", 2e-3) / error("verlet", 2.5e-4)  # 8 in first
    assert averaged > 30
    assert 4 < verlet < 16
