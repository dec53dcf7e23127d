"""A wandb service that does not end: the genuine one, stopped by a signal."""

import signal
from pathlib import Path
from subprocess import Popen

import wandb

from lightning_physim.tracking.wandb_service import end_service


def log(folder: Path) -> Popen:
    """Log a row in a new run, which goes on, and give the service that writes it."""
    settings = wandb.Settings(silent=True, console="off", reinit="create_new")  # no run of the whole process
    wandb.init(mode="offline", dir=folder, settings=settings).log({"a": 1})
    return wandb.setup().ensure_service()._proc._process


def test_a_service_that_hangs_is_killed_and_another_is_not(tmp_path, no_key):
    end_service()  # nothing runs: nothing to wait for
    hung = log(tmp_path)
    hung.send_signal(signal.SIGSTOP)
    end_service(timeout=0.5)
    assert hung.returncode == -signal.SIGKILL
    well = log(tmp_path)
    end_service(timeout=60.0)
    assert well.returncode == 0 and well.pid != hung.pid
