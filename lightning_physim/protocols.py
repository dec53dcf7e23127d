"""What foreign modules, data modules and layers must offer, by name, and one refusal for those that do not."""

import inspect
from typing import Any, Protocol

from torch import Tensor

from lightning_physim.errors import InputError


class HasAttention(Protocol):
    """A module whose attention can be looked at."""

    def attention(self, states: Tensor) -> Tensor:
        """Patterns ``[layers, systems, heads, query, key]``, rows summing to 1, of ``[systems, particles, 4]``."""


class HasAblation(Protocol):
    """A module whose heads can be made blind to some keys."""

    def ablate(self, states: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Predictions ``[systems, particles, 4]``; and with each head blind, ``[layers, heads, systems, ...]``."""


class HasLogits(Protocol):
    """A module that shows the query-key scores that its attention is the softmax of."""

    def logits(self, states: Tensor) -> Tensor:
        """Scores ``[layers, systems, heads, query, key]``, -inf where a query must not see the key."""


class HasPatching(Protocol):
    """A module whose heads can be given what they give in other states."""

    def patch(self, states: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """Predictions ``[systems, particles, 4]``; and with each head patched, ``[layers, heads, systems, ...]``."""


class HasEstimationLoss(Protocol):
    """A module that says which loss its learning coefficients are of."""

    def estimation_loss(self, batch: Any) -> Tensor:
        """Scalar mean loss of a tuple of rows of the estimation set."""


class HasResiduals(Protocol):
    """A module whose estimation loss is a mean of squares."""

    def estimation_residuals(self, batch: Any) -> Tensor:
        """Residuals ``[rows, ...]`` of a tuple of rows of the estimation set; their mean square is the loss."""


class ProbeStates(Protocol):
    """A data module with held-out states to probe heads on."""

    contact_distance: Tensor
    """Sums of radii, ``[particles, particles]``."""

    def probe_states(self, n: int) -> tuple[Tensor, Tensor]:
        """States ``[n, particles, 4]``, and bool ``[n, particles, particles]``: pairs that touch in the interval."""


class ProbeTargets(Protocol):
    """A data module whose probe states come with their targets."""

    def probe_set(self, n: int) -> Any:
        """States, targets ``[n, particles, 4]`` and contacts."""


class SnapshotData(Protocol):
    """A data module that can show a scene."""

    contact_distance: Tensor
    system: Any

    def probe_states(self, n: int) -> tuple[Tensor, Tensor]:
        """As of :class:`ProbeStates`."""

    def split(self, name: str) -> Any:
        """The data set of a split, with ``states``, ``n_trajectories`` and ``n_intervals``."""


class EstimationData(Protocol):
    """A data module with a fixed set to estimate learning coefficients on."""

    def estimation_set(self, n: int) -> Any:
        """A tuple of tensors with a common first dimension of at most ``n``."""


class AttentionLayer(Protocol):
    """A layer whose heads are regions of its parameters.

    Where it also has ``head_output(x, weights)``, what a head with those weights adds to the output, only that is
    computed for each chain.
    """

    n_heads: int

    def head_masks(self, head: int) -> dict[str, Tensor]:
        """``{parameter name: bool mask}`` of the entries that belong to a head."""


class FigureSink(Protocol):
    """A logger of anybody's that takes figures and tables as well as numbers; steps are optimizer steps taken."""

    def log_figure(self, key: str, figure: Any, step: int) -> None:
        """Take a plotly figure."""

    def log_table(self, key: str, columns: list[str], data: list[list[Any]], step: int | None) -> None:
        """Take a table of rows."""


def offers(thing: object, protocol: type) -> bool:
    """Whether an object has every member of a protocol."""
    return not _missing(thing, protocol)


def require(thing: object, protocol: type, who: str, what: str, instead: str) -> None:
    """Refuse an object that lacks a member of a protocol.

    Args:
        thing: the object.
        protocol: a class of this file.
        who: needs it.
        what: the object is, such as ``"data module"``.
        instead: what to do about it.

    Raises:
        InputError: something is missing.
    """
    if missing := _missing(thing, protocol):
        members = ", ".join(_signature(protocol, name) for name in _members(protocol))
        raise InputError(
            f"{who} needs a {what} with {members}; got {type(thing).__name__} without {', '.join(missing)}: {instead}"
        )


def _members(protocol: type) -> list[str]:
    functions = [name for name in vars(protocol) if not name.startswith("_")]
    return [*functions, *(name for name in vars(protocol).get("__annotations__", {}) if name not in functions)]


def _missing(thing: object, protocol: type) -> list[str]:
    return [name for name in _members(protocol) if not hasattr(thing, name)]


def _signature(protocol: type, name: str) -> str:
    member = vars(protocol).get(name)
    return f"{name}({', '.join([*inspect.signature(member).parameters][1:])})" if callable(member) else name
