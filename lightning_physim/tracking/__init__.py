"""Where the numbers of a run go: its directory, ``metrics.jsonl`` and Weights & Biases."""

from typing import TYPE_CHECKING

from lightning_physim.lazy import lazily
from lightning_physim.tracking.origin import origin_line, read_origin, write_origin
from lightning_physim.tracking.reading import arrays_folder, read_arrays, read_metrics, read_table, table_path
from lightning_physim.tracking.run import (
    RunDirectory,
    checkpoint_step,
    checkpoints_by_step,
    find_run,
    last_checkpoint,
    new_run,
)
from lightning_physim.tracking.state import RunState, how_to_go_on, only_writer, read_state, state_after, write_state

if TYPE_CHECKING:
    from lightning_physim.tracking.jsonl import JsonlLogger
    from lightning_physim.tracking.loggers import new_loggers
    from lightning_physim.tracking.trackio_logger import TrackioLogger
    from lightning_physim.tracking.wandb_logger import PhysimWandbLogger

__all__ = [
    "JsonlLogger",
    "PhysimWandbLogger",
    "RunDirectory",
    "RunState",
    "TrackioLogger",
    "arrays_folder",
    "checkpoint_step",
    "checkpoints_by_step",
    "find_run",
    "how_to_go_on",
    "last_checkpoint",
    "new_loggers",
    "new_run",
    "only_writer",
    "origin_line",
    "read_arrays",
    "read_metrics",
    "read_table",
    "read_origin",
    "read_state",
    "state_after",
    "table_path",
    "write_origin",
    "write_state",
]

__getattr__ = lazily(
    __name__,
    {
        "JsonlLogger": "jsonl",
        "new_loggers": "loggers",
        "PhysimWandbLogger": "wandb_logger",
        "TrackioLogger": "trackio_logger",
    },
)
