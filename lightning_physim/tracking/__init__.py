"""Where the numbers of a run go: its directory, ``metrics.jsonl`` and Weights & Biases."""

from lightning_physim.tracking.jsonl import JsonlLogger, read_arrays, read_metrics
from lightning_physim.tracking.loggers import run_loggers
from lightning_physim.tracking.online_sweep import OnlineSweep
from lightning_physim.tracking.panels import HEAD_TABLE, PANELS
from lightning_physim.tracking.provenance import provenance
from lightning_physim.tracking.reproduction import SEED, Reproduction
from lightning_physim.tracking.run import RunDirectory, checkpoint_step, find_run, last_checkpoint, new_run
from lightning_physim.tracking.sweep import SweepSpec, Trial
from lightning_physim.tracking.trials import LocalSweep, read_trials
from lightning_physim.tracking.wandb import PhysimWandbLogger

__all__ = [
    "HEAD_TABLE",
    "JsonlLogger",
    "LocalSweep",
    "OnlineSweep",
    "PANELS",
    "PhysimWandbLogger",
    "Reproduction",
    "RunDirectory",
    "SEED",
    "SweepSpec",
    "Trial",
    "checkpoint_step",
    "find_run",
    "last_checkpoint",
    "new_run",
    "provenance",
    "read_arrays",
    "read_metrics",
    "read_trials",
    "run_loggers",
]
