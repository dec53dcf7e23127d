"""What measuring the heads of ``demo`` costs, in training steps of the same network on as many particles.

256 held-out states, as the callback takes them. *Scores* are all scores and the classifier, without the patterns; *all*
is patterns, scores and the ablation of every head.
"""

from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F

from benchmarks.table import Row
from benchmarks.worlds import discs, one_core, seconds
from lightning_physim import PhysicsTransformer, sample_initial_states, simulate
from lightning_physim.callbacks.collision_probe import PAIRS_AT_ONCE
from lightning_physim.probes import SCORES, AblationEffect, AttentionDistance, ProbeSample, near_others

STATES, BATCH, RADIUS = 256, 128, 1.5
SCORES_LIMIT, LIMIT = 5.0, 20.0
"""Training steps that the scores, and a whole probe, may take."""


class World:
    """A network of ``demo``'s size, and states of so many particles."""

    def __init__(self, particles: int) -> None:
        system = discs(particles, interval=0.05)
        run = simulate(system, *sample_initial_states(system, STATES, velocity_std=0.7), n_intervals=1)
        positions, velocities = (torch.from_numpy(a[:, 0]).float() for a in (run.positions, run.velocities))
        self.states, self.contacts = torch.cat((positions, velocities), -1), torch.from_numpy(run.contacts[:, 0])
        self.contact_distance = torch.full((particles, particles), 0.1)
        torch.manual_seed(0)
        self.network, self.targets = PhysicsTransformer(), torch.randn(STATES, particles, 4)
        self.parts = torch.arange(STATES).split(max(1, PAIRS_AT_ONCE // particles**2))

    def step(self) -> None:
        self.network.zero_grad()
        F.mse_loss(self.network(self.states[:BATCH]), self.targets[:BATCH]).backward()

    @torch.no_grad()
    def patterns(self) -> None:
        for part in self.parts:
            self.network.attention(self.states[part])

    @torch.no_grad()
    def probe(self, ablate: bool) -> None:
        scores = [*(score(2, 4, RADIUS) for score in SCORES), AttentionDistance(2, 4)]
        effect = AblationEffect(2, 4)
        for part in self.parts:
            states, contacts = self.states[part], self.contacts[part]
            sample = ProbeSample(self.network.attention(states), states[..., :2], self.contact_distance, contacts)
            for score in scores:
                score.update(sample)
            if ablate:
                intact, ablated = self.network.ablate(states, near_others(sample.distance, RADIUS))
                effect.update(intact, ablated, self.targets[part], contacts)
        for score in scores:
            score.compute()


def measure(quick: bool) -> Iterator[Row]:
    one_core()
    for particles in (16, 32) if quick else (16, 32, 64, 128):
        world = World(particles)
        step = seconds(world.step, 8)
        scores = seconds(partial(world.probe, ablate=False)) - seconds(world.patterns)
        yield Row(f"{particles} particles, scores", scores / step, "steps", "limit", SCORES_LIMIT)
        everything = seconds(partial(world.probe, ablate=True))
        yield Row(f"{particles} particles, all", everything / step, "steps", "limit", LIMIT)
