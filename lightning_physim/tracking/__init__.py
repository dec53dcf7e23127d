"""Where the numbers of a run go: its directory, ``metrics.jsonl`` and Weights & Biases."""

from lightning_physim.tracking.jsonl import JsonlLogger, arrays_folder, read_arrays, read_metrics, table_path
from lightning_physim.tracking.loggers import new_loggers
from lightning_physim.tracking.provenance import provenance
from lightning_physim.tracking.run import RunDirectory, checkpoint_step, find_run, last_checkpoint, new_run
from lightning_physim.tracking.state import RunState, only_writer, read_state, write_state
from lightning_physim.tracking.wandb_logger import PhysimWandbLogger

__all__ = [
    "JsonlLogger",
    "PhysimWandbLogger",
    "RunDirectory",
    "RunState",
    "arrays_folder",
    "checkpoint_step",
    "find_run",
    "last_checkpoint",
    "new_loggers",
    "new_run",
    "only_writer",
    "provenance",
    "read_arrays",
    "read_metrics",
    "read_state",
    "table_path",
    "write_state",
]
