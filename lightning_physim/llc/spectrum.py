"""In how many directions the loss is curved: the spectrum of the Gauss-Newton matrix of a region."""

import math
from dataclasses import dataclass
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
        half: the same over the first half of the rows: what more of them would change. None where not asked for.
    """

    region: str
    n_parameters: int
    n_states: int
    values: Tensor
    half: Tensor | None = None

    @cached_property
    def trace(self) -> float:
        """Sum of the eigenvalues: the sharpness of the loss."""
        return float(self.values.sum())

    def d_eff(self, c: float) -> float:
        """Directions that count, ``sum h / (h + c)``: each by how far its curvature exceeds ``c``.

        Half of it is the learning coefficient of a quadratic loss with these eigenvalues, sampled with
        ``localization / n_beta = c``. In statistics it is the effective number of parameters of ridge regression
        (Moody 1992; MacKay 1992).
        """
        return float((self.values / (self.values + c)).sum())

    def occupancy(self, c: float) -> float:
        """Mean of ``f = h / (h + c)`` weighted by f itself, in (0, 1]; NaN without curvature.

        Near 1 ``d_eff`` is a count of directions. Near 0 it is a sharpness: the trace over c.
        """
        f = self.values / (self.values + c)
        return float(f.square().sum() / f.sum())

    def doubling(self, c: float) -> float:
        """Relative change of ``d_eff`` from half of the rows to all of them; NaN without curvature, or without half."""
        if self.half is None:
            return math.nan
        every, half = ((values / (values + c)).sum() for values in (self.values, self.half))
        return float(every / half) - 1

    def metrics(self) -> dict[str, float]:
        """Quantities of :data:`lightning_physim.keys.GEOMETRY`, by their names there; all that are known."""
        found = {"trace": self.trace, "n_states": float(self.n_states)}
        for name, c in keys.CURVATURES.items():
            found |= {f"d_eff/{name}": self.d_eff(c), f"occupancy/{name}": self.occupancy(c)}
            if self.half is not None:
                found[f"doubling/{name}"] = self.doubling(c)
        return found
