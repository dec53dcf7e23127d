"""The processes of a distributed training that this one has started, when it does not end well."""

import time
from datetime import timedelta

import pytorch_lightning as pl

from lightning_physim.ranges import MOST_COUNTED

GRACE = 5.0
"""Seconds that the other ranks have, once one has failed, to say why and to end by themselves."""


def limit_waiting(trainer: pl.Trainer, seconds: float) -> None:
    """Let no rank wait for another one longer than this; a no-op for a single process. Before training starts."""
    # DDPStrategy takes it as an argument, but the trainer makes the strategy, of a name such as `ddp` or `auto`.
    if hasattr(trainer.strategy, "_timeout"):
        trainer.strategy._timeout = timedelta(seconds=min(seconds, MOST_COUNTED))


def end_ranks(trainer: pl.Trainer) -> str:
    """Wait a little for the processes that Lightning's launcher has started, and kill what is left of them.

    Returns:
        Those that had failed by themselves, with their exit codes, negative for a signal.
    """
    started = getattr(trainer.strategy.launcher, "procs", [])
    processes = list(started)
    # Lightning's observer of this very list would kill this process too, in the midst of what it has to write.
    started.clear()
    end = time.monotonic() + GRACE
    while time.monotonic() < end and any(process.poll() is None for process in processes):
        time.sleep(0.05)
    failed = [f"rank {rank} with exit code {p.returncode}" for rank, p in enumerate(processes, 1) if p.returncode]
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()
    return ", ".join(failed)
