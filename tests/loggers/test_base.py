"""Loggers of ours beside anybody's."""

from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.demos.boring_classes import BoringModel
from pytorch_lightning.loggers import CSVLogger

from lightning_physim.callbacks import LogSpacedCheckpoint, Observer, TrainingClock
from lightning_physim.loggers import RunLogger, run_loggers
from lightning_physim.tracking import JsonlLogger, read_metrics


class Pictures(RunLogger, CSVLogger):
    """Takes arrays and checkpoints, and nothing else that a run offers."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.arrays: list[int] = []
        self.checkpoints: list[str] = []

    def log_arrays(self, key: str, arrays, step: int) -> None:
        self.arrays.append(step)

    def log_checkpoint(self, path: Path, step: int) -> None:
        self.checkpoints.append(path.name)


class Weights(Observer):
    name = "weights"

    def measure(self, trainer: pl.Trainer, module: pl.LightningModule, final: bool) -> dict[str, float]:
        for logger in run_loggers(trainer.loggers):
            logger.log_arrays("probe/weights", {"a": np.zeros(1)}, trainer.global_step)
            logger.log_table("probe/weights", ["a"], [[0.0]], trainer.global_step)
        return {}


def test_a_logger_gets_what_it_takes_and_a_foreign_one_numbers_alone(tmp_path):
    ours, pictures, foreign = (
        JsonlLogger(tmp_path / "metrics.jsonl"),
        Pictures(tmp_path / "pictures"),
        CSVLogger(tmp_path / "foreign"),
    )
    trainer = pl.Trainer(
        default_root_dir=tmp_path, accelerator="cpu", logger=[ours, pictures, foreign], max_steps=5,
        callbacks=[TrainingClock(), Weights(4), LogSpacedCheckpoint()],
        limit_val_batches=0, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(BoringModel())
    assert run_loggers(trainer.loggers) == [ours, pictures]
    assert pictures.arrays == [0, 1, 2, 3, 5]
    assert pictures.checkpoints == [path.name for path in sorted((tmp_path / "checkpoints").iterdir())]
    assert len(list((tmp_path / "figures" / "probe_weights").iterdir())) == 5
    metrics = read_metrics(tmp_path / "metrics.jsonl")
    assert metrics["time/weights"][0].tolist() == [0, 1, 2, 3, 5]
    assert 0 < metrics["time/log"][1][-1] <= ours.seconds
    for logger in (pictures, foreign):
        logger.save()
        assert "time/weights" in (Path(logger.log_dir) / "metrics.csv").read_text()
