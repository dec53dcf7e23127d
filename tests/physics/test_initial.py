"""Initial states: no overlaps at any packing that exists, and streams that depend on nothing but their index."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kstest

from lightning_physim.errors import InputError
from lightning_physim.physics import ParticleSystem, sample_initial_states

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
