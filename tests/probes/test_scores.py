import numpy as np
import pytest
import pytorch_lightning as pl
import scipy.stats
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from lightning_physim import ParticleDataModule, ParticleSystem, PhysicsSimulator
from lightning_physim.callbacks import CollisionProbe
from lightning_physim.errors import InputError
from lightning_physim.probes import (
    AblationEffect,
    AttentionDistance,
    ContactClassifier,
    DistanceCorrelation,
    NearScores,
    ProbeSample,
    reduced_distance,
    without_self,
)
from tests.helpers.defaults import defaults

LAYERS, HEADS, PARTICLES = 2, 3, 6


def sample(systems: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    attention = torch.rand(LAYERS, systems, HEADS, PARTICLES, PARTICLES, generator=generator).softmax(-1)
    positions = torch.rand(systems, PARTICLES, 2, generator=generator)
    radii = torch.linspace(0.05, 0.1, PARTICLES)
    return attention, positions, radii[:, None] + radii[None, :]


def scored(attention, positions, contact_distance, **options) -> dict[str, np.ndarray]:
    heads = attention.shape[0], attention.shape[2]
    probe_sample = ProbeSample(attention, positions, contact_distance, torch.zeros(attention.shape[1], 1, 1))
    axis = {name: options.pop(name) for name in ("max_distance", "n_bins") if name in options}
    scores = NearScores(*heads, **options), DistanceCorrelation(*heads)
    curve = AttentionDistance(*heads, **axis)
    for metric in (*scores, curve):
        metric.update(probe_sample)
    values = scores[0].compute() | scores[1].compute() | {"attention_distance": curve.compute()}
    return {key: value.numpy() for key, value in values.items()}


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


@pytest.mark.parametrize("options", [{"radius": 0.0}, {"max_distance": -1.0}, {"n_bins": 0}])
def test_a_probe_without_extent_is_refused(options):
    with pytest.raises(InputError, match="must be positive"):
        (NearScores if "radius" in options else AttentionDistance)(1, 1, **options)


def test_a_probe_may_look_at_less_than_a_contact_diameter():
    assert NearScores(1, 1, radius=0.5).radius == 0.5


def test_distance_correlation_is_pearsons_over_ordered_pairs():
    attention, positions, contact = sample(5)
    ours = scored(attention, positions, contact)["distance_correlation"]
    beside = ~np.eye(PARTICLES, dtype=bool)
    r = reduced_distance(positions, contact).numpy()[:, beside].ravel()
    others = without_self(attention).numpy()
    for layer, head in np.ndindex(LAYERS, HEADS):
        expected = scipy.stats.pearsonr(others[layer, :, head][:, beside].ravel(), r).statistic
        assert ours[layer, head] == pytest.approx(expected, abs=1e-6)  # distances are float32
    uniform = torch.full_like(attention, 1 / PARTICLES)
    assert np.isnan(scored(uniform, positions, contact)["distance_correlation"]).all()


def touching(systems: int, share: float = 0.1, seed: int = 3) -> torch.Tensor:
    upper = torch.rand(systems, PARTICLES, PARTICLES, generator=torch.Generator().manual_seed(seed)).triu(1)
    contacts = (upper > 0) & (upper < share)
    return contacts | contacts.mT


def classified(attention, contacts) -> dict[str, np.ndarray]:
    metric = ContactClassifier(attention.shape[0], attention.shape[2])
    systems, particles = attention.shape[1], attention.shape[-1]
    metric.update(
        ProbeSample(attention, torch.zeros(systems, particles, 2), torch.ones(particles, particles), contacts)
    )
    return {key: value.numpy() for key, value in metric.compute().items()}


def by_sklearn(attention, contacts) -> dict[str, np.ndarray]:
    beside = ~np.eye(attention.shape[-1], dtype=bool)
    label = contacts.numpy()[:, beside].ravel()
    others = without_self(attention).float().numpy()
    found = {"auroc": roc_auc_score, "average_precision": average_precision_score}
    return {
        name: np.array(
            [[judge(label, head[:, beside].ravel()) for head in layer.transpose(1, 0, 2, 3)] for layer in others]
        )
        for name, judge in found.items()
    }


def patterns(systems: int, sharpness: float, particles: int = PARTICLES) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention that prefers the pairs that touch, as strongly as it scatters, at a given sharpness of the softmax."""
    generator = torch.Generator().manual_seed(1)
    shape = (LAYERS, systems, HEADS, particles, particles)
    upper = torch.rand(systems, particles, particles, generator=generator).triu(1)
    contacts = (upper > 0) & (upper < 0.05)
    contacts = contacts | contacts.mT
    return ((torch.randn(shape, generator=generator) + contacts[:, None]) * sharpness).softmax(-1), contacts


# An untrained network, a trained one, one that is almost one-hot and ties at 0, and one with few values.
@pytest.mark.parametrize("sharpness, rounded", [(0.02, False), (1.0, False), (200.0, False), (1.0, True)])
def test_the_classifier_agrees_with_scikit_learn(sharpness, rounded):
    attention, contacts = patterns(60, sharpness, particles=12)
    if rounded:
        attention = (attention * 5).ceil()
    ours, expected = classified(attention, contacts), by_sklearn(attention, contacts)
    assert np.ptp(expected["auroc"]) > 1e-3  # heads that differ, or the test could not tell
    for name, value in expected.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-12)


def test_a_head_that_attends_to_all_alike_classifies_by_chance_and_one_that_knows_perfectly():
    contacts = touching(30)
    chance = contacts.double().sum() / (30 * PARTICLES * (PARTICLES - 1))
    blind = torch.full((1, 30, 1, PARTICLES, PARTICLES), 1 / PARTICLES)
    ours = classified(blind, contacts)
    assert ours["auroc"] == 0.5 and ours["average_precision"] == pytest.approx(float(chance))
    knows = (contacts + 1e-3)[None, :, None] / (contacts + 1e-3).sum(-1)[None, :, None, :, None]
    ours = classified(knows, contacts)
    assert ours["auroc"] == ours["average_precision"] == 1.0
    assert np.isnan(classified(blind, torch.zeros_like(contacts))["auroc"]).all()


def test_ablation_effect_is_the_rise_of_the_error_on_those_that_collide():
    generator = torch.Generator().manual_seed(0)
    intact, targets = (torch.randn(4, PARTICLES, 4, generator=generator).double() for _ in range(2))
    ablated = torch.randn(LAYERS, HEADS, 4, PARTICLES, 4, generator=generator).double()
    contacts = touching(4, share=0.2)
    metric = AblationEffect(LAYERS, HEADS)
    metric.update(intact, ablated, targets, contacts)
    hit = contacts.any(-1)
    assert 0 < hit.sum() < hit.numel()
    for layer, head in np.ndindex(LAYERS, HEADS):
        error = torch.nn.functional.mse_loss(ablated[layer, head][hit], targets[hit])
        rise = error - torch.nn.functional.mse_loss(intact[hit], targets[hit])
        assert metric.compute()[layer, head] == pytest.approx(rise.item(), rel=1e-12)


def _shard(rank: int, world: int, systems: int) -> dict[str, np.ndarray]:
    attention, positions, contact_distance = sample(systems)
    contacts = touching(systems, share=0.3)
    generator = torch.Generator().manual_seed(0)
    intact, targets = (torch.randn(systems, PARTICLES, 4, generator=generator) for _ in range(2))
    ablated = torch.randn(LAYERS, HEADS, systems, PARTICLES, 4, generator=generator)
    mine = slice(rank, None, world)
    effect = AblationEffect(LAYERS, HEADS)
    effect.update(intact[mine], ablated[:, :, mine], targets[mine], contacts[mine])
    return {
        **scored(attention[:, mine], positions[mine], contact_distance),
        **classified(attention[:, mine], contacts[mine]),
        "ablation": effect.compute().numpy(),
    }


@pytest.mark.ddp
@pytest.mark.slow
@pytest.mark.parametrize("systems", [1, 5])  # with one, rank 1 has none
def test_two_ranks_give_what_one_gives(on_ranks, systems):
    one = _shard(0, 1, systems)
    assert all(np.isfinite(one[key]).all() for key in ("auroc", "ablation"))
    for two in on_ranks(_shard, systems):
        for key, value in one.items():
            np.testing.assert_allclose(two[key], value, rtol=1e-12, err_msg=key)


def test_a_network_of_a_single_head_is_probed(tmp_path):
    system = ParticleSystem(n_particles=5, box=(1.0, 1.0), radius=0.08, stiffness=8000.0, restitution=0.8, interval=0.1)
    sizes = {"n_train": 8, "n_val": 4, "n_test": 2, "n_intervals": 4, "batch_size": 4}
    data = ParticleDataModule(system, **sizes, velocity_std=0.7, cache_dir=str(tmp_path))
    probe = CollisionProbe(n_states=16)
    trainer = pl.Trainer(
        max_steps=1, limit_val_batches=0, callbacks=[probe], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
    )  # fmt: skip
    trainer.fit(PhysicsSimulator(n_layers=1, n_heads=1, d_model=8, rollout_horizons=(1,)), datamodule=data)
    assert probe.history["probe/ablation/L0H0"][0] == probe.history["probe/auroc/L0H0"][0] == [0, 1]


def test_metrics_say_which_way_is_better():
    assert NearScores.higher_is_better is True and ContactClassifier.higher_is_better is True
    assert DistanceCorrelation.higher_is_better is None and AttentionDistance.higher_is_better is None
    assert AblationEffect.higher_is_better is True


def test_defaults():
    assert {defaults(of)["radius"] for of in (NearScores, DistanceCorrelation, ContactClassifier)} == {1.5}
    assert defaults(AttentionDistance) == {"max_distance": 8.0, "n_bins": 32}
