"""Heads of two runs: matched back after they were permuted, and with the largest sum of similarities."""

import itertools

import numpy as np
import pytest
import torch

from lightning_physim.errors import InputError
from lightning_physim.model import PhysicsTransformer
from lightning_physim.probes import match_heads
from lightning_physim.probes.matching import correlations


def with_heads_in_order(network: PhysicsTransformer, orders: list[list[int]]) -> PhysicsTransformer:
    """The same function of the state, with the heads of each layer in another order."""
    other = PhysicsTransformer(n_layers=len(orders))
    other.load_state_dict(network.state_dict())
    for block, order in zip(other.blocks, orders, strict=True):
        attention = block.attention
        width = attention.output.in_features // attention.n_heads
        columns = torch.cat([torch.arange(head * width, (head + 1) * width) for head in order])
        rows = torch.cat([columns + third * attention.output.in_features for third in range(3)])
        with torch.no_grad():
            attention.qkv.weight.copy_(attention.qkv.weight[rows])
            attention.qkv.bias.copy_(attention.qkv.bias[rows])
            attention.output.weight.copy_(attention.output.weight[:, columns])
    return other


def flat_patterns(network: PhysicsTransformer, states: torch.Tensor) -> np.ndarray:
    return network.attention(states).detach().transpose(1, 2).flatten(2).numpy()


def test_permuted_copies_of_a_network_are_matched_back():
    torch.manual_seed(0)
    network, states = PhysicsTransformer(n_layers=2), torch.randn(8, 6, 4)
    orders = [[2, 0, 3, 1], [1, 0, 2, 3]]
    copy = with_heads_in_order(network, orders)
    torch.testing.assert_close(copy(states), network(states))
    features = [flat_patterns(network, states), flat_patterns(copy, states)]
    match = match_heads(features)
    for layer, order in enumerate(orders):
        assert match.partner[1, layer, :, 0].tolist() == [layer] * 4
        assert match.partner[1, layer, :, 1].tolist() == np.argsort(order).tolist()
    np.testing.assert_allclose(match.similarity, 1.0, atol=1e-5)
    np.testing.assert_allclose(match.reorder(features[1], run=1), features[0], atol=1e-6)
    assert match.partner[0].tolist() == [[[layer, head] for head in range(4)] for layer in range(2)]


def test_across_layers_a_head_finds_its_counterpart_in_another_layer():
    features = np.random.default_rng(0).normal(size=(2, 3, 20))
    swapped = features[::-1]
    assert match_heads([features, swapped]).similarity[1].mean() < 0.6
    match = match_heads([features, swapped], across_layers=True)
    assert match.partner[1, 0].tolist() == [[1, 0], [1, 1], [1, 2]]
    np.testing.assert_allclose(match.similarity, 1.0)


def test_the_sum_of_similarities_is_the_largest_there_is():
    rng = np.random.default_rng(1)
    runs = rng.normal(size=(3, 1, 5, 8))
    match = match_heads(list(runs))
    for run in (1, 2):
        alike = np.corrcoef(runs[0, 0], runs[run, 0])[:5, 5:]
        best = max(sum(alike[i, j] for i, j in enumerate(order)) for order in itertools.permutations(range(5)))
        assert match.similarity[run].sum() == pytest.approx(best)
        assert sorted(match.partner[run, 0, :, 1]) == list(range(5))


def test_features_that_say_nothing_or_are_missing():
    x = np.array([[1.0, 2.0, np.nan, 5.0], [3.0, 3.0, 3.0, 3.0]])
    y = np.array([[2.0, 1.0, 9.0, 4.0]])
    found = correlations(x, y)
    assert found[0, 0] == pytest.approx(np.corrcoef([1, 2, 5], [2, 1, 4])[0, 1])
    assert found[1, 0] == 0.0


@pytest.mark.parametrize("runs", [[], [np.zeros((2, 3))], [np.zeros((2, 3, 4)), np.zeros((2, 4, 4))]])
def test_runs_that_cannot_be_matched_are_refused(runs):
    with pytest.raises(InputError, match="all of one shape; got"):
        match_heads(runs)


def test_a_network_of_one_layer_and_one_head_is_its_own_match():
    features = np.random.default_rng(2).normal(size=(1, 1, 9))
    match = match_heads([features, -1e-3 * features])  # the size of the features plays no part
    assert match.partner.tolist() == [[[[0, 0]]], [[[0, 0]]]]
    np.testing.assert_allclose(match.similarity[:, 0, 0], [1.0, -1.0])
    assert match.reorder([[7.0]], run=1).tolist() == [[7.0]]
    tiny = match_heads([1e-3 * features, 1e-3 * features])
    np.testing.assert_allclose(tiny.similarity, 1.0)
    alone = match_heads([features])
    assert alone.partner.tolist() == [[[[0, 0]]]] and alone.similarity.tolist() == [[[pytest.approx(1.0)]]]
