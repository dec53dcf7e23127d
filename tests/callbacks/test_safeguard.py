"""A training ends in order: at a signal after the step, at a loss that is not finite at once."""

import os
import signal
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_physim import keys
from lightning_physim.callbacks import LogSpacedCheckpoint, Observer, Safeguard, safeguard
from lightning_physim.errors import Diverged, GivenUp, Interrupted
from tests.helpers.kept import Kept


class Line(pl.LightningModule):
    """Learns y = x; can be told to spoil the loss of a batch, or the weights after it."""

    def __init__(self, nan_at: int = -1, spoilt_after: int = -1) -> None:
        super().__init__()
        self.line = nn.Linear(1, 1)
        self.nan_at, self.spoilt_after = nan_at, spoilt_after
        self.seen: list[int] = []

    def training_step(self, batch, batch_idx):
        self.seen.append(batch_idx)
        loss = (self.line(batch[0]) - batch[0]).square().mean()
        return loss * float("nan") if batch_idx == self.nan_at else loss

    def on_train_batch_end(self, outputs, batch, batch_idx):
        if batch_idx == self.spoilt_after:
            nn.init.constant_(self.line.weight, float("nan"))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.25)


class At(pl.Callback):
    """Sends a signal to this process at the start of a batch."""

    def __init__(self, number: int, batch: int, times: int = 1) -> None:
        self.number, self.batch, self.times = number, batch, times

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == self.batch:
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)


def fit(module, *callbacks, tmp_path, steps=8, logger=False, ckpt_path=None, **options):
    batches = DataLoader(TensorDataset(torch.linspace(-1, 1, 32)[:, None]), batch_size=2)
    trainer = pl.Trainer(
        max_steps=steps, callbacks=[*callbacks, Safeguard(**options.pop("safeguard", {}))], logger=logger,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path, accelerator="cpu", **options,
    )  # fmt: skip
    trainer.fit(module, batches, ckpt_path=ckpt_path)
    return trainer


def checkpoints(tmp_path):
    return sorted(path.stem for path in (tmp_path / "checkpoints").iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_training_after_the_step_with_a_checkpoint_of_it(tmp_path, number, capfd):
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    module = Line()
    with pytest.raises(Interrupted) as ended:
        fit(module, At(number, 4), LogSpacedCheckpoint(steps_per_decade=1, rolling_steps=0), tmp_path=tmp_path)
    assert ended.value.number == number and ended.value.code == 128 + number
    assert (
        f"\n{signal.Signals(number).name}: training ends after this step, with a checkpoint" in capfd.readouterr().err
    )
    assert module.seen == [0, 1, 2, 3, 4] and checkpoints(tmp_path) == ["step-00000001", "step-00000005"]
    assert before == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]


def test_with_accumulation_it_ends_where_no_half_step_is_lost(tmp_path):
    module = Line()
    with pytest.raises(Interrupted):
        fit(module, At(signal.SIGTERM, 3), LogSpacedCheckpoint(), tmp_path=tmp_path, accumulate_grad_batches=3)
    assert module.seen == [0, 1, 2, 3, 4, 5] and checkpoints(tmp_path)[-1] == "step-00000002"


def test_a_second_signal_ends_it_at_once(tmp_path):
    module = Line()
    with pytest.raises(Interrupted):
        fit(module, At(signal.SIGTERM, 4, times=2), LogSpacedCheckpoint(rolling_steps=0), tmp_path=tmp_path)
    assert module.seen == [0, 1, 2, 3] and "step-00000005" not in checkpoints(tmp_path)


def test_in_the_last_step_a_signal_changes_nothing(tmp_path):
    assert fit(Line(), At(signal.SIGTERM, 7), tmp_path=tmp_path).global_step == 8


class Slow(Observer):
    """Measures at steps 1, 10, ..., and gives up when it is told so."""

    name = "slow"

    def __init__(self, gives_up: int = -1) -> None:
        super().__init__(steps_per_decade=4)
        self.gives_up = gives_up
        self.measured: list[int] = []

    def measure(self, trainer, module, final):
        if trainer.global_step == self.gives_up:
            os.kill(os.getpid(), signal.SIGTERM)
            raise GivenUp
        self.measured.append(trainer.global_step)
        return {}


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")
def test_what_was_given_up_is_measured_after_the_resume(tmp_path):
    first = Slow(gives_up=3)
    with pytest.raises(Interrupted):
        fit(Line(), first, LogSpacedCheckpoint(), tmp_path=tmp_path)
    assert first.measured == [0, 1, 2] and checkpoints(tmp_path)[-1] == "step-00000003"
    second, module = Slow(), Line()
    fit(module, second, LogSpacedCheckpoint(), tmp_path=tmp_path, ckpt_path=tmp_path / "checkpoints/step-00000003.ckpt")
    assert second.measured == [3, 6, 8] and module.seen == [3, 4, 5, 6, 7]


