"""What a rollout costs that sees no neighbours."""

import pytest
import torch

from lightning_physim.data import ParticleDataModule, floor_rollouts
from lightning_physim.physics import ParticleSystem


def test_floors_as_simulators_start_with_the_floors_of_one_interval(tmp_path):
    system = ParticleSystem(n_particles=6, box=(1.0, 1.0), radius=0.08, stiffness=8000.0, restitution=0.8, interval=0.1)
    sizes = {"n_train": 8, "n_val": 6, "n_test": 2, "n_intervals": 4}
    data = ParticleDataModule(system, **sizes, velocity_std=0.7, cache_dir=str(tmp_path))
    data.prepare_data()
    data.setup()
    val = data.split("val")
    one, three = (floor_rollouts(data, horizons) for horizons in ([1], [1, 3]))
    alone = (val.no_pair[:, 0, :, :2].double() - val.states[:, 1, :, :2].double()).square().mean()
    assert one["no_pair"]["mse@1"] == pytest.approx(float(alone), rel=1e-4)
    assert three["no_pair"]["mse@1"] == one["no_pair"]["mse@1"]
    # Free flight leaves the box, in closed form.
    x, v = val.states[:, 0, :, :2].double(), val.states[:, 0, :, 2:].double()
    fall = torch.tensor([0.0, -system.gravity]).double()
    t = 3 * system.interval
    free = (x + v * t + 0.5 * fall * t**2 - val.states[:, 3, :, :2].double()).square().mean()
    assert three["ballistic"]["mse@3"] == pytest.approx(float(free), rel=1e-4)
