"""What a head computes: its circuit, what its output does, and whether predictions follow what it looks at."""

from typing import TYPE_CHECKING

from lightning_physim.inside.result import Circuit, Intervention, Patching, Views
from lightning_physim.lazy import lazily

if TYPE_CHECKING:
    from lightning_physim.inside.cases import Cases, Simulator, colliding_cases, is_clear, put_away, shifted
    from lightning_physim.inside.circuit import attention_scores, fit_circuit, pair_motion
    from lightning_physim.inside.intervention import intervention, seen_and_unseen
    from lightning_physim.inside.patching import free_twins, patch_heads, patching
    from lightning_physim.inside.shares import Share, alignment, share
    from lightning_physim.inside.views import look_inside, look_inside_run

__all__ = [
    "Cases",
    "Circuit",
    "Intervention",
    "Patching",
    "Share",
    "Simulator",
    "Views",
    "alignment",
    "attention_scores",
    "colliding_cases",
    "fit_circuit",
    "free_twins",
    "intervention",
    "is_clear",
    "look_inside",
    "look_inside_run",
    "pair_motion",
    "patch_heads",
    "patching",
    "put_away",
    "seen_and_unseen",
    "share",
    "shifted",
]

# A page shows what was seen, and simulates nothing.
__getattr__ = lazily(
    __name__,
    {
        **dict.fromkeys(("Cases", "Simulator", "colliding_cases", "is_clear", "put_away", "shifted"), "cases"),
        **dict.fromkeys(("attention_scores", "fit_circuit", "pair_motion"), "circuit"),
        **dict.fromkeys(("intervention", "seen_and_unseen"), "intervention"),
        **dict.fromkeys(("free_twins", "patch_heads", "patching"), "patching"),
        **dict.fromkeys(("Share", "alignment", "share"), "shares"),
        **dict.fromkeys(("look_inside", "look_inside_run"), "views"),
    },
)
