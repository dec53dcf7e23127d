"""Toy systems, small enough to simulate whole data sets of them in a test."""

from lightning_physim.physics import ParticleSystem

SIX = ParticleSystem(n_particles=6, box=(1.0, 1.0), radius=0.08, restitution=0.8, gravity=1.0, interval=0.05)
"""Six discs in a small box: some collide in every interval, and most do not."""
