"""Fits of toy size, as a user runs them."""

import contextlib
import io
import json
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from lightning_physim.cli import main
from tests.helpers.processes import clean_environment, clear_environment

TINY = {
    "seed_everything": 0,
    "model": {"n_layers": 2, "n_heads": 2, "d_model": 16, "d_mlp": 16, "d_embedding": 16, "rollout_horizons": [1, 4]},
    "data": {
        "system": {"n_particles": 6, "box": [1.0, 1.0], "radius": 0.08, "restitution": 0.8, "interval": 0.1},
        "velocity_std": 0.7, "n_intervals": 6, "n_train": 40, "n_val": 9, "n_test": 5, "batch_size": 16,
        "eval_batch_size": 4,
    },
    "trainer": {
        "accelerator": "cpu", "max_steps": 30, "max_epochs": -1, "check_val_every_n_epoch": None,
        "val_check_interval": 1000, "num_sanity_val_steps": 0, "log_every_n_steps": 5, "enable_model_summary": False,
    },
    "validation": {"steps_per_decade": 4},
    "probe": {"n_states": 21, "steps_per_decade": 6},
    "emergence": {"steps_per_decade": 2},
    "snapshots": {"steps_per_decade": 3},
    "checkpoints": {"steps_per_decade": 2, "rolling_steps": 7},
    "llc": {
        "first_step": 5, "steps_per_decade": 2, "n_samples": 64, "whole_model": True,
        "sgld": {
            "n_beta": 50.0, "localization": 100.0, "step_size": "auto", "n_chains": 2, "n_draws": 12, "n_burn_in": 8,
            "batch_size": 16, "integrator": "euler", "doublings": 0,
        },
    },
    "geometry": {"n_states": 4, "steps_per_decade": 2},
    "progress": False,
}  # fmt: skip


def without(*sections: str) -> dict[str, Any]:
    """TINY less the measurements of these sections."""
    return TINY | dict.fromkeys(sections, False)


class Done(NamedTuple):
    code: int
    stdout: str
    stderr: str


def physim(*argv: str, cwd: Path, code: int = 0) -> Done:
    """Run the command in this process: what a new one adds is seconds of imports."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        clear_environment(patch)
        patch.setenv("HOME", str(cwd))
        patch.chdir(cwd)
        warnings.simplefilter("ignore")
        torch.set_num_threads(1)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            done = Done(main(list(argv)), out.getvalue(), err.getvalue())
    assert done.code == code, done.stdout + done.stderr
    return done


def physim_process(*argv: str, cwd: Path, env: Mapping[str, str] | None = None) -> Done:
    """Run the command in a process of its own, as ranks that Lightning starts need it."""
    done = subprocess.run(
        [sys.executable, "-m", "lightning_physim", *argv],
        cwd=cwd,
        env=clean_environment() | {"HOME": str(cwd), "OMP_NUM_THREADS": "1", **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


def rows(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def values(run: Path) -> dict[tuple[int, str], float]:
    """Everything that was measured, less what depends on the clock."""
    found = {}
    for row in rows(run):
        for key, value in row.items():
            if key not in ("step", "time") and not key.startswith("time/"):
                assert (row["step"], key) not in found, f"logged twice: {key} at {row['step']}"
                found[row["step"], key] = value
    return found


def only_run(folder: Path) -> Path:
    (run,) = (folder / "runs").iterdir()
    return run


def said(argv: list[str], capsys) -> str:
    """What a command prints that ends without doing anything."""
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert not ended.value.code
    return capsys.readouterr().out
