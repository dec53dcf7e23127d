import numpy as np
import pytest

from lightning_physim.physics import ContactPairs, ParticleSystem, sample_initial_states, simulate


def test_pairs_out_of_any_order_are_those_of_a_set():
    rng = np.random.default_rng(0)
    intervals, pairs = rng.integers(0, 6, 200), np.sort(rng.integers(0, 9, (200, 2)), axis=1)
    intervals, pairs = intervals[pairs[:, 0] < pairs[:, 1]], pairs[pairs[:, 0] < pairs[:, 1]]
    intervals += intervals >= 3  # nobody touches in interval 3
    found = ContactPairs.gather(intervals, pairs, 8, 9)
    assert len(found.pairs) < len(pairs) and found.starts.shape == (9,)
    for k in range(8):
        expected = sorted({(i, j) for at, (i, j) in zip(intervals, pairs.tolist(), strict=True) if at == k})
        assert list(map(tuple, found.pairs[found.starts[k] : found.starts[k + 1]].tolist())) == expected
    assert found.starts[3] == found.starts[4] and found.starts[7] == found.starts[8]
    at = np.array([[5, 3], [0, 5]])
    dense = found.dense(at, 9)
    for place in np.ndindex(2, 2):
        chosen = found.pairs[found.starts[at[place]] : found.starts[at[place] + 1]]
        assert {tuple(pair) for pair in np.argwhere(np.triu(dense[place]))} == set(map(tuple, chosen.tolist()))
    np.testing.assert_array_equal(dense, dense.swapaxes(-1, -2))
    np.testing.assert_array_equal(found.touching(at, 9), dense.any(-1))
    assert found.touching(np.zeros((0, 2), int), 9).shape == (0, 2, 9)


@pytest.mark.parametrize("n_particles, box", [(1, 1.0), (2, 50.0)])
def test_those_who_never_meet_have_no_pairs(n_particles, box):
    system = ParticleSystem(
        n_particles=n_particles, box=(box, box), radius=0.05, stiffness=8000.0, restitution=0.9, interval=0.1
    )
    run = simulate(system, *sample_initial_states(system, 3), 4)
    assert run.contact_pairs.pairs.shape == (0, 2)
    assert run.contacts.shape == (3, 4, n_particles, n_particles) and not run.contacts.any()


def test_memory_grows_with_the_contacts():
    system = ParticleSystem(
        n_particles=3000, box=(10.0, 10.0), radius=0.05, stiffness=8000.0, restitution=0.9, interval=0.05
    )
    run = simulate(system, *sample_initial_states(system, 1), 2)
    touching = run.contact_pairs.touching(np.arange(2), 3000)
    assert 0.02 < touching.mean() < 0.9
    assert run.contact_pairs.pairs.nbytes + run.contact_pairs.starts.nbytes < 2 * 3000 * 8 * 3
