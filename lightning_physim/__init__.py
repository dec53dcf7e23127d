"""Watch collision-detecting attention heads emerge in a learned physics simulator."""

from lightning_physim.data import ParticleDataModule
from lightning_physim.errors import InputError
from lightning_physim.model import PhysicsTransformer, rollout
from lightning_physim.module import PhysicsSimulator
from lightning_physim.physics import ParticleSystem, sample_initial_states, simulate

__version__ = "0.1.0"

__all__ = [
    "InputError",
    "ParticleDataModule",
    "ParticleSystem",
    "PhysicsSimulator",
    "PhysicsTransformer",
    "rollout",
    "sample_initial_states",
    "simulate",
]
