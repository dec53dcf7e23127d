"""What a run tells Weights & Biases of itself and of its metrics."""

import subprocess
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.demos.boring_classes import BoringModel

import lightning_physim
from lightning_physim.tracking.provenance import _checkout, provenance


def told(tmp_path, part: str = "metrics") -> dict[str, dict[str, str | None]]:
    trainer = pl.Trainer(
        default_root_dir=tmp_path, accelerator="cpu", logger=False, max_steps=1,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(BoringModel())
    return provenance(trainer)[part]


def test_units_and_directions_go_by_patterns_of_keys(tmp_path):
    metrics = told(tmp_path)
    assert metrics["val/loss"] == {"unit": "variance of the standardised residual", "goal": "minimize"}
    assert metrics["probe/auroc/*"] == {"unit": "probability", "goal": "maximize"}
    assert metrics["rollout/mse@*"]["goal"] == "minimize" and metrics["llc/*/rhat"]["goal"] == "minimize"
    assert not any("{" in key for key in metrics)


def test_what_has_no_better_direction_is_told_none(tmp_path):
    metrics = told(tmp_path)
    assert metrics["probe/distance_correlation/*"]["goal"] is None and metrics["llc/*/mean"]["goal"] is None


def test_a_run_tells_its_machine_and_its_versions(tmp_path):
    found = told(tmp_path, "provenance")
    machine = {"version": lightning_physim.__version__, "world_size": 1, "device": "cpu", "torch": torch.__version__}
    assert found.items() >= machine.items()
    assert not {"data", "sgld"} & found.keys()  # it has neither


def test_a_checkout_tells_its_commit_and_whether_tracked_files_differ(tmp_path, monkeypatch):
    def git(*words: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip()

    package = tmp_path / "package"
    package.mkdir()
    module = package / "__init__.py"
    module.touch()
    monkeypatch.setattr(lightning_physim, "__file__", str(module))
    git("init", "-q")
    assert _checkout() == {}  # installed inside a repository of something else
    git("add", ".")
    git("commit", "-q", "-m", "first")
    commit = git("rev-parse", "HEAD")
    (package / "untracked.py").touch()
    assert len(commit) == 40 and _checkout() == {"commit": commit, "dirty": False}
    Path(module).write_text("changed = True")
    assert _checkout() == {"commit": commit, "dirty": True}
