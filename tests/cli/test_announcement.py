"""What a training says before it begins."""

from pathlib import Path
from types import SimpleNamespace

import pytorch_lightning as pl
import torch

from lightning_physim.callbacks import CollisionProbe, EmergenceMonitor, Geometry, LearningCoefficient, Snapshots
from lightning_physim.cli.announcement import announce


def test_no_word_is_cut_in_a_terminal_of_80_columns(capsys):
    measurements = [CollisionProbe(), EmergenceMonitor(), Snapshots(), LearningCoefficient(), Geometry()]
    trainer = pl.Trainer(accelerator="cpu", max_steps=3, logger=False, callbacks=measurements)
    data = SimpleNamespace(specs={}, cache_dir="data")
    run = SimpleNamespace(path=Path("runs") / ("long-" * 20))
    announce(trainer, torch.nn.Linear(2, 2), data, run, "smoke", seed=0, first_step=0, shipped=False)
    lines = capsys.readouterr().err.splitlines()
    assert f"run       {run.path}/" in lines  # a path is whole, to be copied
    assert max(len(line) for line in lines if "long" not in line) <= 80
    assert "learning coefficients" in lines[2] and lines[3].startswith(" " * 10) and lines[3].strip()
