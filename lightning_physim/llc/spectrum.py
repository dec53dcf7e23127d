"""In how many directions the loss is curved: the spectrum of the Gauss-Newton matrix of a region."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from lightning_physim import keys


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues h of the Gauss-Newton matrix ``G = 2/m J'J`` of one region, with the Jacobian J of m residuals.

    The loss is their mean square. G is its Hessian, less what curvature of the residuals themselves adds, which
    vanishes where they do, and where they are linear in the parameters.

    Attributes:
        region: its name.
        n_parameters: its coordinates d.
        n_states: rows of the data that G is the mean over.
        values: float64 ``[min(d, m)]``, descending, none negative; the other eigenvalues are zero.
        half: the spectrum over the first half of the rows: what more of them would change. None where not asked for.
    """

    region: str
    n_parameters: int
    n_states: int
    values: Tensor
    half: "Spectrum | None" = None

    @cached_property
    def trace(self) -> float:
        """Sum of the eigenvalues: the sharpness of the loss."""
        return self._sum(lambda h: h)

    def d_eff(self, c: float) -> float:
        """Directions that count, ``sum h / (h + c)``: each by how far its curvature exceeds ``c``.

        Half of it is the learning coefficient of a quadratic loss with these eigenvalues, sampled with
        ``localization / n_beta = c``. In statistics it is the effective number of parameters of ridge regression
        (Moody 1992; MacKay 1992).
        """
        return self._sum(lambda h: h / (h + c))

    def occupancy(self, c: float) -> float:
        """Mean of ``f = h / (h + c)`` weighted by f itself, in (0, 1]; NaN without curvature.

        Near 1 ``d_eff`` is a count of directions. Near 0 it is a sharpness: the trace over c.
        """
        return _over(self._sum(lambda h: (h / (h + c)).square()), self.d_eff(c))

    def doubling(self, c: float) -> float:
        """Relative change of ``d_eff`` from half of the rows to all of them; NaN without curvature, or without half."""
        return math.nan if self.half is None else _over(self.d_eff(c), self.half.d_eff(c)) - 1

    def metrics(self) -> dict[str, float]:
        """Quantities of :data:`lightning_physim.keys.GEOMETRY`, by their names there; all that are known."""
        found = {"trace": self.trace, "n_states": float(self.n_states)}
        for name, c in keys.CURVATURES.items():
            found |= {f"d_eff/{name}": self.d_eff(c), f"occupancy/{name}": self.occupancy(c)}
            if self.half is not None:
                found[f"doubling/{name}"] = self.doubling(c)
        return found

    def _sum(self, f: Callable[[Tensor], Tensor]) -> float:
        """The sum of a function that is 0 at 0 over all eigenvalues."""
        return float(f(self.values).sum())


@dataclass(frozen=True, eq=False)
class SampledSpectrum(Spectrum):
    """A spectrum that is known by sums over it, from random vectors (docs/llc.md: The spectrum of a large region).

    Attributes:
        values: float64 ``[vectors, points]``, eigenvalues that stand for those among which a vector lies.
        weights: for how many of them each stands, seen by its vector; of the same shape.
    """

    weights: Tensor = field(kw_only=True)

    def error(self, c: float) -> float:
        """Standard error of :meth:`d_eff`, from how much the vectors differ."""
        sums = self._sums(lambda h: h / (h + c))
        return float(sums.std() / math.sqrt(len(sums)))

    def metrics(self) -> dict[str, float]:
        return super().metrics() | {f"d_eff_error/{name}": self.error(c) for name, c in keys.CURVATURES.items()}

    def _sum(self, f: Callable[[Tensor], Tensor]) -> float:
        return float(self._sums(f).mean())

    def _sums(self, f: Callable[[Tensor], Tensor]) -> Tensor:
        """What each vector says of a sum, ``[vectors]``."""
        return (self.weights * f(self.values)).sum(1)


def _over(a: float, b: float) -> float:
    return a / b if b else math.nan
