"""Many trainings: what a sweep asks for, and who runs its trials."""

from lightning_physim.sweeps.local import LocalSweep, check_jobs
from lightning_physim.sweeps.online import OnlineSweep
from lightning_physim.sweeps.reproduction import Across, Reproduction, Trainings
from lightning_physim.sweeps.spec import SweepSpec, Trial
from lightning_physim.sweeps.state import read_trials

__all__ = [
    "Across",
    "LocalSweep",
    "OnlineSweep",
    "Reproduction",
    "SweepSpec",
    "Trainings",
    "Trial",
    "check_jobs",
    "read_trials",
]
