"""The parts of the views, against closed forms and brute force."""

import numpy as np
import pytest
import torch
from torch import nn

from lightning_physim.inside import alignment, attention_scores, fit_circuit, is_clear, pair_motion, put_away, share
from lightning_physim.inside.cases import Cases, shifted
from lightning_physim.inside.intervention import seen_and_unseen
from tests.helpers.by_hand import HandMade
from tests.helpers.systems import SIX


def random_states(n: int, particles: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, particles, 4, generator=generator)


def test_the_motion_of_a_pair_is_that_of_its_gap():
    states = random_states(3).double()
    distance, approach = pair_motion(states, torch.full((6, 6), 0.2), 1e-4)
    later = states.clone()
    later[..., :2] += 1e-4 * states[..., 2:]
    after, _ = pair_motion(later, torch.full((6, 6), 0.2), 1e-4)
    torch.testing.assert_close(distance - after, approach, atol=1e-6, rtol=1e-4)
    assert distance[0, 1, 2] == pytest.approx(torch.dist(states[0, 1, :2], states[0, 2, :2]).item() / 0.2)


def test_the_fit_finds_the_fraction_that_was_put_in_and_forgives_levels_and_cells():
    n_systems, n = 400, 6
    generator = torch.Generator().manual_seed(1)
    distance = 1 + 3 * torch.rand(n_systems, n, n, generator=generator)
    approach = 3 * torch.rand(n_systems, n, n, generator=generator) - 1.5
    noise, level = torch.randn(n_systems, n, n, generator=generator), torch.randn(n_systems, n, 1, generator=generator)
    near, fast = (distance < 2).float(), (approach > 0).float()
    kinds = (noise, 100 * level + near, near + 2 * fast, near + noise)
    circuit = fit_circuit(torch.stack(kinds, 1).unsqueeze(0), distance, approach)
    # Variances of the indicators are 2/9 and 1/4, that of the noise 1.
    wanted_distance, wanted_both = (
        (0, 1, (2 / 9) / (2 / 9 + 1), (2 / 9) / (2 / 9 + 1)),
        (0, 1, 1, (2 / 9) / (2 / 9 + 1)),
    )
    np.testing.assert_allclose(circuit.by_distance[0], wanted_distance, atol=0.02)
    np.testing.assert_allclose(circuit.by_both[0], wanted_both, atol=0.02)
    steps = circuit.map[0, 2]
    assert steps[0, -1] - steps[-1, 0] == pytest.approx(3, abs=1e-4)
    assert np.nansum(circuit.map[0, 0] * circuit.pairs) == pytest.approx(0, abs=1e-6)
    assert circuit.pairs.sum() == n_systems * n * (n - 1)


def test_a_network_that_shows_attention_alone_has_the_same_circuit():
    class Shell(nn.Module):
        def attention(self, states):
            return HandMade().attention(states)

    states = random_states(200)
    motion = pair_motion(states, torch.full((6, 6), 0.12), 0.05)
    ours, theirs = (
        fit_circuit(attention_scores(module, states), *motion, reach=2.0) for module in (HandMade(), Shell())
    )
    np.testing.assert_allclose(theirs.by_both[0, 1:], ours.by_both[0, 1:], atol=0.03)  # the far tail ends at 1e-38
    np.testing.assert_allclose(theirs.map[0, 1], ours.map[0, 1], atol=1e-2)


def test_a_share_of_unit_changes_is_a_mean_with_the_error_of_a_mean_over_states():
    generator = torch.Generator().manual_seed(2)
    whole = nn.functional.normalize(torch.randn(5, 4, generator=generator).double(), dim=-1)
    slopes = torch.rand(5, generator=generator).double()
    found = share(slopes[:, None] * whole, whole, torch.arange(5))
    assert found.value == pytest.approx(slopes.mean()) and found.error == pytest.approx(slopes.std() / 5**0.5)
    # Three cases of a state that say the same are no three witnesses.
    thrice = (slopes[:, None] * whole).repeat(3, 1), whole.repeat(3, 1), torch.arange(5).repeat(3)
    assert share(*thrice).error == pytest.approx(found.error)


def test_a_share_has_the_error_that_it_scatters_by():
    generator = torch.Generator().manual_seed(3)
    whole, noise = torch.randn(2, 300, 60, 4, generator=generator)
    found = share(0.3 * whole + noise, whole, torch.arange(60))
    z = (found.value - 0.3) / found.error
    assert 0.9 < z.std() < 1.15 and abs(z.mean()) < 0.2


def test_a_share_leaves_out_what_was_not_moved():
    whole, group = torch.randn(10, 4), torch.arange(10)
    part = 0.25 * whole
    part[3] = torch.nan
    assert share(part, whole, group).value == pytest.approx(0.25)
    assert share(part, whole, group).error == pytest.approx(0, abs=1e-6)
    assert alignment(part, whole) == pytest.approx(1) and alignment(-part, whole) == pytest.approx(-1)
    assert share(part[:1], whole[:1], group[:1]).error.isnan()
    assert share(0 * whole, 0 * whole, group).value.isnan() and alignment(0 * whole, whole).isnan()


def test_the_seen_are_the_most_and_the_least_attended():
    attention = torch.tensor([[0.0, 0.5, 0.2, 0.3], [0.1, 0.0, 0.2, 0.7], [0.3, 0.3, 0.0, 0.4], [0.2, 0.5, 0.3, 0.0]])
    near = torch.tensor([[0, 1, 1, 1], [1, 0, 1, 1], [0, 0, 0, 1], [0, 1, 0, 0]]).bool()
    queries = torch.arange(4)
    seen, unseen = seen_and_unseen(attention.expand(1, 4, 2, 4, 4), near.expand(4, 4, 4), queries)
    assert seen[0, 1].tolist() == [1, 3, 3, 1]
    assert unseen[0, 1].tolist() == [2, 0, -1, -1]


def test_moves_are_away_left_and_right_by_the_fraction():
    states = random_states(5)
    cases = Cases(states, torch.zeros(5).long(), torch.ones(5).long(), torch.arange(5))
    key = torch.full((5,), 2)
    moved = shifted(cases, key, torch.full((6, 6), 0.2), 0.25)
    step = (moved - states)[:, :, 2, :2]
    line = states[:, 2, :2] - states[:, 0, :2]
    torch.testing.assert_close(step.norm(dim=-1), torch.full((3, 5), 0.05))
    across = line[:, 0] * step[:, :, 1] - line[:, 1] * step[:, :, 0]
    assert (across[1] > 0).all() and (across[2] < 0).all() and across[0].abs().max() < 1e-6
    assert ((step[0] * line).sum(-1) > 0).all()
    assert ((moved - states).abs().sum((0, 1, 3)) > 0).nonzero().tolist() == [[2]]


def test_who_is_put_away_is_alone_and_who_overlaps_is_not_clear():
    states, reach = random_states(50), torch.full((6, 6), 0.16)
    particle = torch.arange(50) % 6
    away = put_away(states, particle, SIX)
    assert is_clear(away, particle, reach, SIX.box).float().mean() > 0.9
    for state, i, clear in zip(states, particle, is_clear(states, particle, reach, SIX.box), strict=True):
        place = state[i, :2]
        apart = all(torch.dist(place, other[:2]) >= 0.16 for j, other in enumerate(state) if j != i)
        assert clear == (apart and bool(((place >= 0.08) & (place <= 0.92)).all()))
