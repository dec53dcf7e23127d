"""Contacts, walls and gravity against closed forms and scipy: the known answers of a linear spring-dashpot."""

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from lightning_physim.physics import ParticleSystem, simulate

STIFFNESS, APPROACH = 2000.0, 2.0
# Largest error of the restitution coefficient at about 50 and 200 steps per contact, whatever the phase of the step.
RESTITUTION_TOLERANCE = {"verlet": {50: 1e-2, 200: 2e-3}, "averaged": {50: 5e-4, 200: 5e-5}}


def pair(**options) -> ParticleSystem:
    """Two discs of diameter 1 in free space."""
    values = {"n_particles": 2, "walls": False, "gravity": 0.0, "stiffness": STIFFNESS, "interval": 0.4} | options
    return ParticleSystem(**values)


def head_on(system: ParticleSystem, phases: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """States in which the second disc runs into the first after a time that differs a little from one to the next."""
    gap = 0.1 + np.random.default_rng(0).random(phases) * 0.02
    x, v = np.zeros((phases, 2, 2)), np.zeros((phases, 2, 2))
    x[:, 0] = 5.0
    x[:, 1, 0], x[:, 1, 1] = 5.0 + system.radii.sum() + gap, 5.0
    v[:, 1, 0] = -APPROACH
    return x, v


def contact_by_scipy(stiffness: float, gamma: float, m_eff: float, clipped: bool) -> tuple[float, float, float]:
    """Restitution, duration and largest overlap of a binary contact, from its equation of motion."""

    def force(delta, rate):
        return stiffness * delta + m_eff * gamma * rate

    def leaves(t, s):
        return (force(*s) if clipped else s[0]) if t > 1e-9 else 1.0

    leaves.terminal, leaves.direction = True, -1
    run = solve_ivp(
        lambda t, s: [s[1], -force(*s) / m_eff],
        (0, 1),
        [0.0, 1.0],
        events=leaves,
        rtol=1e-11,
        atol=1e-13,
        max_step=1e-3,
    )
    return -run.y[1, -1], run.t[-1], run.y[0].max()


@pytest.mark.parametrize("integrator", ["verlet", "averaged"])
@pytest.mark.parametrize("steps", [50, 200])
@pytest.mark.parametrize("restitution", [0.9, 0.95, 1.0])
def test_a_head_on_collision_returns_the_restitution_asked_for(integrator, steps, restitution):
    system = pair(restitution=restitution)
    x, v = head_on(system)
    run = simulate(system, x, v, 1, integrator, dt=system.contact_time / (steps + 0.37))
    leaving = run.velocities[:, 1, 1, 0] - run.velocities[:, 1, 0, 0]
    assert np.abs(leaving / APPROACH - restitution).max() < RESTITUTION_TOLERANCE[integrator][steps]


@pytest.mark.parametrize("restitution", [0.9, 0.5, 0.1])
@pytest.mark.parametrize("attractive_tail", [True, False])
def test_damping_and_contact_time_are_those_of_the_equation_of_motion(restitution, attractive_tail):
    system = pair(restitution=restitution, attractive_tail=attractive_tail)
    stiffness, gamma = system.pair_contact
    e, duration, _ = contact_by_scipy(stiffness, gamma, 0.5, not attractive_tail)
    assert e == pytest.approx(restitution, rel=1e-6)
    assert system.contact_time == pytest.approx(duration, rel=1e-5)


@pytest.mark.parametrize("integrator, tolerance", [("verlet", 1e-2), ("averaged", 2e-3)])
def test_largest_overlap_and_duration_of_a_contact(integrator, tolerance):
    duration = pair(restitution=0.9).contact_time
    system = pair(restitution=0.9, interval=duration / 50.37)  # a state every step
    x, v = head_on(system, 8)
    run = simulate(system, x, v, 160, integrator, dt=system.interval)
    overlap = 1.0 - np.linalg.norm(run.positions[:, :, 1] - run.positions[:, :, 0], axis=-1)
    _, _, deepest = contact_by_scipy(*system.pair_contact, 0.5, False)
    np.testing.assert_allclose(overlap.max(1), deepest * APPROACH, rtol=tolerance)
    for curve in overlap:
        zero = [
            run.times[i] + system.interval * curve[i] / (curve[i] - curve[i + 1])
            for i in np.flatnonzero(np.diff(np.sign(curve)))
        ]
        assert zero[1] - zero[0] == pytest.approx(duration, rel=tolerance)


@pytest.mark.parametrize("integrator, steps", [("verlet", 8000.3), ("averaged", 2000.3)])
def test_unequal_masses_part_as_momentum_and_restitution_demand(integrator, steps):
    masses = [1.0, 2.5]
    system = pair(restitution=0.8, mass=masses, radius=[0.5, 0.3])
    x, v = head_on(system)
    run = simulate(system, x, v, 1, integrator, dt=system.contact_time / steps)
    m1, m2 = masses
    mean = -m2 * APPROACH / (m1 + m2)
    expected = [mean - m2 * 0.8 * APPROACH / (m1 + m2), mean + m1 * 0.8 * APPROACH / (m1 + m2)]
    assert np.abs(run.velocities[:, 1, :, 0] - expected).max() / APPROACH < 1e-4


def test_a_wall_has_the_mass_of_the_particle_alone():
    # The same k and gamma at twice the effective mass: e_wall = exp(-gamma t_wall / 2), from facts on gran/hooke.
    system = ParticleSystem(n_particles=1, restitution=0.9, gravity=0.0, interval=0.4)
    assert system.pair_contact[1] == pytest.approx(4.239785712414847)
    x, v = np.full((1, 1, 2), [5.0, 0.6]), np.full((1, 1, 2), [0.0, -APPROACH])
    run = simulate(system, x, v, 1, dt=system.contact_time / 400)
    assert run.velocities[0, 1, 0, 1] / APPROACH == pytest.approx(0.861495, abs=5e-5)
    assert run.wall_contacts.all()


def test_a_wall_of_its_own_stiffness_and_damping():
    system = ParticleSystem(
        n_particles=1, restitution=0.9, wall_stiffness=8000.0, wall_damping=9.0, gravity=0.0, interval=0.4
    )
    e, _, _ = contact_by_scipy(8000.0, 9.0, 1.0, False)
    x, v = np.full((1, 1, 2), [9.4, 5.0]), np.full((1, 1, 2), [APPROACH, 0.0])
    run = simulate(system, x, v, 1, dt=system.contact_time / 400)
    assert -run.velocities[0, 1, 0, 0] / APPROACH == pytest.approx(e, abs=5e-5)


@pytest.mark.parametrize("integrator", ["verlet", "averaged"])
def test_free_fall(integrator):
    system = ParticleSystem(n_particles=1, walls=False, restitution=0.9, gravity=9.81, interval=1.0)
    x, v = np.full((1, 1, 2), [1.0, 9.0]), np.full((1, 1, 2), [0.3, 2.0])
    run = simulate(system, x, v, 1, integrator, dt=1e-3)
    np.testing.assert_allclose(run.positions[0, 1, 0], [1.3, 9.0 + 2.0 - 0.5 * 9.81], atol=1e-10)
    np.testing.assert_allclose(run.velocities[0, 1, 0], [0.3, 2.0 - 9.81], atol=1e-10)


@pytest.mark.parametrize("integrator", ["verlet", "averaged"])
def test_a_particle_at_rest_sinks_by_its_weight_over_the_stiffness(integrator):
    system = ParticleSystem(n_particles=1, damping=20.0, gravity=1.0, interval=20.0)
    x, v = np.full((1, 1, 2), [5.0, 0.5]), np.zeros((1, 1, 2))
    run = simulate(system, x, v, 1, integrator, dt=1e-3)
    assert run.positions[0, 1, 0, 1] == pytest.approx(0.5 - 1.0 / STIFFNESS, abs=1e-12)


def bouncing_ball(height: float, gamma: float, times: np.ndarray) -> np.ndarray:
    """Height of the centre of a disc of radius 0.5 under gravity 1: flight in closed form, contacts by scipy."""
    t, y, v = 0.0, height, 0.0
    out = np.empty_like(times)
    while t <= times[-1]:
        lands = t + v + math.sqrt(v * v + 2 * (y - 0.5))
        inside = (times >= t) & (times < lands)
        out[inside] = y + v * (times[inside] - t) - 0.5 * (times[inside] - t) ** 2
        v, y, t = v - (lands - t), 0.5, lands

        def leaves(s, state, start=lands):
            return state[0] - 0.5 if s > start + 1e-9 else -1.0

        leaves.terminal, leaves.direction = True, 1
        run = solve_ivp(
            lambda s, state: [state[1], -1.0 + STIFFNESS * (0.5 - state[0]) - gamma * state[1]],
            (t, t + 1), [y, v], events=leaves, rtol=1e-11, atol=1e-13, max_step=1e-3, dense_output=True,
        )  # fmt: skip
        inside = (times >= t) & (times < run.t[-1])
        if inside.any():
            out[inside] = run.sol(times[inside])[0]
        t, (y, v) = run.t[-1], run.y[:, -1]
        y = 0.5
    return out


@pytest.mark.parametrize(
    "integrator, steps, tolerance", [("verlet", 50, 3e-2), ("averaged", 50, 3e-2), ("averaged", 200, 3e-3)]
)
def test_a_bouncing_ball_follows_the_exact_solution(integrator, steps, tolerance):
    pairs = pair(restitution=0.9)
    gamma = pairs.pair_contact[1]
    system = ParticleSystem(n_particles=1, restitution=0.9, gravity=1.0, interval=0.1)
    x, v = np.full((1, 1, 2), [5.0, 3.0]), np.zeros((1, 1, 2))
    run = simulate(system, x, v, 80, integrator, dt=pairs.contact_time / steps)
    exact = bouncing_ball(3.0, gamma, run.times)
    assert np.abs(run.positions[0, :, 0, 1] - exact).max() < tolerance
