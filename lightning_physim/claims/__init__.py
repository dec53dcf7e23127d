"""The paper's three claims: what is trained, what is measured, how it is judged, how it is told."""

from lightning_physim.claims.evidence import Head, heads_of
from lightning_physim.claims.findings import Findings, Peer, Training, gather
from lightning_physim.claims.geometry import emergence_goes_with_degeneracy
from lightning_physim.claims.growth import emergence_has_a_potential, growth_of_used_heads
from lightning_physim.claims.heads import collision_heads_exist
from lightning_physim.claims.plan import ROLES, SEED
from lightning_physim.claims.verdict import Claim, Study, undecidable

__all__ = [
    "Claim",
    "Findings",
    "Head",
    "Peer",
    "ROLES",
    "SEED",
    "Study",
    "Training",
    "collision_heads_exist",
    "emergence_goes_with_degeneracy",
    "emergence_has_a_potential",
    "gather",
    "growth_of_used_heads",
    "heads_of",
    "undecidable",
]
