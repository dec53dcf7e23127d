"""Pictures of training for later: what every head looks at in a few states, and the network beside the truth."""

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from lightning_physim import keys
from lightning_physim.callbacks.observer import Observer
from lightning_physim.data import ParticleDataModule
from lightning_physim.errors import InputError
from lightning_physim.inside import look_inside_run
from lightning_physim.loggers import run_loggers
from lightning_physim.module import PhysicsSimulator
from lightning_physim.probes import about_to_touch, attention_patterns, has_attention
from lightning_physim.protocols import SnapshotData, require
from lightning_physim.ranges import check_counts, check_positive


class Snapshots(Observer):
    """Records attention and rollouts at log-spaced steps, for the viewer of the report and for W&B's pictures.

    After the last step it looks inside the heads of our own networks as well, as ``physim attention`` does, which takes
    about a second for ``demo``.

    The arrays of :meth:`record` go to every :class:`lightning_physim.loggers.RunLogger`, under ``probe/snapshots``.
    They are for the eye: attention is kept to 1/255, positions to half precision. A run of ``demo`` leaves 0.5 MB.

    Works with any LightningModule that maps ``state [systems, particles, 4]`` to the next one; without
    attention the snapshots hold rollouts alone. Of the data module it takes ``probe_states(n)``,
    ``contact_distance``, ``system`` and ``split("val")``, as :class:`lightning_physim.data.ParticleDataModule` has
    them. Every rank computes the same: there is nothing to reduce.

    Args:
        n_states: held-out states whose attention is recorded: those with the most pairs that are about to touch.
        n_rollouts: validation trajectories, from the first on, each predicted over its whole length.
        radius: within which a particle is near, in contact diameters; that of :class:`CollisionProbe`.
        steps_per_decade: snapshots per tenfold increase of the step.

    Raises:
        InputError: a number below 1 (``n_states`` and ``n_rollouts``: below 0, or both 0).
    """

    name = "snapshots"

    def __init__(self, n_states: int = 4, n_rollouts: int = 2, radius: float = 1.5, steps_per_decade: int = 8) -> None:
        super().__init__(steps_per_decade)
        check_counts(0, n_states=n_states, n_rollouts=n_rollouts)
        if n_states + n_rollouts < 1:
            raise InputError("one of n_states and n_rollouts must be above 0; got 0 for both")
        check_positive("contact diameters", radius=radius)
        self.n_states, self.n_rollouts, self.radius = n_states, n_rollouts, radius

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        datamodule: Any = getattr(trainer, "datamodule", None)
        require(datamodule, SnapshotData, "Snapshots", "data module", "pass one to fit, or leave the callback out")
        val, system, distance = datamodule.split("val"), datamodule.system, datamodule.contact_distance
        n_held_out = val.n_trajectories * val.n_intervals
        states, contacts = datamodule.probe_states(min(256, n_held_out))
        chosen = about_to_touch(states, contacts, distance).sum((1, 2)).argsort(descending=True, stable=True)
        chosen = chosen[: self.n_states]
        self.states: Tensor = states[chosen]
        self.truth: Tensor = val.states[: self.n_rollouts]
        self.scene = {
            "box": np.array(system.box, np.float32),
            "radii": (distance.diagonal() / 2).numpy().astype(np.float32),
            "interval": np.float32(system.interval),
            "near": np.float32(self.radius),
            "states": self.states.numpy().astype(np.float32),
            "touching": about_to_touch(self.states, contacts[chosen], distance).numpy(),
            "truth": self.truth[..., :2].numpy().astype(np.float16),
        }

    def measure(self, trainer: pl.Trainer, module: pl.LightningModule, final: bool) -> dict[str, float]:
        arrays = {keys.SNAPSHOTS: self.record(module)}
        if final and trainer.is_global_zero and self.n_states and has_attention(module):
            arrays |= self._inside(trainer, module)
        for logger in run_loggers(trainer.loggers):
            for key, content in arrays.items():
                logger.log_arrays(key, content, trainer.global_step)
        return {}

    def _inside(self, trainer: pl.Trainer, module: pl.LightningModule) -> dict[str, dict[str, Any]]:
        """The views inside the heads; of our own network and data alone, whose exact answers are known."""
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        if not (isinstance(module, PhysicsSimulator) and isinstance(datamodule, ParticleDataModule)):
            return {}
        try:
            with torch.random.fork_rng(devices=[]):  # weights are drawn and thrown away
                copy = PhysicsSimulator(**module.hparams)  # on the CPU, where the simulator is
            copy.load_state_dict(module.state_dict())
            return {keys.INSIDE: look_inside_run(copy, datamodule).arrays()}
        except Exception as error:  # whatever it is, the training is worth more
            reason = " ".join(str(error).split())[:200]
            rank_zero_warn(f"the views inside the heads cannot be made, the run goes without: {reason}")
            return {}

    @torch.no_grad()
    def record(self, module: pl.LightningModule) -> dict[str, Any]:
        """The snapshot of a network as it stands.

        Returns:
            ``attention`` uint8 ``[layers, states, heads, query, key]``, in units of 1/255 (left out for a module
            without); ``rollout`` float16 ``[trajectories, times, particles, 2]``, infinite or NaN where it diverged;
            and the scene, the same in every snapshot: ``truth`` like ``rollout``, ``states`` float32
            ``[states, particles, 4]``, ``touching`` bool ``[states, particles, particles]`` (pairs that touch in the
            interval that follows, and do not yet), ``box`` ``[2]``, ``radii`` ``[particles]``, ``interval``, and
            ``near``, the radius in contact diameters.
        """
        arrays: dict[str, Any] = dict(self.scene)
        if self.n_states and has_attention(module):
            attention = attention_patterns(module, self.states.to(module.device))
            arrays["attention"] = (attention.float() * 255).round().to(torch.uint8).cpu().numpy()
        if self.n_rollouts:
            path = [self.truth[:, 0].to(module.device)]
            for _ in range(self.truth.shape[1] - 1):
                path.append(module(path[-1]))
            # What is beyond half precision has left the box by far: infinity, without numpy's warning.
            arrays["rollout"] = torch.stack(path, dim=1)[..., :2].half().cpu().numpy()
        return arrays
