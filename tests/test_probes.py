import numpy as np
import pytest
import torch

from lightning_physim.errors import InputError
from lightning_physim.probes import HeadScores, reduced_distance, without_self

LAYERS, HEADS, PARTICLES = 2, 3, 6


def sample(systems: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    attention = torch.rand(LAYERS, systems, HEADS, PARTICLES, PARTICLES, generator=generator).softmax(-1)
    positions = torch.rand(systems, PARTICLES, 2, generator=generator)
    radii = torch.linspace(0.05, 0.1, PARTICLES)
    return attention, positions, radii[:, None] + radii[None, :]


def scored(attention, positions, contact_distance, **options) -> dict[str, np.ndarray]:
    metric = HeadScores(attention.shape[0], attention.shape[2], **options)
    metric.update(attention, positions, contact_distance)
    return {key: value.numpy() for key, value in metric.compute().items()}


def by_loops(attention, positions, contact_distance, radius, edges):
    """The definitions, one query and one key at a time, in plain Python."""
    a, x, c = attention.double().numpy(), positions.double().numpy(), contact_distance.double().numpy()
    layers, systems, heads, n, _ = a.shape
    raw, partner, uniform, curve = [], [], [], [[[[] for _ in edges[1:]] for _ in range(heads)] for _ in range(layers)]
    for s in range(systems):
        for q in range(n):
            r = [np.hypot(*(x[s, q] - x[s, k])) / c[q, k] for k in range(n)]
            near = [k for k in range(n) if r[k] < radius]
            others = [k for k in near if k != q]
            raw.append(a[:, s, :, q, near].sum(0))
            if others:
                partner.append(a[:, s, :, q, others].sum(0) / (1 - a[:, s, :, q, q]))
                uniform.append(len(others) / (n - 1))
            for k in range(n):
                b = np.searchsorted(edges, r[k], side="right") - 1
                if k != q and b < len(edges) - 1:
                    for layer in range(layers):
                        for h in range(heads):
                            curve[layer][h][b].append(a[layer, s, h, q, k] / (1 - a[layer, s, h, q, q]))
    means = np.array([[[np.mean(v) if v else np.nan for v in head] for head in layer] for layer in curve])
    return np.mean(raw, 0), np.mean(partner, 0), np.mean(partner, 0) / np.mean(uniform), means


def test_scores_equal_their_definitions_taken_literally():
    attention, positions, contact = sample(5)
    ours = scored(attention, positions, contact, radius=1.7, max_distance=6.0, n_bins=7)
    raw, partner, enrichment, curve = by_loops(attention, positions, contact, 1.7, np.linspace(0, 6, 8))
    np.testing.assert_allclose(ours["collision_score"], raw, rtol=1e-6)
    np.testing.assert_allclose(ours["partner_score"], partner, rtol=1e-6)
    np.testing.assert_allclose(ours["enrichment"], enrichment, rtol=1e-6)
    np.testing.assert_allclose(ours["attention_distance"], curve, rtol=1e-6)


def test_uniform_attention_over_the_others_has_enrichment_one():
    _, positions, contact = sample(40)
    blind = (torch.ones(PARTICLES, PARTICLES) - torch.eye(PARTICLES)) / (PARTICLES - 1)
    ours = scored(blind.expand(1, 40, 2, -1, -1), positions, contact)
    np.testing.assert_allclose(ours["enrichment"], 1.0, rtol=1e-6)
    curve = ours["attention_distance"]
    np.testing.assert_allclose(curve[~np.isnan(curve)], 1 / (PARTICLES - 1), rtol=1e-6)


def test_a_head_that_looks_only_at_its_partner_scores_one_whatever_it_puts_on_itself():
    positions = torch.tensor([[[0.0, 0.0], [0.1, 0.0], [5.0, 0.0], [5.1, 0.0]]])
    partner = torch.tensor([1, 0, 3, 2])
    pattern = torch.nn.functional.one_hot(partner, 4).float()
    for on_itself in (0.0, 0.97):
        attention = (on_itself * torch.eye(4) + (1 - on_itself) * pattern).expand(1, 1, 1, 4, 4)
        ours = scored(attention, positions, torch.full((4, 4), 0.1))
        np.testing.assert_allclose(ours["partner_score"], 1.0, rtol=1e-6)
        np.testing.assert_allclose(ours["enrichment"], 3.0, rtol=1e-6)
        np.testing.assert_allclose(ours["collision_score"], 1.0, rtol=1e-6)


def test_a_row_that_is_all_on_itself_says_nothing_about_others():
    assert without_self(torch.eye(4)).abs().max() == 0


def test_distance_is_in_contact_diameters():
    positions = torch.tensor([[[0.0, 0.0], [3.0, 4.0]]])
    contact = torch.tensor([[1.0, 2.0], [2.0, 4.0]])
    assert reduced_distance(positions, contact)[0, 0, 1] == pytest.approx(2.5)


def test_nobody_near_gives_nan_not_zero():
    attention, _, contact = sample(2)
    far = 100.0 * torch.arange(PARTICLES * 2.0).reshape(1, PARTICLES, 2).expand(2, -1, -1)
    ours = scored(attention, far, contact)
    assert np.isnan(ours["enrichment"]).all() and np.isnan(ours["partner_score"]).all()


def _shard(rank: int, world: int, systems: int) -> dict[str, np.ndarray]:
    attention, positions, contact = sample(systems)
    mine = slice(rank, None, world)
    return scored(attention[:, mine], positions[mine], contact)


@pytest.mark.ddp
@pytest.mark.parametrize("systems", [5, 1])  # with one system, rank 1 has none
def test_two_ranks_give_what_one_gives(on_ranks, systems):
    attention, positions, contact = sample(systems)
    one = scored(attention, positions, contact)
    for two in on_ranks(_shard, systems):
        for key, value in one.items():
            np.testing.assert_allclose(two[key], value, rtol=1e-12, err_msg=key)


@pytest.mark.parametrize("options", [{"radius": 0.0}, {"max_distance": -1.0}, {"n_bins": 0}])
def test_a_probe_without_extent_is_refused(options):
    with pytest.raises(InputError, match="must be positive"):
        HeadScores(1, 1, **options)