def test_the_last_measurement_given_up_leaves_the_checkpoint_before_it(tmp_path):
    with pytest.raises(Interrupted) as ended:
        fit(Line(), Slow(gives_up=8), LogSpacedCheckpoint(rolling_steps=5), tmp_path=tmp_path)
    assert ended.value.number == signal.SIGTERM
    assert checkpoints(tmp_path)[-1] == "step-00000006"


def test_a_loss_that_is_not_finite_ends_training_with_step_rate_and_batch(tmp_path):
    logger, module = Kept(), Line(nan_at=3)
    with pytest.raises(Diverged, match=r"^training diverged: the loss is nan at step 4, with a learning rate of 0.25"):
        fit(module, LogSpacedCheckpoint(), tmp_path=tmp_path, logger=logger)
    assert checkpoints(tmp_path) == ["step-00000001", "step-00000002", "step-00000003"]
    ((key, step, arrays),) = logger.arrays
    assert (key, step, arrays["lr"]) == (keys.DIVERGED_BATCH, 4, [0.25])
    ((title, text),) = logger.alerts
    assert title == "Training has diverged" and text.startswith("training diverged: the loss is nan at step 4")
    assert arrays["0"].ravel().tolist() == torch.linspace(-1, 1, 32)[6:8].tolist()


class Point(NamedTuple):
    x: torch.Tensor
    name: str


@pytest.mark.parametrize(
    "collate, names",
    [
        (lambda x: {"x": x, "name": "line"}, ["x"]),
        (lambda x: Point(x, "line"), ["x"]),
        (lambda x: ("line", x), ["1"]),
        (lambda x: x, ["0"]),
    ],
)
def test_the_tensors_of_a_batch_of_any_kind_are_kept(tmp_path, collate, names):
    class Never(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(()))

        def training_step(self, batch, batch_idx):
            return self.weight * float("inf")

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.25)

    logger = Kept()
    trainer = pl.Trainer(
        max_steps=2, callbacks=[Safeguard()], logger=[logger], enable_checkpointing=False, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    with pytest.raises(Diverged, match="the loss is inf at step 1"):
        trainer.fit(Never(), DataLoader([1.0, 2.0], collate_fn=lambda x: collate(torch.tensor(x))))
    ((_, _, arrays),) = logger.arrays
    assert sorted(arrays) == sorted([*names, "lr"]) and arrays[names[0]].tolist() == [1.0]


def test_weights_that_are_not_finite_after_the_last_step_are_noticed(tmp_path):
    class Spoils(pl.Callback):  # before the safeguard looks
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if batch_idx == 7:
                nn.init.constant_(pl_module.line.weight, float("inf"))

    with pytest.raises(Diverged, match="the weights are not finite at step 8"):
        fit(Line(), Spoils(), LogSpacedCheckpoint(), tmp_path=tmp_path)
    assert "step-00000008" not in checkpoints(tmp_path)


def test_one_may_train_on_and_nothing_is_measured_or_kept_of_nan(tmp_path):
    seen = Slow()
    module = Line(spoilt_after=3)
    fit(module, seen, LogSpacedCheckpoint(), tmp_path=tmp_path, safeguard={"allow_nan": True})
    assert len(module.seen) == 8 and seen.measured == [0, 1, 2, 3]
    assert checkpoints(tmp_path)[-1] == "step-00000003"


def agreed(rank, world):
    trainer: Any = SimpleNamespace(
        world_size=world, global_rank=rank, strategy=SimpleNamespace(root_device=torch.device("cpu"))
    )
    return [safeguard.agreed(trainer, 15 if rank == noticed else 0, rank >= noticed) for noticed in (2, 1, 0)]


@pytest.mark.ddp
def test_ranks_agree_on_the_signal_and_on_who_noticed_first(on_ranks):
    assert on_ranks(agreed) == [[(0, None), (15, 1), (15, 0)]] * 2
