"""The physics network as a plain ``nn.Module``, and its use as a simulator."""

from lightning_physim.model.rollout import rollout
from lightning_physim.model.transformer import PhysicsTransformer

__all__ = ["PhysicsTransformer", "rollout"]
