"""Where the time of ``physim fit`` goes, part by part: exclusive CPU seconds, cold and warm.

*Cold* means that neither the data set nor the simulator's machine code is there yet. A run is a process of its own that
wraps the functions behind the parts: what one part calls of another counts for the other.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.table import Row

FIRST_STEP = "first step starts at (wall)"


class Parts:
    """CPU seconds by part; whatever runs is in the innermost part that has begun."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self.stack = ["imports and set-up"]
        self.since = 0.0  # the process's own clock starts with it

    def switch(self) -> None:
        now = time.process_time()
        self.spent[self.stack[-1]] = self.spent.get(self.stack[-1], 0.0) + now - self.since
        self.since = now

    def wrap(self, owner: Any, name: str, part: str) -> None:
        inner: Callable[..., Any] = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            self.switch()
            self.stack.append(part)
            try:
                return inner(*args, **kwargs)
            finally:
                self.switch()
                self.stack.pop()

        setattr(owner, name, timed)


def fit(config: str, folder: Path, steps: int) -> dict[str, float]:
    """Run one fit in this process; CPU seconds by part."""
    started = float(os.environ["STARTED"])
    parts = Parts()
    # As `physim` does, before anything else is imported.
    from lightning_physim.physics.beside import compile_beside

    compile_beside()
    from pytorch_lightning.loops import _EvaluationLoop, _FitLoop
    from pytorch_lightning.strategies import Strategy

    from lightning_physim import callbacks, tracking
    from lightning_physim.cli.main import main
    from lightning_physim.data import ParticleDataModule
    from lightning_physim.module import PhysicsSimulator
    from lightning_physim.report import LiveReport

    parts.wrap(ParticleDataModule, "prepare_data", "data")
    parts.wrap(_FitLoop, "run", "Lightning's loop")
    parts.wrap(Strategy, "optimizer_step", "training steps")
    parts.wrap(_EvaluationLoop, "run", "validation")
    parts.wrap(callbacks.CollisionProbe, "measure", "probes")
    parts.wrap(callbacks.LearningCoefficient, "measure", "learning coefficients")
    parts.wrap(callbacks.EmergenceMonitor, "measure", "emergence")
    parts.wrap(callbacks.Snapshots, "measure", "snapshots")
    parts.wrap(callbacks.LogSpacedCheckpoint, "on_train_batch_end", "checkpoints")
    parts.wrap(LiveReport, "_write", "reports")
    parts.wrap(tracking.JsonlLogger, "log_metrics", "logs")
    first, training_step = [], PhysicsSimulator.training_step

    def noted(self: PhysicsSimulator, *args: Any) -> Any:
        if not first:
            first.append(time.time() - started)
        return training_step(self, *args)

    PhysicsSimulator.training_step = noted  # type: ignore[method-assign]
    arguments = [
        "--runs",
        str(folder / "runs"),
        "--data.cache_dir",
        str(folder / "data"),
        f"--trainer.max_steps={steps}",
    ]
    code = main(["fit", "--config", config, *arguments])
    assert code == 0
    parts.switch()
    return {FIRST_STEP: first[0], **parts.spent}


def in_process(config: str, folder: Path, steps: int) -> dict[str, float]:
    """:func:`fit` in a process of its own."""
    own = {"STARTED": str(time.time()), "NUMBA_CACHE_DIR": str(folder / "numba"), "WANDB_MODE": "offline"}
    command = [sys.executable, "-m", "benchmarks.waterfall", config, str(folder), str(steps)]
    done = subprocess.run(command, env=os.environ | own, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(quick: bool) -> Iterator[Row]:
    for config, steps in (("smoke", 100 if quick else 1000), ("demo", 200 if quick else 2000)):
        with tempfile.TemporaryDirectory() as folder:
            for state in ("cold", "warm"):
                found = in_process(config, Path(folder), steps)
                yield Row(f"{config} {state}: {FIRST_STEP}", found.pop(FIRST_STEP), "s")
                for part, spent in found.items():
                    yield Row(f"{config} {state}: {part}", spent, "s CPU")
                yield Row(f"{config} {state}: all {steps} steps", sum(found.values()), "s CPU")


if __name__ == "__main__":
    print(json.dumps(fit(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))
