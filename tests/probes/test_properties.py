"""Laws of the scores, for any pattern of attention and any particles."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from lightning_physim.probes import (
    SCORES,
    NearScores,
    ProbeSample,
    auroc_and_average_precision,
    near_others,
    without_self,
)

RADIUS = 1.5


@st.composite
def samples(draw) -> ProbeSample:
    """Random patterns of some heads, over particles of their own sizes, some of which touch."""
    layers, systems, heads, n = (draw(st.integers(*ends)) for ends in ((1, 2), (1, 4), (1, 3), (3, 7)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    sharpness = draw(st.sampled_from([0.0, 1.0, 10.0]))
    attention = (sharpness * torch.randn(layers, systems, heads, n, n, generator=generator)).softmax(-1)
    positions = torch.rand(systems, n, 2, generator=generator, dtype=torch.float64)
    radii = 0.05 + 0.1 * torch.rand(n, generator=generator, dtype=torch.float64)
    touches = (torch.rand(systems, n, n, generator=generator) < 0.2).triu(1)
    return ProbeSample(attention, positions, radii[:, None] + radii, touches | touches.mT)


def scores(*parts: ProbeSample) -> dict[str, np.ndarray]:
    """Every score of every head ``[layers, heads]``, of all parts together."""
    found = {}
    for score in SCORES:
        metric = score(parts[0].attention.shape[0], parts[0].attention.shape[2], RADIUS)
        for part in parts:
            metric.update(part)
        found |= {name: value.numpy() for name, value in metric.compute().items()}
    return found


def assert_same(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        # Rows are summed in float32: a correlation near zero keeps the rounding of scores around 1.
        np.testing.assert_allclose(theirs[name], value, rtol=1e-6, atol=1e-7, err_msg=name)


@given(sample=samples(), data=st.data())
def test_the_names_of_the_particles_do_not_matter(sample, data):
    n = sample.positions.shape[1]
    order = list(data.draw(st.permutations(range(n))))
    renamed = ProbeSample(
        sample.attention[..., order, :][..., order],
        sample.positions[:, order],
        sample.contact_distance[order][:, order],
        sample.contacts[:, order][..., order],
    )
    assert_same(scores(sample), scores(renamed))


@given(sample=samples(), data=st.data())
def test_parts_add_up_to_the_whole_however_they_are_cut(sample, data):
    systems = sample.positions.shape[0]
    cut = data.draw(st.integers(0, systems))
    parts = [
        ProbeSample(sample.attention[:, part], sample.positions[part], sample.contact_distance, sample.contacts[part])
        for part in (slice(cut), slice(cut, systems))
    ]
    assert_same(scores(sample), scores(*parts))


@given(sample=samples(), power=st.integers(-8, 8))
def test_the_unit_of_length_does_not_matter(sample, power):
    unit = 2.0**power
    other = ProbeSample(sample.attention, sample.positions * unit, sample.contact_distance * unit, sample.contacts)
    assert_same(scores(sample), scores(other))


@given(sample=samples(), on_itself=st.floats(0, 0.99))
def test_uniform_attention_has_enrichment_one_whatever_it_puts_on_itself(sample, on_itself):
    assume(near_others(sample.distance, RADIUS).any())
    n = sample.positions.shape[1]
    eye = torch.eye(n)
    uniform = on_itself * eye + (1 - on_itself) * (1 - eye) / (n - 1)
    found = scores(
        ProbeSample(uniform.expand_as(sample.attention), sample.positions, sample.contact_distance, sample.contacts)
    )
    np.testing.assert_allclose(found["enrichment"], 1.0, rtol=1e-5)


@given(sample=samples())
def test_scores_stay_within_their_bounds(sample):
    n, found = sample.positions.shape[1], scores(sample)
    bounds = {name: (0.0, 1.0) for name in ("collision_score", "partner_score", "auroc", "average_precision")}
    bounds |= {"enrichment": (0.0, n - 1.0), "distance_correlation": (-1.0, 1.0)}
    assert found.keys() == bounds.keys()
    for name, (low, high) in bounds.items():
        defined = found[name][~np.isnan(found[name])]
        assert ((low - 1e-6 <= defined) & (defined <= high + 1e-6)).all(), name


@given(sample=samples(), only_itself=st.integers(0, 2))
def test_rows_without_self_sum_to_one_or_are_zero(sample, only_itself):
    attention = sample.attention.clone()
    attention[..., only_itself, :] = 0.0
    attention[..., only_itself, only_itself] = 1.0
    others = without_self(attention)
    sums = others.sum(-1)
    assert (sums[..., only_itself] == 0).all()
    sums[..., only_itself] = 1.0
    torch.testing.assert_close(sums, torch.ones_like(sums))
    assert (others >= 0).all() and (others.diagonal(dim1=-2, dim2=-1) == 0).all()
    torch.testing.assert_close(without_self(others), others)


class Ranked(NamedTuple):
    score: torch.Tensor
    positive: torch.Tensor


@st.composite
def rankings(draw) -> Ranked:
    """Scores float64 ``[2, samples]`` with many ties, and which samples are positive: some, not all."""
    rows = st.tuples(st.integers(-4, 4), st.integers(-4, 4), st.booleans())
    table = draw(st.lists(rows, min_size=2, max_size=30))
    *columns, positive = zip(*table, strict=True)
    assume(0 < sum(positive) < len(positive))
    return Ranked(torch.tensor(columns, dtype=torch.float64), torch.tensor(positive))


@given(ranked=rankings())
def test_areas_and_precisions_are_those_of_scikit_learn_ties_included(ranked):
    areas, precisions = auroc_and_average_precision(*ranked)
    for head, score in enumerate(ranked.score):
        assert areas[head].item() == pytest.approx(roc_auc_score(ranked.positive, score))
        assert precisions[head].item() == pytest.approx(average_precision_score(ranked.positive, score))


@given(ranked=rankings(), rising=st.sampled_from([torch.exp, torch.atan, lambda s: s**3, lambda s: 5 * s - 1]))
def test_only_the_order_of_the_scores_matters(ranked, rising):
    ours, theirs = (
        auroc_and_average_precision(score, ranked.positive) for score in (ranked.score, rising(ranked.score))
    )
    torch.testing.assert_close(theirs, ours)


@given(ranked=rankings())
def test_turning_the_order_round_turns_the_area_round(ranked):
    area, turned = (auroc_and_average_precision(score, ranked.positive)[0] for score in (ranked.score, -ranked.score))
    torch.testing.assert_close(area + turned, torch.ones_like(area))


@given(sample=samples())
def test_a_head_whose_mass_is_all_on_near_particles_has_the_largest_enrichment(sample):
    near = near_others(sample.distance, RADIUS).double()
    assume(near.any())
    mass = near.sum(-1, keepdim=True)
    pattern = torch.where(mass > 0, near / mass.clamp(min=1), torch.eye(near.shape[-1], dtype=near.dtype))
    metric = NearScores(*sample.attention.shape[:3:2], RADIUS)
    metric.update(ProbeSample(pattern[None, :, None], sample.positions, sample.contact_distance, sample.contacts))
    best = metric.compute()
    np.testing.assert_allclose(best["partner_score"], 1.0, rtol=1e-6)
    assert (best["enrichment"].numpy() >= np.nan_to_num(scores(sample)["enrichment"]) - 1e-9).all()
