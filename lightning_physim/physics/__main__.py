"""``python -m lightning_physim.physics``: compile the simulator for few discs, for other processes to find on disk."""

from lightning_physim.physics import ParticleSystem, sample_initial_states, simulate

system = ParticleSystem(n_particles=2, restitution=1.0)
simulate(system, *sample_initial_states(system, 1), n_intervals=1, threads=1)
