"""The order of batches: on ranks, over epochs, and after a resume in the middle of one."""

import copy
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_physim.data import Batch, ParticleDataModule, ShardedBatchSampler
from lightning_physim.data.ahead import outgrows_memory
from lightning_physim.data.loader import BatchLoader
from lightning_physim.errors import InputError
from tests.helpers.systems import SIX

SYSTEM = replace(SIX, n_particles=3)


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("n", [1, 7, 12, 13])
def test_evaluation_meets_every_index_once_in_equally_many_batches(world: int, n: int) -> None:
    ranks = [
        list(ShardedBatchSampler(n, 2, shuffle=False, rank=rank, world_size=world).batches(epoch=5))
        for rank in range(world)
    ]
    assert {len(batches) for batches in ranks} == {-(-n // (2 * world))}
    assert sorted(i for batches in ranks for batch in batches for i in batch) == list(range(n))
    assert all(len(batch) <= 2 for batches in ranks for batch in batches)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_training_batches_are_full_disjoint_and_the_same_whatever_the_number_of_ranks(world: int) -> None:
    samplers = [
        ShardedBatchSampler(50, 12 // world, shuffle=True, seed=1, rank=rank, world_size=world) for rank in range(world)
    ]
    whole = list(ShardedBatchSampler(50, 12, shuffle=True, seed=1).batches(epoch=2))
    for parts, together in zip(zip(*(s.batches(2) for s in samplers), strict=True), whole, strict=True):
        assert {len(part) for part in parts} == {12 // world}
        assert sorted(i for part in parts for i in part) == sorted(together)
    assert len(samplers[0]) == len(whole) == 4
    assert len({i for batch in whole for i in batch}) == 48


def test_the_order_depends_on_seed_and_epoch_and_can_be_entered_anywhere() -> None:
    sampler = ShardedBatchSampler(40, 4, shuffle=True, seed=1)
    first = list(sampler.batches(0))
    assert first == list(sampler.batches(0))
    assert list(sampler.batches(0, first_batch=7)) == first[7:]
    assert first != list(sampler.batches(1))
    # Not merely a function of their sum, as with torch's DistributedSampler.
    assert list(sampler.batches(1)) != list(ShardedBatchSampler(40, 4, shuffle=True, seed=2).batches(0))


def test_too_few_samples_for_a_batch_are_refused() -> None:
    with pytest.raises(InputError, match="got 8 x 2: lower --data.batch_size"):
        ShardedBatchSampler(15, 8, shuffle=True, world_size=2)


class Recorder(pl.LightningModule):
    """Keeps the states and the targets of every batch that it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[Tensor] = []
        self.evaluated: dict[int, list[Tensor]] = {}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        # States and the first targets side by side: noise shows in the one, permuted targets in the other.
        self.seen.append(torch.cat((batch.states, batch.targets[:, :1]), 1))
        return (self.weight - batch.targets.mean()) ** 2

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        assert batch.evaluation is not None

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.evaluated.setdefault(dataloader_idx, []).append(batch.states[:, 0])

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return batch.states[:, 0]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class Save(pl.Callback):
    """A checkpoint after every step and after every epoch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        trainer.save_checkpoint(self.folder / f"step={trainer.global_step}.ckpt")

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        trainer.save_checkpoint(self.folder / f"epoch={trainer.current_epoch}.ckpt")


class EstimatesEarly(Recorder):
    """Makes Lightning ask for the loader before it has restored its counters."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        assert self.trainer.estimated_stepping_batches > 0
        return super().configure_optimizers()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def no_global_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)


def data(cache: str, **options: Any) -> ParticleDataModule:
    sizes: dict[str, Any] = {"n_train": 10, "n_val": 3, "n_test": 7, "n_intervals": 4, "batch_size": 10}
    return ParticleDataModule(SYSTEM, **{**sizes, "eval_batch_size": 2, "cache_dir": cache, **options})


def trainer(folder: Path, **options: Any) -> pl.Trainer:
    quiet: dict[str, Any] = {
        "accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False,
        "num_sanity_val_steps": 1, "default_root_dir": str(folder), "enable_checkpointing": False,
    }  # fmt: skip
    return pl.Trainer(**{**quiet, **options})


def fit(folder: Path, cache: str, steps: int, kind: type[Recorder] = Recorder, **options: Any) -> list[Tensor]:
    """The batches of a run of ``steps`` steps that leaves a checkpoint after each."""
    ckpt_path = options.pop("ckpt_path", None)
    limits = options.pop("limits", {"max_steps": steps})
    model = kind()
    trainer(folder, callbacks=[Save(folder)], **limits).fit(model, data(cache, **options), ckpt_path=ckpt_path)
    return model.seen


def same(batches: list[Tensor], others: list[Tensor]) -> bool:
    return len(batches) == len(others) and all(map(torch.equal, batches, others))


EARLY = {"kind": EstimatesEarly, "num_workers": 2}
# An epoch has four batches: the checkpoint lies at a start, in a middle and at an end of one.
RESUMES: list[tuple[int, dict[str, Any]]] = [
    *((stopped, {}) for stopped in (1, 4, 5, 7, 8)),
    *((stopped, {"num_workers": 2}) for stopped in (4, 7)),
    *((stopped, EARLY) for stopped in (4, 7)),
    *((stopped, {"input_noise": 0.1}) for stopped in (4, 7)),
    *((stopped, {"permute_targets": True}) for stopped in (4, 7)),
]


@pytest.mark.parametrize(("stopped", "options"), RESUMES, ids=str)
def test_a_resumed_run_sees_the_batches_of_an_uninterrupted_one(
    tmp_path: Path, cache: str, stopped: int, options: dict[str, Any]
) -> None:
    whole = fit(tmp_path / "whole", cache, 10, **options)
    assert len(whole) == 10 and not any(torch.equal(whole[0], batch) for batch in whole[1:])
    rest = fit(tmp_path / "rest", cache, 10, ckpt_path=tmp_path / "whole" / f"step={stopped}.ckpt", **options)
    assert same(rest, whole[stopped:])


@pytest.mark.parametrize("stopped", [3, 4, 6])
def test_a_resume_of_a_run_counted_in_epochs(tmp_path: Path, cache: str, stopped: int) -> None:
    limits = {"max_epochs": 3}
    whole = fit(tmp_path / "whole", cache, 12, limits=limits)
    assert len(whole) == 12
    rest = fit(tmp_path / "rest", cache, 12, limits=limits, ckpt_path=tmp_path / "whole" / f"step={stopped}.ckpt")
    assert same(rest, whole[stopped:])


def test_a_resume_from_the_end_of_an_epoch(tmp_path: Path, cache: str) -> None:
    for limits in ({"max_epochs": 3}, {"max_steps": 12}):
        whole = fit(tmp_path, cache, 12, limits=limits)
        assert same(fit(tmp_path / "rest", cache, 12, limits=limits, ckpt_path=tmp_path / "epoch=0.ckpt"), whole[4:])


def test_a_resume_after_a_crash_in_the_middle_of_a_step(tmp_path: Path, cache: str) -> None:
    class Crashes(Recorder):
        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            if self.global_step == 6:
                self.trainer.save_checkpoint(tmp_path / "crash.ckpt")
                raise RuntimeError("crash")
            return super().training_step(batch, batch_idx)

    whole = fit(tmp_path / "whole", cache, 10)
    with pytest.raises(RuntimeError, match="crash"):
        fit(tmp_path / "crashed", cache, 10, kind=Crashes)
    assert same(fit(tmp_path / "rest", cache, 10, ckpt_path=tmp_path / "crash.ckpt"), whole[6:])


def test_seed_everything_decides_the_order(tmp_path: Path, cache: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fit(tmp_path / "a", cache, 2)
    monkeypatch.setitem(os.environ, "PL_GLOBAL_SEED", "7")
    seeded = fit(tmp_path / "b", cache, 2)
    assert not same(seeded, first)
    assert same(fit(tmp_path / "c", cache, 2, seed=0), seeded)


def test_the_third_epoch_is_the_third_whoever_asks(tmp_path: Path, cache: str) -> None:
    module = data(cache)
    module.prepare_data()
    module.setup()
    loader = module.train_dataloader()
    epochs = [[torch.cat((batch.states, batch.targets[:, :1]), 1) for batch in loader] for _ in range(3)]
    seen = fit(tmp_path, cache, 3 * len(epochs[0]))
    assert same([batch for epoch in epochs for batch in epoch], seen)


def test_overfitting_repeats_the_same_batches(tmp_path: Path, cache: str) -> None:
    seen = fit(tmp_path, cache, 6, limits={"max_steps": 6, "overfit_batches": 2})
    assert same(seen[:2], seen[2:4]) and same(seen[:2], seen[4:])


def test_test_and_predict_meet_every_trajectory_once(tmp_path: Path, cache: str) -> None:
    model, module = Recorder(), data(cache)
    trainer(tmp_path).test(model, module, verbose=False)
    assert list(model.evaluated) == [0, 1, 2, 3] == list(range(len(module.test_splits)))
    for number, name in enumerate(module.test_splits):
        assert [len(part) for part in model.evaluated[number]] == [2, 2, 2, 1]
        assert torch.equal(torch.cat(model.evaluated[number]), module.split(name).states[:, 0])
    predicted = trainer(tmp_path).predict(model, module)
    assert predicted is not None
    assert torch.equal(torch.cat(predicted), module.split("test").states[:, 0])


def test_without_a_trainer_every_iteration_is_an_epoch(cache: str) -> None:
    module = data(cache)
    module.prepare_data()
    module.setup()
    loader = module.train_dataloader()
    first, second = ([batch.states for batch in loader] for _ in range(2))
    assert len(loader) == 4 == len(first) and not same(first, second)
    assert same(first, [batch.states for batch in module.train_dataloader()])


class DDPRecorder(Recorder):
    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = folder

    def on_train_end(self) -> None:
        torch.save(torch.stack(self.seen), f"{self.folder}/rank{self.global_rank}.pt")

    def on_test_end(self) -> None:
        torch.save([len(part) for part in self.evaluated[0]], f"{self.folder}/test{self.global_rank}.pt")


CONTROL = {"permute_targets": True, "input_noise": 0.1}


@pytest.mark.ddp
@pytest.mark.parametrize("options", [{}, CONTROL], ids=str)
def test_two_devices_share_the_batches_of_one(tmp_path: Path, cache: str, options: dict[str, Any]) -> None:
    whole = fit(tmp_path / "whole", cache, 6, **options)
    parallel = trainer(tmp_path, strategy="ddp_fork", devices=2, max_steps=6)
    parallel.fit(DDPRecorder(str(tmp_path)), data(cache, batch_size=5, **options))
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2))
    for step, batch in enumerate(whole):
        assert torch.equal(batch[0::2], first[step]) and torch.equal(batch[1::2], second[step])
    trainer(tmp_path, strategy="ddp_fork", devices=2).test(
        DDPRecorder(str(tmp_path)), data(cache, eval_batch_size=3), verbose=False
    )
    # Seven trajectories in global batches of six: the second rank gets none of the last one.
    assert [torch.load(tmp_path / f"test{rank}.pt") for rank in range(2)] == [[3, 1], [3, 0]]


def test_data_larger_than_memory_are_mapped_read_only_read_ahead_and_give_the_same_batches(tmp_path, monkeypatch):
    data = ParticleDataModule(
        SIX, n_train=10, n_val=3, n_test=3, n_intervals=5, ood={}, batch_size=4, cache_dir=str(tmp_path)
    )
    data.prepare_data()
    data.setup()
    expected = list(data.train_dataloader())
    monkeypatch.setattr("lightning_physim.data.ahead.SHARE_OF_MEMORY", 0.0)
    large = copy.deepcopy(data)
    large._splits = {}
    large.setup()
    assert large.split("train").outgrows_memory and not data.split("train").outgrows_memory
    found = list(large.train_dataloader())
    assert len(found) == len(expected) > 8
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours.states, theirs.states) and torch.equal(ours.targets, theirs.targets)


def test_a_file_outgrows_memory_from_half_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1000}.__getitem__)
    assert not outgrows_memory(2_048_000) and outgrows_memory(2_048_001)


def test_permuted_targets_leave_the_noise_of_the_states_as_it_is(cache: str) -> None:
    options = {"input_noise": 0.1, "batch_size": 5}
    modules = [data(cache, **options), data(cache, **options, permute_targets=True)]
    for module in modules:
        module.prepare_data()
        module.setup()
    for plain, control in zip(*(module.train_dataloader() for module in modules), strict=True):
        assert torch.equal(plain.states, control.states)


@pytest.mark.parametrize(("workers", "pinned"), [(0, False), (2, False), (0, True), (2, True)])
def test_batches_are_read_by_as_many_processes_as_were_asked_for(cache: str, workers: int, pinned: bool) -> None:
    module = data(cache)
    module.prepare_data()
    module.setup()
    split = module.split("val")
    sampler = ShardedBatchSampler(len(split), 2, shuffle=False)
    reader = BatchLoader(split, sampler, num_workers=workers, pin_memory=pinned)._read(sampler.batches(0))
    if not workers and not pinned:
        assert not isinstance(reader, DataLoader)  # read in this process, sooner than one is asked for it
    else:
        assert isinstance(reader, DataLoader) and (reader.num_workers, reader.pin_memory) == (workers, pinned)
