"""Initial states: no overlaps at any packing that exists, and streams that depend on nothing but their index."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kstest

from lightning_physim.errors import InputError
from lightning_physim.physics import ParticleSystem, sample_initial_states
from lightning_physim.physics.initial import _throw

SYSTEM = ParticleSystem(n_particles=16, restitution=0.9)


def gaps(system: ParticleSystem, x: np.ndarray) -> np.ndarray:
    """Smallest free distance of each system, between discs or between a disc and a wall."""
    between = np.linalg.norm(x[:, :, None] - x[:, None], axis=-1) - system.radii[:, None] - system.radii
    between[:, np.arange(len(system.radii)), np.arange(len(system.radii))] = np.inf
    to_walls = np.minimum(x, np.array(system.box) - x).min(-1) - system.radii
    return np.minimum(between.min((1, 2)), to_walls.min(1))


def test_a_trajectory_depends_on_its_index_alone():
    x, v = sample_initial_states(SYSTEM, 10, seed=5)
    for first, count in ((0, 3), (3, 1), (4, 6)):
        x_part, v_part = sample_initial_states(SYSTEM, count, seed=5, first_index=first)
        assert np.array_equal(x_part, x[first : first + count]) and np.array_equal(v_part, v[first : first + count])


@pytest.mark.parametrize("other", [{"seed": 6}, {"split": "val"}, {"first_index": 10}])
def test_seeds_splits_and_indices_share_nothing(other):
    x, v = sample_initial_states(SYSTEM, 10, **({"seed": 5} | {}))
    x_other, v_other = sample_initial_states(SYSTEM, 10, **({"seed": 5} | other))
    assert not np.isin(x_other, x).any() and not np.isin(v_other, v).any()


def test_velocities_are_normal_and_a_dilute_gas_is_uniform():
    system = replace(SYSTEM, radius=0.01)
    x, v = sample_initial_states(system, 500, velocity_std=1.5)
    assert kstest(v.ravel() / 1.5, "norm").pvalue > 1e-3
    for axis in (0, 1):
        assert kstest((x[..., axis].ravel() - 0.01) / 9.98, "uniform").pvalue > 1e-3


@pytest.mark.parametrize(
    "n, radius",
    [(16, 0.5), (64, 0.5), (80, 0.5), (90, 0.5), (100, 0.5), (10, [0.2, 0.9] * 5), (28, [0.5, 1.0] * 14)],
)
def test_discs_never_overlap(n, radius):
    system = ParticleSystem(n_particles=n, radius=radius, restitution=0.9)
    x, _ = sample_initial_states(system, 5)
    assert gaps(system, x).min() > -1e-12
    # Stirred, not the same arrangement again and again; a perfect square packing alone has nowhere to go.
    if system.packing_fraction < 0.78:
        assert np.abs(np.sort(x[0], axis=0) - np.sort(x[1], axis=0)).max() > 1e-3


@pytest.mark.parametrize("n, radius", [(130, 0.5), (30, [0.5, 1.4] * 15), (2, [3.0, 2.9])])
def test_packings_that_do_not_exist_are_refused_with_the_reason(n, radius):
    system = ParticleSystem(n_particles=n, radius=radius, restitution=0.9)
    with pytest.raises(InputError, match="the particles must fit in the box; got"):
        sample_initial_states(system, 1)


@pytest.mark.parametrize(
    "options", [{"n_systems": 0}, {"n_systems": 1, "seed": -1}, {"n_systems": 1, "velocity_std": float("nan")}]
)
def test_bad_requests_are_refused(options):
    with pytest.raises(InputError, match="must be"):
        sample_initial_states(SYSTEM, **options)


@pytest.mark.parametrize("n, side", [(12, 4.2), (90, 11.0)])
def test_cells_find_every_disc_in_the_way(n, side):
    """Random sequential addition as it is defined: one throw after the other, against all that have their place."""
    rng = np.random.default_rng(3)
    radii, box, uniform = rng.uniform(0.3, 0.6, n), np.array([side, side]), rng.random((40 * n, 2))
    order = np.argsort(-radii, kind="stable")
    expected, placed = np.full((n, 2), np.nan), 0
    for throw in uniform:
        if placed == n:
            break
        i = order[placed]
        place = radii[i] + throw * (box - 2 * radii[i])
        there = order[:placed]
        if (np.square(expected[there] - place).sum(-1) >= (radii[there] + radii[i]) ** 2).all():
            expected[i], placed = place, placed + 1
    assert placed > 10
    found = np.full((n, 2), np.nan)
    half = len(uniform) // 2
    first = _throw(uniform[:half], radii, box, order, 0, found)
    assert _throw(uniform[half:], radii, box, order, first, found) == placed
    np.testing.assert_allclose(found, expected, rtol=1e-13)
