"""The floors as simulators: what a rollout costs that sees no neighbours, or nothing at all."""

from collections.abc import Sequence

import torch

from lightning_physim.data.datamodule import ParticleDataModule
from lightning_physim.data.generate import no_pair_oracle
from lightning_physim.metrics import RolloutError


def floor_rollouts(data: ParticleDataModule, horizons: Sequence[int]) -> dict[str, dict[str, float]]:
    """Rollout errors of the floors over the validation trajectories.

    Args:
        data: set up.
        horizons: intervals, at most those of a trajectory.

    Returns:
        ``{"no_pair": {"mse@K": ...}, "ballistic": ...}``, what :class:`lightning_physim.metrics.RolloutError` gives.
    """
    spec, split = data.specs["val"], data.split("val")
    alone = [split.states[:, 0].double().numpy()]
    flying = [split.states[:, 0]]
    for _ in range(max(horizons)):
        alone.append(no_pair_oracle(spec.system, alone[-1], spec.integrator, spec.dt))
        flying.append(split.target.free_flight(flying[-1], split.gravity))
    predicted = {"no_pair": [torch.from_numpy(states) for states in alone], "ballistic": flying}
    found = {}
    for name, states in predicted.items():
        error = RolloutError(tuple(horizons), sync_on_compute=False)  # every rank that asks has all trajectories
        error.update(torch.stack(states, dim=1), split.states, split.masses, split.gravity)
        found[name] = {key: float(value) for key, value in error.compute().items()}
    return found
