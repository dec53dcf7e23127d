"""Spectra of Gauss-Newton matrices that are too large to be held, from products with random vectors."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lightning_physim.errors import Diverged, GivenUp
from lightning_physim.llc.curvature import bidiagonal_measure
from lightning_physim.llc.objective import Objective, Samples
from lightning_physim.llc.ranks import Ranks, stream
from lightning_physim.llc.regions import Region
from lightning_physim.llc.spectrum import SampledSpectrum
from lightning_physim.modes import plain_attention

VECTORS = 16
"""Random vectors; the error falls as the root of their number."""
POINTS = 48
"""Products with each. At the last step of `demo` d_eff(0.1) of the model is off by 2 % after 32, and by 0.05 % after
48."""


def sampled_spectrum(
    objective: Objective, region: Region, ranks: Ranks, halves: bool, stop: Callable[[], bool] | None = None
) -> SampledSpectrum:
    """Sums over the spectrum of one region by stochastic Lanczos quadrature (Ubaru, Chen and Saad 2017).

    A vector v of random signs has ``E[v' f(G) v] = tr f(G)`` (Hutchinson 1989), and bidiagonalisation of the Jacobian
    gives the points and weights of the quadrature. The half sees the same vectors. Collective: ranks share them.

    Args:
        objective: of residuals, a row for each state.
        region: whose coordinates move.
        ranks: that share the vectors.
        halves: sample the spectrum over half of the states too.
        stop: asked before each vector whether to give up.

    Raises:
        Diverged: on every rank, as a derivative is not finite.
        GivenUp: on every rank, as ``stop`` said so on one of them.
    """
    half = _sampled(objective, region, ranks, stop, objective.n // 2, None) if halves else None
    return _sampled(objective, region, ranks, stop, objective.n, half)


def _sampled(
    objective: Objective,
    region: Region,
    ranks: Ranks,
    stop: Callable[[], bool] | None,
    n_states: int,
    half: SampledSpectrum | None,
) -> SampledSpectrum:
    jacobian = Jacobian(objective, region, tuple(tensor[:n_states] for tensor in objective.data))
    like = jacobian.displacement
    mine: dict[int, tuple[Tensor, Tensor] | Diverged] = {}
    for first in range(0, VECTORS, ranks.world):
        if stop is not None and ranks.any(stop()):
            raise GivenUp
        number = first + ranks.rank
        if number >= VECTORS:
            break
        generator = stream(like.device, region.name, "spectrum", number)
        signs = torch.randint(0, 2, like.shape, generator=generator, device=like.device).to(like.dtype) * 2 - 1
        try:
            mine[number] = bidiagonal_measure(jacobian.forward, jacobian.adjoint, signs, POINTS)
        except Diverged as error:  # collective: the other ranks would wait for this one
            mine[number] = error
    found = {}
    for number, each in (item for part in ranks.gather(mine) for item in part.items()):
        if isinstance(each, Diverged):
            raise each
        found[number] = each
    values, weights = (
        pad_sequence([found[number][i] for number in range(VECTORS)], batch_first=True) for i in range(2)
    )
    scale = 2 / len(jacobian.residuals)
    return SampledSpectrum(region.name, region.size, n_states, scale * values, half, weights=weights)


class Jacobian:
    """Products with the Jacobian of residuals by the coordinates of a region. The graph of them is made once.

    Args:
        objective: of residuals, a row for each sample.
        region: whose coordinates move.
        samples: rows of the data.

    Attributes:
        displacement: of the coordinates, zero, ``[size]``.
        residuals: there, ``[rows]``.
    """

    def __init__(self, objective: Objective, region: Region, samples: Samples) -> None:
        self.displacement = torch.zeros(region.size, dtype=objective.dtype, device=objective.device, requires_grad=True)
        with plain_attention():
            self.residuals = objective.loss(region.moved(self.displacement, objective.frozen), samples).flatten()
            # Linear in the dual vector: its derivative by that is the product that reverse mode does not have.
            self.dual = torch.zeros_like(self.residuals, requires_grad=True)
            self.pulled = _gradient(self.residuals, self.displacement, self.dual, create_graph=True)

    def forward(self, vector: Tensor) -> Tensor:
        """J times a vector ``[size]``: ``[rows]``."""
        return _gradient(self.pulled, self.dual, vector)

    def adjoint(self, vector: Tensor) -> Tensor:
        """J' times a vector ``[rows]``: ``[size]``."""
        return _gradient(self.residuals, self.displacement, vector)


def _gradient(output: Tensor, by: Tensor, vector: Tensor, create_graph: bool = False) -> Tensor:
    """``vector``' times the derivative of ``output``, where it depends on ``by`` at all; else zero."""
    if not output.requires_grad:
        return torch.zeros_like(by)
    (found,) = torch.autograd.grad(output, by, vector, retain_graph=True, create_graph=create_graph, allow_unused=True)
    return torch.zeros_like(by) if found is None else found
