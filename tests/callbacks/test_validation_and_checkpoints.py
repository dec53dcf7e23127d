"""At which steps training is validated and kept, in a training that knows nothing of this package."""

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.demos.boring_classes import BoringModel
from torch.utils.data import DataLoader

from lightning_physim.callbacks import LogSpacedCheckpoint, LogSpacedValidation


class Diary(BoringModel):
    def __init__(self) -> None:
        super().__init__()
        self.validated: list[int] = []

    def on_validation_epoch_start(self) -> None:
        self.validated.append(self.trainer.global_step)


def train(tmp_path, *callbacks: pl.Callback, steps: int = 12, **options) -> Diary:
    model = Diary()
    trainer = pl.Trainer(
        max_steps=steps, callbacks=[*callbacks], default_root_dir=tmp_path, accelerator="cpu", logger=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, val_check_interval=1000,
        check_val_every_n_epoch=None, **options,
    )  # fmt: skip
    loaders = (DataLoader(torch.randn(8, 32)), DataLoader(torch.randn(2, 32)))
    trainer.fit(model, *loaders)
    return model


@pytest.mark.parametrize(
    "per_decade, options, validated",
    [
        (1, {}, [1, 10, 12]),
        (4, {}, [1, 2, 3, 6, 10, 12]),
        (1, {"accumulate_grad_batches": 2}, [1, 10, 12]),
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


class Stop(pl.Callback):
    """Ends training after four steps, as a limit of time would."""

    def on_train_batch_end(self, trainer: pl.Trainer, *_) -> None:
        trainer.should_stop = trainer.global_step == 4


def test_the_last_checkpoint_stays_whatever_has_ended_training(tmp_path):
    ours = LogSpacedCheckpoint(None, steps_per_decade=1, rolling_steps=3)
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
