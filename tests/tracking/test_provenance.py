"""What a run tells Weights & Biases of itself and of its metrics."""

import pytorch_lightning as pl
from pytorch_lightning.demos.boring_classes import BoringModel

from lightning_physim.tracking.provenance import provenance


def told(tmp_path) -> dict[str, dict[str, str | None]]:
    trainer = pl.Trainer(
        default_root_dir=tmp_path, accelerator="cpu", logger=False, max_steps=1,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(BoringModel())
    return provenance(trainer)["metrics"]


def test_units_and_directions_go_by_patterns_of_keys(tmp_path):
    metrics = told(tmp_path)
    assert metrics["val/loss"] == {"unit": "variance of the standardised residual", "goal": "minimize"}
    assert metrics["probe/auroc/*"] == {"unit": "probability", "goal": "maximize"}
    assert metrics["rollout/mse@*"]["goal"] == "minimize" and metrics["llc/*/rhat"]["goal"] == "minimize"
    assert not any("{" in key for key in metrics)


def test_what_has_no_better_direction_is_told_none(tmp_path):
    metrics = told(tmp_path)
    assert metrics["probe/distance_correlation/*"]["goal"] is None and metrics["llc/*/mean"]["goal"] is None
