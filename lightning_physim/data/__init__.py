"""Trajectories on disk and in memory, and the data module that serves them."""

from lightning_physim.data.batch import Batch, Evaluation, ProbeSet, TrajectoryDataset
from lightning_physim.data.datamodule import ParticleDataModule, data_module, default_ood
from lightning_physim.data.export import export_splits
from lightning_physim.data.floors import floor_rollouts
from lightning_physim.data.generate import SplitSpec, make_split, missing_splits, no_pair_oracle
from lightning_physim.data.loader import BatchLoader, ShardedBatchSampler

__all__ = [
    "Batch",
    "BatchLoader",
    "Evaluation",
    "ParticleDataModule",
    "ProbeSet",
    "ShardedBatchSampler",
    "SplitSpec",
    "TrajectoryDataset",
    "data_module",
    "default_ood",
    "export_splits",
    "floor_rollouts",
    "make_split",
    "missing_splits",
    "no_pair_oracle",
]
