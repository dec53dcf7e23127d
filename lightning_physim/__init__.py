"""Watch collision-detecting attention heads emerge in a learned physics simulator."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_physim.archive import Archive
    from lightning_physim.data import ParticleDataModule
    from lightning_physim.errors import InputError
    from lightning_physim.model import PhysicsTransformer, rollout
    from lightning_physim.module import PhysicsSimulator
    from lightning_physim.physics import ParticleSystem, sample_initial_states, simulate
    from lightning_physim.run import Run

__version__ = "0.1.0"

__all__ = [
    "Archive",
    "InputError",
    "ParticleDataModule",
    "ParticleSystem",
    "PhysicsSimulator",
    "PhysicsTransformer",
    "Run",
    "rollout",
    "sample_initial_states",
    "simulate",
]

_HOME = {
    "Archive": "archive",
    "InputError": "errors",
    "ParticleDataModule": "data",
    "ParticleSystem": "physics",
    "PhysicsSimulator": "module",
    "PhysicsTransformer": "model",
    "Run": "run",
    "rollout": "model",
    "sample_initial_states": "physics",
    "simulate": "physics",
}


def __getattr__(name: str) -> Any:
    # Names are looked up when they are asked for: whoever wants the simulator alone does not wait for torch.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOME]
