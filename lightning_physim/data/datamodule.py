"""The LightningDataModule: simulated splits on disk, and loaders that every rank and every resume agree on."""

import copy
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from jsonargparse import ArgumentParser
from torch import Tensor

from lightning_physim.data.batch import ProbeSet, TrajectoryDataset
from lightning_physim.data.describe import describe_splits
from lightning_physim.data.generate import SplitSpec, make_splits
from lightning_physim.data.imported import ImportedSpec, keep_arrays
from lightning_physim.data.loader import BatchLoader, Position, ShardedBatchSampler
from lightning_physim.data.store import find_fault, read_metadata
from lightning_physim.errors import InputError
from lightning_physim.physics import Integrator, ParticleSystem
from lightning_physim.ranges import check_counts, check_not_negative, check_positive
from lightning_physim.target import ResidualTarget


class ParticleDataModule(pl.LightningDataModule):
    """Trajectories of a particle system: simulated once, kept on disk, served as batches of windows.

    ``prepare_data`` makes what is missing under ``cache_dir`` and checks what is there; ``setup`` maps it into memory.
    Training batches are windows of ``train_window`` intervals in an order fixed by (seed, epoch, batch number), so
    that a resumed run sees the very batches of an uninterrupted one. Evaluation batches are whole trajectories with
    the no-pair oracle beside them, each exactly once whatever the number of devices.

    Args:
        system: the particles, their box and forces. ``interval`` is the time between two states.
        n_train: trajectories in the training split.
        n_val: trajectories in the validation split.
        n_test: trajectories in the test split, and in each out-of-distribution split.
        n_intervals: intervals per trajectory. Collisions cool the system: short trajectories keep it lively.
        velocity_std: standard deviation of each component of the initial velocities, units of length per time.
        ood: out-of-distribution test splits, ``{name: {field of the system: value}}``, each the system with those
            fields changed, served as ``ood_<name>``. None for three: half as many particles again, another
            restitution, doubled gravity (each where it makes sense for the system). ``{}`` for none.
        integrator: of the simulator: ``"averaged"`` or ``"verlet"`` (LAMMPS's scheme).
        dt: its largest time step; None for one that resolves the contacts.
        batch_size: training windows per batch and device.
        eval_batch_size: trajectories per evaluation batch and device.
        train_window: intervals per training window; above 1 the loss is that of a short rollout.
        input_noise: standard deviation of the noise added to the first state of a training window, as a fraction of
            the standard deviation of each component. The targets lead back to the true next state, so that the
            network learns to correct its own errors; 0.001 to 0.01 steadies long rollouts.
        permute_targets: a control: in training, every particle gets the target of one chosen at random from the batch,
            so that targets keep their distribution and have nothing to do with the states. Validation, probes and the
            estimation set stay true. Needs ``train_window=1``.
        seed: of the initial states, and of the order of training batches where ``seed_everything`` was not called.
        cache_dir: folder that holds the splits, each in a directory named by a hash of what made it.
        num_workers: processes that read batches ahead; 0 is fastest unless the disk is slow.
        source: folder of trajectories to read in place of simulating them, in HDF5 as of LagrangeBench, NumPy or LAMMPS
            (docs/data.md). ``system`` then says of what: radii, box, gravity and the interval. ``n_train`` and
            the like count pieces of ``n_intervals`` intervals. There are no out-of-distribution splits.

    Raises:
        InputError: a value out of its range.
    """

    def __init__(
        self,
        system: ParticleSystem,
        n_train: int = 4000,
        n_val: int = 200,
        n_test: int = 200,
        n_intervals: int = 20,
        velocity_std: float = 1.0,
        ood: dict[str, dict[str, Any]] | None = None,
        integrator: Integrator = "averaged",
        dt: float | None = None,
        batch_size: int = 64,
        eval_batch_size: int = 50,
        train_window: int = 1,
        input_noise: float = 0.0,
        permute_targets: bool = False,
        seed: int = 0,
        cache_dir: str = "data",
        num_workers: int = 0,
        source: str | None = None,
    ) -> None:
        super().__init__()
        counts = {
            "n_train": n_train, "n_val": n_val, "n_test": n_test, "n_intervals": n_intervals,
            "batch_size": batch_size, "eval_batch_size": eval_batch_size, "train_window": train_window,
        }  # fmt: skip
        check_counts(**counts)
        check_counts(0, seed=seed, num_workers=num_workers)
        check_not_negative(velocity_std=velocity_std, input_noise=input_noise)
        if dt is not None:
            check_positive(dt=dt)
        if train_window > n_intervals:
            raise InputError(f"train_window must not exceed n_intervals={n_intervals}; got {train_window}")
        if permute_targets and train_window > 1:
            raise InputError(f"permute_targets needs train_window=1, as later targets are true; got {train_window}")
        if isinstance(system, dict):  # from a checkpoint
            system = ParticleSystem(**system)
        self.save_hyperparameters(
            {
                **counts, "system": asdict(system), "velocity_std": velocity_std, "ood": ood,
                "integrator": integrator, "dt": dt, "input_noise": input_noise,
                "permute_targets": permute_targets, "seed": seed, "cache_dir": cache_dir, "num_workers": num_workers,
                "source": source,
            },
            logger=False,
        )  # fmt: skip
        self.system = system
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.train_window, self.input_noise, self.permute_targets = train_window, input_noise, permute_targets
        self.seed, self.num_workers = seed, num_workers
        self.cache_dir = Path(cache_dir)
        if source is not None and ood:
            raise InputError(f"ood must be none where trajectories are read from source; got {', '.join(ood)}")
        changed = ood if ood is not None else default_ood(system) if source is None else {}
        systems = {"train": system, "val": system, "test": system}
        systems |= {f"ood_{name}": _changed(system, name, fields) for name, fields in changed.items()}
        sizes = {"train": n_train, "val": n_val}
        self.specs = {
            name: (SplitSpec if source is None else partial(ImportedSpec, source=source))(
                name, changed_system, sizes.get(name, n_test), n_intervals, velocity_std, integrator, dt, seed
            )
            for name, changed_system in systems.items()
        }
        self._splits: dict[str, TrajectoryDataset] = {}
        self._standard: ResidualTarget | None = None

    @classmethod
    def from_arrays(
        cls,
        system: ParticleSystem,
        train: Sequence[np.ndarray],
        val: Sequence[np.ndarray],
        test: Sequence[np.ndarray] | None = None,
        cache_dir: str = "data",
        **options: Any,
    ) -> "ParticleDataModule":
        """A data module of trajectories that are at hand, kept as a ``source`` under ``cache_dir``.

        Args:
            system: what they are of: radii, box, gravity and the interval.
            train, val: positions ``[trajectories, times, particles, 2]``, and perhaps velocities of the same shape,
                which are central differences otherwise.
            test: the same; None for those of ``val``.
            cache_dir: as of the class.
            options: others of the class; those that say how many trajectories of how many intervals are there are all
                that there are by default.

        Raises:
            InputError: arrays of other shapes, and as of the class.
        """
        splits = {"train": train, "val": val, "test": val if test is None else test}
        for name, arrays in splits.items():
            if not 1 <= len(arrays) <= 2 or any(np.ndim(each) != 4 or np.shape(each)[3] != 2 for each in arrays):
                got = [np.shape(each) for each in arrays]
                raise InputError(f"{name} must be positions and perhaps velocities [n, times, N, 2]; got {got}")
            options.setdefault(f"n_{name}", len(arrays[0]))
        lost = 1 if len(train) == 2 else 3  # central differences lose a state at both ends
        options.setdefault("n_intervals", np.shape(train[0])[1] - lost)
        return cls(system, source=str(keep_arrays(splits, Path(cache_dir))), cache_dir=cache_dir, **options)

    def prepare_data(self) -> None:
        make_splits(self.specs.values(), self.cache_dir)

    def setup(self, stage: str | None = None) -> None:
        if self._splits:
            return
        directories = {name: spec.directory(self.cache_dir) for name, spec in self.specs.items()}
        for name, directory in directories.items():
            fault = find_fault(directory, self.specs[name].canonical(), checksums=False)
            if fault is not None:
                raise InputError(f"split {name!r} must be made before setup; got {directory}: {fault}: prepare_data()")
        statistics = read_metadata(directories["train"])["statistics"]
        target = self._standard or ResidualTarget(
            statistics["state_mean"], statistics["state_std"], statistics["residual_rms"],
            statistics["interval"], statistics["gravity"],
        )  # fmt: skip
        self._splits = {
            name: TrajectoryDataset(directory, target, self.train_window if name == "train" else None)
            for name, directory in directories.items()
        }

    def standardize_as(self, target: ResidualTarget) -> None:
        """Give targets the units of a network that is trained already, on these data or others; before :meth:`setup`.

        Raises:
            InputError: the network has learnt another interval than that of these data.
        """
        learnt, here = float(target.interval), self.system.interval
        if not math.isclose(learnt, here, rel_tol=1e-6):
            raise InputError(
                f"data for a trained network must have its interval, {learnt:g}; got {here:g}: "
                "leave out --data.system.interval"
            )
        self._standard = copy.deepcopy(target)

    @property
    def target(self) -> ResidualTarget:
        """Statistics of the training split; a copy, since moving a module to a device moves it in place."""
        return copy.deepcopy(self.split("train").target)

    @property
    def test_splits(self) -> list[str]:
        """Names of the splits behind ``test_dataloader()``, in order."""
        return [name for name in self.specs if name not in ("train", "val")]

    @property
    def contact_distance(self) -> Tensor:
        """Sums of radii ``[N, N]``, float32: two particles closer than that touch."""
        radii = torch.tensor(self.split("val").metadata["radii"], dtype=torch.float32)
        return radii[:, None] + radii

    def split(self, name: str) -> TrajectoryDataset:
        """The data set of ``train``, ``val``, ``test`` or ``ood_<name>``.

        Raises:
            InputError: no such split, or ``setup`` has not been called.
        """
        if name not in self.specs:
            raise InputError(f"a split is one of {', '.join(self.specs)}; got {name!r}")
        if not self._splits:
            raise InputError("the data are not loaded; call prepare_data() and setup() first")
        return self._splits[name]

    def train_dataloader(self) -> BatchLoader:
        return self._loader(
            "train",
            self.batch_size,
            position=self._position,
            input_noise=self.input_noise,
            permute_targets=self.permute_targets,
        )

    def val_dataloader(self) -> BatchLoader:
        return self._loader("val", self.eval_batch_size)

    def test_dataloader(self) -> list[BatchLoader]:
        return [self._loader(name, self.eval_batch_size) for name in self.test_splits]

    def predict_dataloader(self) -> BatchLoader:
        return self._loader("test", self.eval_batch_size)

    def probe_states(self, n: int) -> tuple[Tensor, Tensor]:
        """A fixed set of ``n`` held-out states, spread evenly over the validation trajectories and their times.

        Returns:
            States float32 ``[n, N, 4]``, and bool ``[n, N, N]``, which pairs touch in the interval that follows.

        Raises:
            InputError: the validation split has fewer intervals than ``n``.
        """
        probe = self.probe_set(n)
        return probe.states, probe.contacts

    def probe_set(self, n: int) -> ProbeSet:
        """:meth:`probe_states` with their targets, for probes that look at the loss."""
        val = self.split("val")
        trajectory, time = self._spread("a probe set", n, val)
        states = val.states[trajectory, time]
        targets = val.target.residual(states, val.states[trajectory, time + 1], val.gravity)
        return ProbeSet(states, targets, val.contacts(trajectory, time))

    def estimation_set(self, n: int) -> tuple[Tensor, Tensor]:
        """A fixed set of ``n`` training pairs, spread evenly, to estimate learning coefficients on.

        A training split of fewer intervals is taken whole: the coefficient is then that of all the data.

        Returns:
            States float32 ``[n, N, 4]``, and the standardised residuals ``[n, N, 4]`` over the interval that follows.

        Raises:
            InputError: ``n`` is below 1.
        """
        train = self.split("train")
        trajectory, time = self._spread("an estimation set", min(n, train.n_trajectories * train.n_intervals), train)
        states = train.states[trajectory, time]
        return states, train.target.residual(states, train.states[trajectory, time + 1], train.gravity)

    def describe(self) -> str:
        """A table of the splits (sizes, path, colliding fraction, energies, floors) and the training statistics."""
        return describe_splits({name: self.split(name) for name in self.specs})

    def __str__(self) -> str:
        return self.describe() if self._splits else f"{type(self).__name__}({', '.join(self.specs)}; not set up)"

    @staticmethod
    def _spread(what: str, n: int, split: TrajectoryDataset) -> tuple[Tensor, Tensor]:
        """Trajectories and times ``[n]`` of distinct intervals."""
        total = split.n_trajectories * split.n_intervals
        if not 1 <= n <= total:
            raise InputError(
                f"{what} has 1 to {total} states, the intervals of its split; got {n}: ask for "
                f"{min(max(n, 1), total)}, or give it more trajectories"
            )
        # Multiples of a stride near the golden section, coprime to the total: distinct, and even in trajectory as
        # well as in time, where a plain stride can hit the same time again and again.
        stride = next(s for s in range(max(1, round(0.618 * total)), 2 * total) if math.gcd(s, total) == 1)
        flat = (torch.arange(n) * stride % total).sort().values
        return flat // split.n_intervals, flat % split.n_intervals

    def _loader(self, name: str, batch_size: int, **training: Any) -> BatchLoader:
        trainer = self.trainer
        dataset = self.split(name)
        sampler = ShardedBatchSampler(
            len(dataset),
            batch_size,
            shuffle=name == "train",
            seed=int(os.environ.get("PL_GLOBAL_SEED", self.seed)),
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
        )
        pin_memory = torch.cuda.is_available() and (trainer is None or trainer.strategy.root_device.type == "cuda")
        return BatchLoader(dataset, sampler, num_workers=self.num_workers, pin_memory=pin_memory, **training)

    def _position(self) -> Position | None:
        """Where training stands, from Lightning's own counters: right at a start, at a new epoch and at a resume."""
        trainer: Any = self.trainer
        if trainer is None or not trainer.training:
            return None
        if trainer.overfit_batches:
            return 0, 0  # the same batches in every epoch
        batches = trainer.fit_loop.epoch_loop.batch_progress
        first = batches.current.ready
        # Not Lightning's number of the epoch, which counts one twice when resumed from a checkpoint at its end.
        return (batches.total.completed - first) // trainer.num_training_batches, first


