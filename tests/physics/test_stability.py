"""The stability bound: where the schemes begin to blow up, and that no pack is stiffer than the bound supposes."""

import numpy as np
import pytest

from lightning_physim.physics import ParticleSystem
from lightning_physim.physics.engine import Constants, simulate_all


def swing_at_rest(system: ParticleSystem, integrator: str, dt: float) -> float:
    """How much a particle that lies on the floor still swings after 4000 steps, over how much it swung at first.

    The engine is called directly, for :func:`simulate` refuses such steps.
    """
    sunk = system.gravity * system.mass / system.stiffness
    positions, velocities = np.empty((1, 41, 2)), np.zeros((1, 41, 2))
    positions[0, 0] = 5.0, system.radius - sunk * (1 + 1e-6)
    counts, wall_contacts = np.zeros((1, 40), np.int64), np.zeros((1, 40, 1), np.bool_)
    (pair_stiffness, pair_damping), (wall_stiffness, wall_damping) = system.pair_contact, system.wall_contact
    constants = Constants(
        radius=system.radii, mass=system.masses, box=np.array(system.box), law=system.contact_law,
        pair_stiffness=pair_stiffness, pair_damping=pair_damping, wall_stiffness=wall_stiffness,
        wall_damping=wall_damping, gravity=system.gravity, walls=True, averaged=integrator == "averaged",
        n_substeps=100, dt=dt, packing=system.packing_fraction, widest=None,
    )  # fmt: skip
    simulate_all(constants, positions, velocities, wall_contacts, counts, np.empty(1, np.bool_))
    return float(np.abs(positions[0, -1, 1] - (system.radius - sunk)) / (sunk * 1e-6))


@pytest.mark.parametrize("damping", [0.0, 20.0, 60.0])
@pytest.mark.parametrize("integrator", ["verlet", "averaged"])
def test_one_contact_is_stable_up_to_the_bound_and_not_beyond(integrator, damping):
    # Heavy enough to stay in contact while it swings: the bound is that of a linear oscillator.
    system = ParticleSystem(n_particles=1, damping=damping, gravity=50.0)
    bound = system.stable_step(integrator == "averaged")
    if damping == 0:
        assert bound == pytest.approx(2 / np.sqrt(2000.0))
    assert swing_at_rest(system, integrator, 0.98 * bound) < 20
    assert not swing_at_rest(system, integrator, 1.02 * bound) < 1000


def test_no_mode_of_a_triangular_pack_beats_the_bound():
    rows, per_row = 12, 12
    row, column = np.divmod(np.arange(rows * per_row), per_row)
    x = np.stack([column + 0.5 * (row % 2), row * np.sqrt(0.75)], -1)
    n, stiffness = len(x), 2000.0
    matrix = np.zeros((n, 2, n, 2))
    for i in range(n):
        for j in np.flatnonzero(np.abs(np.linalg.norm(x - x[i], axis=-1) - 1) < 1e-9):
            normal = x[i] - x[j]
            matrix[i, :, i] += stiffness * np.outer(normal, normal)
            matrix[i, :, j] -= stiffness * np.outer(normal, normal)
        if row[i] == 0:  # it lies on the floor
            matrix[i, 1, i, 1] += stiffness
    stiffest = np.linalg.eigvalsh(matrix.reshape(2 * n, 2 * n)).max()
    system = ParticleSystem(n_particles=n, box=(20.0, 20.0), damping=0.0)
    bound = system.stable_step(averaged=False)
    assert 0.8 * 4 / bound**2 < stiffest < 4 / bound**2
