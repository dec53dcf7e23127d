"""Discs that collide: the system, its initial states and its trajectories."""

from lightning_physim.physics.initial import sample_initial_states
from lightning_physim.physics.pairs import ContactPairs
from lightning_physim.physics.system import ParticleSystem
from lightning_physim.physics.trajectory import ENGINE_VERSION, Integrator, Trajectory, simulate

__all__ = [
    "ENGINE_VERSION",
    "ContactPairs",
    "Integrator",
    "ParticleSystem",
    "Trajectory",
    "sample_initial_states",
    "simulate",
]
