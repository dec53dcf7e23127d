"""One bar for the whole run: what it says, where it starts, and when it is silent."""

import re
import time

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from lightning_physim.callbacks import Observer, StepProgressBar


class Logs(pl.LightningModule):
    """Logs two metrics for the bar and one that is none of its business."""

    def __init__(self, fails_at: int = -1) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.fails_at = fails_at

    def training_step(self, batch, batch_idx):
        if self.global_step == self.fails_at:
            raise RuntimeError("no more")
        self.log("train/loss", 0.123456, prog_bar=True)
        self.log("probe/best_enrichment", 7.0, prog_bar=True)
        self.log("val/secret", 1.0)
        return self.weight.square()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)


class Slow(Observer):
    """Takes a hundredth of a second, or as long as it is given."""

    name = "slow"
    what = "what is slow"

    def __init__(self, seconds: float) -> None:
        super().__init__(steps_per_decade=4)
        self.takes = seconds

    def measure(self, trainer, module, final):
        time.sleep(self.takes)
        return {}


def fit(
    folder, bar: StepProgressBar, module: pl.LightningModule | None = None, ckpt_path=None, **options
) -> pl.Trainer:
    """Epochs of four steps, five unless told otherwise."""
    trainer = pl.Trainer(**({
        "max_steps": 20, "accelerator": "cpu", "callbacks": [bar], "logger": False, "enable_checkpointing": False,
        "enable_model_summary": False, "default_root_dir": folder,
    } | options))  # fmt: skip
    trainer.fit(module or Logs(), DataLoader(torch.zeros(4)), ckpt_path=ckpt_path)
    return trainer


def last_line(text: str) -> str:
    return re.split(r"[\r\n]+", text.strip())[-1]


def test_it_counts_optimizer_steps_to_the_end_over_all_epochs(tmp_path, capsys):
    fit(tmp_path, StepProgressBar(refresh_every=3))
    error = capsys.readouterr().err
    assert "training: 100%" in last_line(error) and "20/20" in last_line(error)
    assert error.count("20/20") == 1


def test_it_shows_what_is_logged_for_it_by_its_last_word(tmp_path, capsys):
    fit(tmp_path, StepProgressBar())
    line = last_line(capsys.readouterr().err)
    assert "loss=0.123" in line and "best_enrichment=7" in line
    assert "train/" not in line and "secret" not in line


def test_it_is_refreshed_every_so_many_steps_and_at_the_end(tmp_path, monkeypatch):
    bar, at = StepProgressBar(refresh_every=6), []
    refresh = bar._refresh
    monkeypatch.setattr(
        bar, "_refresh", lambda trainer, module: (at.append(trainer.global_step), refresh(trainer, module))
    )
    fit(tmp_path, bar)
    assert at == [6, 12, 18, 20] and bar.bar.n == 20


def test_a_resumed_run_goes_on_where_the_bar_stood(tmp_path):
    first = fit(tmp_path, StepProgressBar(), max_steps=8)
    first.save_checkpoint(tmp_path / "a.ckpt")
    bar = StepProgressBar()
    fit(tmp_path, bar, ckpt_path=tmp_path / "a.ckpt")
    assert bar.bar.initial == 8 and bar.bar.n == 20


def test_a_run_counted_in_epochs_has_no_total(tmp_path):
    bar = StepProgressBar()
    fit(tmp_path, bar, max_steps=-1, max_epochs=2)
    assert bar.bar.total is None and bar.bar.n == 8


def test_in_a_log_it_prints_a_line_every_ten_seconds_however_often_it_is_refreshed(tmp_path, capsys, monkeypatch):
    bar = StepProgressBar(refresh_every=1)
    fit(tmp_path, bar)
    lines = re.split(r"[\r\n]+", capsys.readouterr().err.strip())
    assert len([line for line in lines if line.startswith("training")]) == 2, lines  # the first and the last
    assert bar.bar.mininterval == 10.0 and bar.bar.dynamic_ncols
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    watched = StepProgressBar()
    fit(tmp_path, watched, max_steps=1)
    assert watched.bar.mininterval < 1.0 and watched.bar.total == 1


def test_other_ranks_and_a_bar_that_was_disabled_are_silent(tmp_path, capsys, monkeypatch):
    disabled = StepProgressBar()
    disabled.disable()
    fit(tmp_path, disabled)
    assert "training" not in capsys.readouterr().err
    monkeypatch.setattr(pl.Trainer, "is_global_zero", False)
    bar = StepProgressBar()
    fit(tmp_path, bar, callbacks=[Slow(0.0), bar])
    assert "training" not in capsys.readouterr().err


def test_a_training_that_fails_leaves_the_bar_closed(tmp_path):
    bar = StepProgressBar()
    with pytest.raises(RuntimeError, match="no more"):
        fit(tmp_path, bar, Logs(fails_at=5))
    # tqdm marks a closed bar so; an open one would draw itself over the traceback.
    assert bar.bar.disable


def test_a_failure_before_the_first_step_needs_no_bar(tmp_path):
    class Broken(Logs):
        def configure_optimizers(self):
            raise RuntimeError("no optimizer")

    bar = StepProgressBar()
    with pytest.raises(RuntimeError, match="no optimizer"):
        fit(tmp_path, bar, Broken())
    assert bar.bar is None


def test_the_time_left_is_that_of_steps_and_of_measurements_that_are_planned(tmp_path):
    class Ask(pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            left[trainer.global_step] = bar.seconds_left(trainer)

    bar, slow, left = StepProgressBar(), Slow(0.05), {}
    fit(tmp_path, bar, max_steps=20, callbacks=[slow, bar, Ask()])
    assert slow.planned(20) == [1, 2, 3, 6, 10, 18, 20]
    seconds, is_all = left[12]  # two measurements of a twentieth of a second, and eight steps
    assert is_all and 0.1 <= seconds < 0.1 + 8 * 0.02 + 0.05
    assert left[20] == (0.0, True)
    # Training alone would take no time; all that has passed, as tqdm has it, would be a measurement and more.
    assert bar.seconds / bar.n_timed < 0.02


def test_what_was_never_measured_is_no_part_of_it(tmp_path):
    class Ask(pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            left[trainer.global_step] = bar.seconds_left(trainer)

    class Late(Slow):
        def due(self, trainer, final):
            return final

    bar, left = StepProgressBar(), {}
    fit(tmp_path, bar, max_steps=20, callbacks=[Late(0.01), bar, Ask()])
    assert not left[12][1] and left[20][1]


def test_it_says_what_is_measured_where_somebody_watches(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    slow, bar = Slow(0.4), StepProgressBar()
    fit(tmp_path, bar, max_steps=3, callbacks=[slow, bar])
    said = capsys.readouterr().err
    assert "measuring what is slow:   0%" in said and "training:   0%" in said and ": :" not in said
    assert "training: 100%" in last_line(said)
