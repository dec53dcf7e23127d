"""The probe: numbers that can be told by hand, when they are taken, and what becomes of them."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from lightning_physim.callbacks import CollisionProbe, collision_probe
from lightning_physim.errors import InputError
from tests.helpers.kept import Kept

PLACES = [[0.0, 0.0, 9.0, 1.0], [0.0, 1.0, -9.0, 1.0], [0.0, 3.0, 0.0, -5.0]]
"""Three particles of diameter 1 in a row: the first two are near each other."""
NEAREST = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


class Network(pl.LightningModule):
    """In both layers the first head attends to all alike, the second ever more to the nearest."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.looked: list[int] = []
        self.step: int | None = None

    def attention(self, states):
        self.looked.append(len(states))
        alike = torch.full((3, 3), 1 / 3)
        share = 1 / (1 + (self.global_step if self.step is None else self.step))
        heads = torch.stack((alike, share * (1 - torch.eye(3)) / 2 + (1 - share) * NEAREST))
        return heads.expand(2, len(states), 2, 3, 3)

    def training_step(self, batch, batch_idx):
        return self.weight.square()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)


class Ablatable(Network):
    def ablate(self, states, hidden):
        assert torch.equal(hidden, NEAREST.bool().logical_and(NEAREST.T.bool()).expand(len(states), 3, 3))
        intact = torch.zeros(len(states), 3, 4)
        return intact, torch.arange(1.0, 5.0).view(2, 2, 1, 1, 1) + intact


class States(pl.LightningDataModule):
    contact_distance = torch.ones(3, 3)

    def train_dataloader(self):
        return DataLoader(torch.zeros(6))

    def probe_states(self, n):
        contacts = torch.zeros(n, 3, 3, dtype=torch.bool)
        contacts[:, 0, 1] = contacts[:, 1, 0] = True
        return torch.tensor(PLACES).expand(n, 3, 4), contacts


class Targets(States):
    def probe_set(self, n):
        states, contacts = self.probe_states(n)
        return states, torch.zeros(n, 3, 4), contacts


class Seen(pl.Callback):
    """What others find in the trainer after each step."""

    def __init__(self) -> None:
        self.best: dict[int, float | None] = {}

    def on_train_batch_end(self, trainer, *_):
        found = [metrics.get("probe/best_enrichment") for metrics in (trainer.callback_metrics,
                 trainer.progress_bar_metrics)]  # fmt: skip
        assert found[0] == found[1]
        self.best[trainer.global_step] = found[0]


