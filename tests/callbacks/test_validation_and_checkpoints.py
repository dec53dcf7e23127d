"""At which steps training is validated and kept, in a training that knows nothing of this package."""

import errno
import tempfile
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning.demos.boring_classes import BoringModel
from torch.utils.data import DataLoader

from lightning_physim.callbacks import LogSpacedCheckpoint, LogSpacedValidation


class Diary(BoringModel):
    def __init__(self) -> None:
        super().__init__()
        self.validated: list[int] = []

    def on_validation_epoch_start(self) -> None:
        self.validated.append(self.trainer.global_step)


class Saved(pl.Callback):
    """At which steps checkpoints were written, those that have gone since included."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_save_checkpoint(self, trainer, pl_module, checkpoint):
        self.steps.append(trainer.global_step)


def train(tmp_path, *callbacks: pl.Callback, steps: int = 12, ckpt_path: Path | None = None, **options) -> Diary:
    model = Diary()
    trainer = pl.Trainer(**{
        "max_steps": steps, "callbacks": [*callbacks], "default_root_dir": tmp_path, "accelerator": "cpu",
        "logger": False, "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0,
        "val_check_interval": 1000, "check_val_every_n_epoch": None,
    } | options)  # fmt: skip
    loaders = (DataLoader(torch.randn(8, 32)), DataLoader(torch.randn(2, 32)))
    trainer.fit(model, *loaders, ckpt_path=ckpt_path)
    return model


@pytest.mark.parametrize(
    "per_decade, options, validated",
    [
        (1, {}, [1, 10, 12]),
        (4, {}, [1, 2, 3, 6, 10, 12]),
        (1, {"accumulate_grad_batches": 2}, [1, 10, 12]),
        (2, {"check_val_every_n_epoch": 1, "val_check_interval": 8}, [1, 3, 10, 12]),
        (2, {"check_val_every_n_epoch": 1, "val_check_interval": 1.0}, [1, 3, 10, 12]),
    ],
)
def test_validation_comes_after_the_steps_of_the_schedule_and_the_last(tmp_path, per_decade, options, validated):
    model = train(tmp_path, LogSpacedValidation(per_decade), enable_checkpointing=False, **options)
    assert model.validated == validated


def test_checkpoints_of_the_schedule_stay_and_of_the_others_the_last(tmp_path):
    folder = tmp_path / "a" / "b"
    for steps, kept in ((8, [1, 3, 8]), (9, [1, 3, 8, 9])):  # the second finds the folder there
        train(tmp_path, LogSpacedCheckpoint(str(folder), steps_per_decade=2, rolling_steps=5), steps=steps)
        assert sorted(path.name for path in folder.iterdir()) == [f"step-{step:08d}.ckpt" for step in kept]
    rolling = LogSpacedCheckpoint(None, steps_per_decade=1, rolling_steps=2)
    train(tmp_path, rolling, steps=7)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000001.ckpt", "step-00000007.ckpt"]  # the rolling ones of 2, 4 and 6 have made room
    assert rolling.rolling is None and rolling.superseded == "step-00000006.ckpt"


def test_a_checkpoint_is_written_at_the_steps_of_the_schedule_every_so_many_and_the_last_after_validation(tmp_path):
    saved, ours = Saved(), LogSpacedCheckpoint(None, steps_per_decade=1, rolling_steps=4)
    model = train(tmp_path, LogSpacedValidation(2), ours, saved, num_sanity_val_steps=2)
    assert saved.steps == [1, 4, 8, 10, 12] and model.validated == [0, 1, 3, 10, 12]  # 0 is Lightning's sanity check
    assert (ours.last_step, ours.rolling, ours.superseded) == (12, None, None)


def test_a_validation_by_itself_writes_no_checkpoint(tmp_path):
    saved = Saved()
    trainer = pl.Trainer(
        callbacks=[LogSpacedCheckpoint(None, rolling_steps=1), saved], default_root_dir=tmp_path, accelerator="cpu",
        logger=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.validate(Diary(), DataLoader(torch.randn(2, 32)), verbose=False)
    assert saved.steps == [] and not (tmp_path / "checkpoints").exists()


class KilledAtFive(Exception):
    pass


class KillsAtFive(pl.Callback):
    def on_train_batch_end(self, trainer: pl.Trainer, *_) -> None:
        if trainer.global_step == 5:
            raise KilledAtFive


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")
def test_a_resume_removes_the_rolling_checkpoint_that_a_killed_process_has_left_and_goes_on(tmp_path):
    folder = tmp_path / "checkpoints"
    with pytest.raises(KilledAtFive):
        train(tmp_path, LogSpacedCheckpoint(None, steps_per_decade=1, rolling_steps=2), KillsAtFive(), steps=9)
    (folder / "step-00000002.ckpt").write_bytes(b"left behind")
    ours = LogSpacedCheckpoint(None, steps_per_decade=1, rolling_steps=2)
    saved = Saved()
    train(tmp_path, ours, saved, steps=9, ckpt_path=folder / "step-00000004.ckpt")
    assert saved.steps == [6, 8, 9]
    assert sorted(path.name for path in folder.iterdir()) == [f"step-{step:08d}.ckpt" for step in (1, 9)]


@pytest.mark.parametrize("rolling, name", [(None, None), ("/elsewhere/step-00000004.ckpt", "step-00000004.ckpt")])
def test_older_checkpoints_name_a_path_and_no_superseded_one(rolling, name):
    ours = LogSpacedCheckpoint()
    ours.load_state_dict({"last_step": 4, "rolling": rolling})
    assert ours.state_dict() == {"last_step": 4, "rolling": name, "superseded": None}


class Stop(pl.Callback):
    """Ends training after four steps, as a limit of time would."""

    def on_train_batch_end(self, trainer: pl.Trainer, *_) -> None:
        trainer.should_stop = trainer.global_step == 4


@pytest.mark.parametrize("rolling_steps", [3, 4])  # the last step is one of them
def test_the_last_checkpoint_stays_whatever_has_ended_training(tmp_path, rolling_steps):
    ours = LogSpacedCheckpoint(None, steps_per_decade=1, rolling_steps=rolling_steps)
    train(tmp_path, Stop(), ours, steps=9)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "step-00000001.ckpt",
        "step-00000004.ckpt",
    ]
    assert ours.rolling is None  # nothing that comes later makes it go


def test_only_a_fit_makes_the_folder(tmp_path):
    trainer = pl.Trainer(
        callbacks=[LogSpacedCheckpoint(None)], default_root_dir=tmp_path, accelerator="cpu", logger=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.test(BoringModel(), DataLoader(torch.randn(2, 32)), verbose=False)
    assert not (tmp_path / "checkpoints").exists()


def test_checkpoints_need_no_folder_for_temporary_files_and_are_whole_or_not_there(tmp_path, monkeypatch):
    """Lightning's own go through it, and are copied from there where it lies on another disk."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    train(tmp_path, LogSpacedCheckpoint(), steps=1)
    (path,) = (tmp_path / "checkpoints").iterdir()
    kept = path.read_bytes()
    assert torch.load(path, weights_only=True)["global_step"] == 1

    def full(self, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError) as caught:
        train(tmp_path, LogSpacedCheckpoint(), steps=1)
    assert caught.value.filename == str(path)
    assert path.read_bytes() == kept and [*path.parent.iterdir()] == [path]


class Own(TorchCheckpointIO):
    """A user's."""


def test_a_users_own_way_to_write_checkpoints_stays(tmp_path):
    trainer = pl.Trainer(
        max_steps=1, callbacks=[LogSpacedCheckpoint()], plugins=[Own()], default_root_dir=tmp_path, logger=False,
        accelerator="cpu", enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Diary(), DataLoader(torch.randn(8, 32)))
    assert type(trainer.strategy.checkpoint_io) is Own and [*(tmp_path / "checkpoints").iterdir()]
