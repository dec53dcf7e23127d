"""The physics network as a plain ``nn.Module``, its peers, and their use as a simulator."""

from lightning_physim.model.network import ParticleNetwork
from lightning_physim.model.peers import InteractionNetwork, ParticlewiseNetwork
from lightning_physim.model.rollout import rollout
from lightning_physim.model.table import NETWORKS, describe_network, make_network
from lightning_physim.model.transformer import PhysicsTransformer

__all__ = [
    "InteractionNetwork",
    "NETWORKS",
    "ParticleNetwork",
    "ParticlewiseNetwork",
    "PhysicsTransformer",
    "describe_network",
    "make_network",
    "rollout",
]
