"""The networks that ``--model.architecture`` names."""

import inspect
from collections.abc import Mapping
from typing import Any

from lightning_physim.errors import InputError
from lightning_physim.model.network import ParticleNetwork
from lightning_physim.model.peers import InteractionNetwork, ParticlewiseNetwork
from lightning_physim.model.transformer import PhysicsTransformer

NETWORKS: dict[str, type[ParticleNetwork]] = {
    "transformer": PhysicsTransformer,
    "no_attention": ParticlewiseNetwork,
    "interaction": InteractionNetwork,
}


def make_network(architecture: str, hparams: Mapping[str, Any]) -> ParticleNetwork:
    """A network with those of the hyperparameters that its constructor takes.

    Raises:
        InputError: no such network, or a value out of its range.
    """
    if architecture not in NETWORKS:
        raise InputError(f"architecture must be one of {', '.join(NETWORKS)}; got {architecture!r}")
    network = NETWORKS[architecture]
    return network(**{name: hparams[name] for name in inspect.signature(network).parameters if name in hparams})


def describe_network(architecture: str, hparams: Mapping[str, Any]) -> str:
    """A network in a few words; its bare name where this version does not know it."""
    network = NETWORKS.get(architecture)
    return architecture.replace("_", " ") if network is None else network.describe(hparams)