def fit(module: pl.LightningModule, data: Any, probe: CollisionProbe, logger: Kept, steps: int = 12) -> Seen:
    seen = Seen()
    trainer = pl.Trainer(
        max_steps=steps, callbacks=[probe, seen], logger=[logger], enable_checkpointing=False, accelerator="cpu",
        enable_model_summary=False, log_every_n_steps=1,
        enable_progress_bar=False,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    return seen


def set_up(module: nn.Module, data: Any, n_states: int = 5, rank: int = 0, world: int = 1, **options) -> CollisionProbe:
    probe = CollisionProbe(n_states=n_states, **options)
    probe.setup(SimpleNamespace(datamodule=data, global_rank=rank, world_size=world), module, "fit")
    return probe


def test_scores_are_those_of_the_network_at_each_step():
    logger, probe = Kept(), CollisionProbe(n_states=4, steps_per_decade=2)
    seen = fit(Ablatable(), Targets(), probe, logger)
    steps = [0, 1, 3, 10, 12]
    best = {step: 2 - 1 / (1 + step) for step in steps}  # uniform attention puts one half on the other that is near
    for layer in range(2):
        assert probe.history[f"probe/enrichment/L{layer}H0"] == (steps, pytest.approx([1.0] * 5))
        assert probe.history[f"probe/enrichment/L{layer}H1"] == (steps, pytest.approx(list(best.values())))
        assert probe.history[f"probe/partner_score/L{layer}H1"][1] == pytest.approx([b / 2 for b in best.values()])
    # Only the pair that touches is near, so that a head is better than chance where it prefers the near one.
    assert probe.history["probe/auroc/L0H0"][1] == [0.5] * 5
    assert probe.history["probe/auroc/L0H1"][1][-1] == pytest.approx(7 / 8)  # one of four others has as much
    rows = {step: row for step, row in logger.rows if "probe/best_enrichment" in row}
    assert list(rows) == steps and sum("probe/best_enrichment" in row for _, row in logger.rows) == len(steps)
    assert {step: row["probe/best_enrichment"] for step, row in rows.items()} == pytest.approx(best)
    for step in range(1, 13):
        assert seen.best[step] == pytest.approx(best[max(s for s in steps if s <= step)]), step


def test_every_other_measurement_ablates_as_do_the_first_and_the_last():
    logger = Kept()
    fit(Ablatable(), Targets(), CollisionProbe(n_states=4, steps_per_decade=2), logger)
    found = {step: [row[f"probe/ablation/{head}"] for head in ("L0H0", "L0H1", "L1H0", "L1H1")]
             for step, row in logger.rows if "probe/ablation/L0H0" in row}  # fmt: skip
    assert found == {step: [1.0, 4.0, 9.0, 16.0] for step in (0, 1, 10, 12)}


def test_the_table_comes_once_a_decade_and_at_the_end_with_the_mean_attention_in_each_bin():
    logger = Kept()
    fit(Network(), States(), CollisionProbe(n_states=4, steps_per_decade=2, max_distance=4.0, n_bins=4), logger)
    assert [table[:2] for table in logger.tables] == [("probe/attention_distance", step) for step in (1, 10, 12)]
    *_, columns, rows = logger.tables[-1]
    assert columns == ["step", "distance_from", "distance_to", "uniform", "L0H0", "L0H1", "L1H0", "L1H1"]
    assert [row[0] for row in rows] == [1] * 4 + [10] * 4 + [12] * 4 and len(logger.tables[0][3]) == 4
    half = 0.5 / 13  # of what is left for all alike after 12 steps
    second = [None, half + 12 / 13, half + 6 / 13, half]  # both look at each other, one of two, none of two
    for i, row in enumerate(row[1:] for row in rows[8:]):
        assert row[:3] == [i, i + 1, 0.5]
        expected = [0.5, second[i]] * 2 if i else [float("nan")] * 4
        assert row[3:] == pytest.approx(expected, nan_ok=True)


def test_of_two_particles_uniform_attention_is_all_on_the_other():
    probe = set_up(Network(), States())
    logger = Kept()
    probe.states, probe.contacts, probe.contact_distance = torch.zeros(2, 2, 4), torch.ones(2, 2, 2), torch.ones(2, 2)
    pair = SimpleNamespace(attention=lambda states: torch.full((1, len(states), 1, 2, 2), 0.5), device="cpu")
    trainer = SimpleNamespace(global_step=10, loggers=[logger], training=False)
    assert probe.measure(trainer, pair, final=False)["probe/best_enrichment"] == 1
    (table,) = logger.tables
    assert {row[3] for row in table[3]} == {1.0} and len(table[3]) == 32 and table[3][-1][2] == 8.0


# Nine pairs each: two states at once; not even one; all.
@pytest.mark.parametrize("pairs, looked", [(18, [2, 2, 1]), (26, [2, 2, 1]), (1, [1] * 5), (2**18, [5])])
def test_so_many_states_are_looked_at_together_as_stay_in_cache(monkeypatch, pairs, looked):
    monkeypatch.setattr(collision_probe, "PAIRS_AT_ONCE", pairs)
    module = Network()
    module.step = 3
    metrics = set_up(module, States()).measure(
        SimpleNamespace(global_step=3, loggers=[], training=False), module, final=False
    )
    assert module.looked == looked and metrics["probe/best_enrichment"] == pytest.approx(1.75)


@pytest.mark.parametrize(
    "module, data, ablates",
    [(Network, States, False), (Network, Targets, False), (Ablatable, States, False), (Ablatable, Targets, True)],
)
def test_ablation_takes_a_network_and_data_that_know_how(module, data, ablates):
    assert (set_up(module(), data()).targets is not None) == ablates


def test_ranks_deal_the_states_out_without_padding():
    sizes = []
    for rank in range(3):
        probe = set_up(Ablatable(), Targets(), rank=rank, world=3)
        sizes.append((len(probe.states), len(probe.contacts), len(probe.targets)))
    assert sizes == [(2, 2, 2), (2, 2, 2), (1, 1, 1)]


def test_a_network_needs_attention_of_its_own_or_of_torch():
    assert set_up(nn.MultiheadAttention(4, 2), States()).targets is None
    with pytest.raises(InputError, match=r"CollisionProbe needs a module with attention\(states\); got Linear"):
        set_up(nn.Linear(4, 4), States())
    with pytest.raises(InputError, match=r"CollisionProbe needs a data module with probe_states\(n\)"):
        set_up(Network(), None)
    probe = CollisionProbe()
    probe.setup(SimpleNamespace(), nn.Linear(4, 4), "validate")  # only a fit needs any of it
    assert not hasattr(probe, "states")


def test_the_last_step_of_a_run_that_goes_on_is_forgotten_whatever_came_before_it():
    probe = CollisionProbe(steps_per_decade=1)
    for step, value in ((0, 0.0), (4, 0.4), (10, 1.0), (12, 1.2), (100, 10.0)):
        probe._remember(step, {"a": value})
        if step == 4:
            assert probe.history["a"][0] == [0, 4]
    steps, values = probe.history["a"]
    assert steps == [0, 10, 100] and values == [0.0, 1.0, 10.0]
    assert np.isfinite(values).all()