def default_ood(system: ParticleSystem) -> dict[str, dict[str, Any]]:
    """The out-of-distribution splits of a data module that names none: changes that the system allows."""
    changes: dict[str, dict[str, Any]] = {}
    if isinstance(system.radius, float) and isinstance(system.mass, float) and system.packing_fraction < 0.3:
        changes["particles"] = {"n_particles": math.ceil(1.5 * system.n_particles)}
    lively = system.restitution is not None and system.restitution > 0.7
    changes["restitution"] = {"restitution": 0.5 if lively else 0.9}
    if system.gravity != 0:
        changes["gravity"] = {"gravity": 2 * system.gravity}
    return changes


def data_module(section: dict[str, Any]) -> ParticleDataModule:
    """The data module of a run, from the ``data`` section of its configuration."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(ParticleDataModule, "data")
    return parser.instantiate(parser.parse_object({"data": section})).data


def _changed(system: ParticleSystem, name: str, fields: dict[str, Any]) -> ParticleSystem:
    if not name.isidentifier():
        raise InputError(f"an ood split's name is made of letters, digits and _; got {name!r}")
    if fields.get("interval", system.interval) != system.interval:
        raise InputError(f"ood split {name!r} must keep the interval={system.interval} that the network learns")
    if "damping" in fields and "restitution" not in fields:
        fields = {**fields, "restitution": None}
    elif "restitution" in fields and "damping" not in fields:
        fields = {**fields, "damping": None}
    try:
        return replace(system, **fields)
    except TypeError as error:
        known = ", ".join(asdict(system))
        raise InputError(f"ood split {name!r} may change {known}; got {', '.join(map(str, fields))}") from error
