"""Heads built by hand are recognised for what they are, by each of the views."""

import numpy as np
import pytest
import torch

from lightning_physim.inside import Simulator, Views, free_twins, look_inside
from lightning_physim.inside.cases import colliding_cases
from lightning_physim.physics import sample_initial_states
from tests.helpers.by_hand import FREE_SPACE, NEAREST, PARTNER, TARGET, UNIFORM, HandMade

SIMULATOR = Simulator(FREE_SPACE, TARGET)
OTHERS = FREE_SPACE.n_particles - 1
REACH = torch.full((6, 6), 0.12)


@pytest.fixture(scope="module")
def probe():
    """States on the way of particles in a box, which it is not there to hold any more, and who touches whom next."""
    positions, velocities = sample_initial_states(FREE_SPACE, 400, seed=0, velocity_std=1.0)
    states = torch.from_numpy(np.concatenate((positions, velocities), -1)).float()
    return states, SIMULATOR(states)[1]


@pytest.fixture(scope="module")
def views(probe) -> Views:
    return look_inside(HandMade(), *probe, REACH, FREE_SPACE.interval, SIMULATOR)


def test_the_circuit_tells_distance_from_approach(views):
    circuit = views.circuit
    by_distance, by_both = circuit.by_distance[0], circuit.by_both[0]
    assert circuit.spread[0, UNIFORM] == 0 and np.isnan(by_both[UNIFORM])
    assert by_distance[NEAREST] > 0.99 and abs(by_both[NEAREST] - by_distance[NEAREST]) < 0.01
    assert by_both[PARTNER] > by_distance[PARTNER] + 0.1


def test_the_map_of_the_nearest_is_minus_its_square(views):
    circuit = views.circuit
    middle = (circuit.distance[1:] + circuit.distance[:-1]) / 2 * 0.12
    wanted = -400.0 * middle**2
    found = circuit.map[0, NEAREST][:, 5:7]  # cells about no approach, where there are most pairs
    np.testing.assert_allclose(found - found[0], np.repeat((wanted - wanted[0])[:, None], 2, 1), atol=1.5)
    assert np.ptp(circuit.map[0, PARTNER][0]) > 30  # and the other head looks at the approach, right at contact


def test_patching_takes_from_each_head_what_it_gives(views):
    lost, restored = views.patching.lost[0], views.patching.restored[0]
    assert lost.sum() == pytest.approx(1, abs=1e-5) and restored.sum() == pytest.approx(1, abs=1e-5)
    # A uniform head has a part in OTHERS of what the head that looks at the partner alone has.
    assert lost[UNIFORM] / lost[PARTNER] == pytest.approx(1 / OTHERS, rel=0.03)
    assert lost[UNIFORM] < lost[NEAREST] < lost[PARTNER]
    assert views.patching.whole == pytest.approx(lost.sum() / lost[PARTNER], rel=0.03)


def test_the_intervention_follows_what_a_head_sees(views):
    seen = views.intervention
    assert seen.finds[0, PARTNER] > 0.97 > seen.finds[0, NEAREST] + 0.02 > 0.6
    assert seen.finds[0, UNIFORM] == pytest.approx(1 / OTHERS, abs=0.1)
    # Not exactly 1 and 1 / OTHERS: now and then three meet.
    assert seen.through[0, PARTNER] == pytest.approx(1, abs=0.06) and seen.through_error[0, PARTNER] < 0.03
    assert seen.through[0, UNIFORM] == pytest.approx(1 / OTHERS, abs=0.02)
    # What a uniform head sees least it sees as well as any, and the partner head not at all.
    assert seen.control[0, UNIFORM] == pytest.approx(1 / OTHERS, abs=0.02)
    assert abs(seen.control[0, PARTNER]) < 0.04 < seen.control[0, NEAREST] < 0.2
    assert (seen.slope[0] > seen.through[0]).all() and (seen.correlation[0] > 0.8).all()


def test_a_twin_differs_in_the_place_of_one_particle_and_is_free(probe):
    states, contacts = probe
    cases, twins, exact = free_twins(colliding_cases(states, contacts, REACH, 100), SIMULATOR)
    changed = (twins != cases.states).any(-1)
    assert 50 < len(twins) <= 100 and (changed.sum(-1) == 1).all()
    assert changed[torch.arange(len(twins)), cases.partner].all()
    assert torch.equal(twins[..., 2:], cases.states[..., 2:])
    residual = cases.of_query(SIMULATOR(twins)[0])
    assert residual.abs().max() < 1e-4 < exact.norm(dim=-1).min()


def test_views_come_back_from_their_arrays_and_lack_what_nobody_can_know(views, probe):
    arrays = views.arrays()
    again = Views.of(arrays)
    assert again.arrays().keys() == arrays.keys()
    np.testing.assert_array_equal(again.patching.lost, views.patching.lost)
    states, contacts = probe[0][:20], probe[1][:20]
    alone = look_inside(HandMade(), states, contacts, REACH, FREE_SPACE.interval, None)
    assert alone.patching is None and alone.intervention is None and Views.of(alone.arrays()).patching is None
    calm = look_inside(HandMade(), states, torch.zeros_like(contacts), REACH, FREE_SPACE.interval, SIMULATOR)
    assert calm.patching is None and calm.circuit.pairs.sum() > 0
