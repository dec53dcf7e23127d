"""When to measure, validate and save: Lightning callbacks, all on log-spaced steps."""

from lightning_physim.callbacks.checkpoint import LogSpacedCheckpoint
from lightning_physim.callbacks.clock import TrainingClock
from lightning_physim.callbacks.collision_probe import CollisionProbe
from lightning_physim.callbacks.emergence_monitor import EmergenceMonitor
from lightning_physim.callbacks.geometry import Geometry
from lightning_physim.callbacks.hooks import leave_out_unused_hooks
from lightning_physim.callbacks.learning_coefficient import NETWORK_SGLD, LearningCoefficient
from lightning_physim.callbacks.observer import Observer
from lightning_physim.callbacks.progress import StepProgressBar, observers
from lightning_physim.callbacks.safeguard import Safeguard, is_ending
from lightning_physim.callbacks.schedule import LogSchedule
from lightning_physim.callbacks.snapshots import Snapshots
from lightning_physim.callbacks.validation import LogSpacedValidation

__all__ = [
    "NETWORK_SGLD",
    "CollisionProbe",
    "EmergenceMonitor",
    "Geometry",
    "LearningCoefficient",
    "LogSchedule",
    "LogSpacedCheckpoint",
    "LogSpacedValidation",
    "Observer",
    "Safeguard",
    "Snapshots",
    "StepProgressBar",
    "TrainingClock",
    "is_ending",
    "leave_out_unused_hooks",
    "observers",
]
