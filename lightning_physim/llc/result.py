"""What an estimate is, with what is needed to believe it or not."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from torch import Tensor

from lightning_physim import keys
from lightning_physim.errors import InputError
from lightning_physim.llc.diagnostics import diagnose, virial_is_tested

if TYPE_CHECKING:
    from pandas import DataFrame
    from xarray import DataTree


@dataclass(frozen=True)
class RegionResult:
    """Local learning coefficient of one region, at one setting.

    Attributes:
        region: its name.
        n_parameters: its coordinates d.
        n_beta, localization, step_size: what it was sampled with.
        loss: L(w*), over the whole estimation set.
        about: what ``mean`` and ``trace`` are relative to.
        trace: float64 ``[chains, draws]``, n_beta times the rise of the minibatch loss of each kept draw against the
            same minibatch at w*. About the centre c: beyond the tangent of that minibatch there,
            ``n_beta (L_B(w) - L_B(c) - grad L_B(c) (w - c))``, whose last part averages out over all draws. NaN once a
            chain has died. Its mean is ``mean``.
        mean: the estimate over living chains. About the anchor, n_beta (E[L(w)] - L(w*)) (Lau et al. 2023, arXiv
            2308.12108): negative where w* lies on a slope. About the centre, n_beta (E[L(w)] - L(E[w])): what
            fluctuations make up, whether or not w* is a minimum; half the effective number of parameters of
            Spiegelhalter et al. 2002.
        shift: n_beta (L(E[w]) - L(w*)), the difference of the two: how far the chains' centre lies below w*.
        mcse: standard error of ``mean`` over chains and draws, autocorrelation, shared minibatches and what the centre
            is off included.
        rhat: split R-hat (Vehtari et al. 2021, arXiv 1903.08008).
        rhat_position: R-hat of where the chains are, all coordinates together
            (:func:`lightning_physim.llc.summary.rhat_of_positions`). NaN without localization.
        ess: effective sample size of all draws together (ibid.).
        n_dead: chains that diverged; they count in nothing else.
        step_stability: ``step_size a_max / 4`` with the largest curvature a_max that was met; diverges at 1.
        noise_ratio: relative rise of the estimate by the noise of minibatch gradients, along the leading directions.
            With ``zero_variance`` what is left of it: of second order, and in directions that are not known.
        virial: mean of ``((w - c) . B grad U - tr B)/2`` over draws, with the potential U that is sampled, their centre
            c, and ``B = sum f v v'`` over directions v, each with the share f of the loss in its curvature; B = 1 where
            those that are known do not make up half of the estimate. 0 for exact sampling, in units of the estimate.
            Above 0, the energy that too large steps or noisy gradients put into the chains; below 0, what they lack as
            they have not arrived. NaN where draws could not be kept.
        virial_mcse: its standard error.
        virial_kept: fraction of the virial that the estimate holds: 1, and less with ``zero_variance`` or B = 1. Where
            the loss is quadratic this part of the virial is the estimate's bias.
        equipartition: ``E[(w - c) . n_beta grad L]/2 = (d - localization tr Cov(w))/2``. For a potential that is
            homogeneous of degree p about c it is p/2 times the learning coefficient.
        equipartition_mcse: its standard error.
        order: p of the loss about the centre: 2 where it is regular, 4 for a quartic. A mean over directions, weighted
            by what each adds to the learning coefficient.
        order_lo, order_hi: its 95 % interval; NaN where the estimate is not above three standard errors, and about the
            anchor with ``zero_variance``.
        walk: ``n_beta E[L(w) - L(w*)]`` of the walk that localization alone would leave, the sampler at n_beta = 0:
            ``tr H / 2c`` where the loss is quadratic, c = localization / n_beta. NaN without localization.
        walk_mcse: its standard error.
        acceptance: mean Metropolis acceptance of a step, both energies on one batch; NaN but for Euler's scheme.
        localization_share: localization |w - w*|^2 / d: 1 where localization alone holds the chains.
        below: fraction of draws below 0.
        grad_norm: norm of the region's part of the gradient at w* of the loss over the whole estimation set.
        weight_norm: norm of the region's coordinates of w*.
    """

    region: str
    n_parameters: int
    n_beta: float
    localization: float
    step_size: float
    loss: float
    about: str
    trace: Tensor
    mean: float
    shift: float
    mcse: float
    rhat: float
    rhat_position: float
    ess: float
    n_dead: int
    step_stability: float
    noise_ratio: float
    virial: float
    virial_mcse: float
    virial_kept: float
    equipartition: float
    equipartition_mcse: float
    order: float
    order_lo: float
    order_hi: float
    walk: float
    walk_mcse: float
    acceptance: float
    localization_share: float
    below: float
    grad_norm: float
    weight_norm: float

    def __str__(self) -> str:
        told = f"{self.region}: {self.mean:.3g} ± {self.mcse:.2g} (R-hat {self.rhat:.2f}, ESS {self.ess:.0f})"
        told += "".join(f"; {reason}" for reason in self.failures.values())
        return (
            told if virial_is_tested(vars(self)) else f"{told}; virial not tested: its error is {self.virial_mcse:.2g}"
        )

    @property
    def failures(self) -> dict[str, str]:
        """Which diagnostics fail, by :func:`diagnose`; empty for an estimate to be believed."""
        return diagnose(vars(self))

    @property
    def converged(self) -> bool:
        return not self.failures


NUMBERS = tuple(field.name for field in fields(RegionResult) if field.name not in ("region", "trace"))
"""Fields of a region that a table has a column for."""


def _described(result: RegionResult) -> dict[str, float | str]:
    return {name: getattr(result, name) for name in NUMBERS} | {"failures": "; ".join(result.failures.values())}


class LLCResult(dict[str, RegionResult]):
    """``{region: RegionResult}``.

    Attributes:
        seconds: wall time of the estimate.
        note: how it was computed where that is not as expected, or "".
    """

    seconds: float = 0.0
    note: str = ""

    def __str__(self) -> str:
        return "\n".join(map(str, self.values()))

    def metrics(self) -> dict[str, float]:
        """What is logged: :data:`lightning_physim.keys.LLC` of every region, under its key."""
        return {
            key.of(region=region): float(getattr(result, quantity))
            for region, result in self.items()
            for quantity, key in keys.LLC.items()
        }

    def to_frame(self) -> "DataFrame":
        """The numbers as a table, a row per region.

        Returns:
            Frame with the index ``region``. Its columns are the fields of :class:`RegionResult` but ``region`` and
            ``trace``, then ``converged`` and ``failures``, the reasons joined by "; " or "".

        Raises:
            InputError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise InputError("to_frame needs pandas; type `pip install 'lightning_physim[tables]'`") from None
        rows = [_described(result) | {"converged": result.converged} for result in self.values()]
        index = pandas.Index(list(self), name="region")
        return pandas.DataFrame(rows, index=index, columns=[*NUMBERS, "converged", "failures"])

    def to_arviz(self) -> "DataTree":
        """The draws in ArviZ's format.

        A dead chain stays in, and its NaN with it: what ArviZ computes of its region is NaN. ``.dropna("chain")`` of
        the variable leaves the living chains, which the numbers of :class:`RegionResult` are of.

        Returns:
            Tree with the group ``posterior``: a variable ``[chain, draw]`` per region, a copy of its ``trace``, n_beta
            times the rise of the loss. Attributes of a variable are the columns of :meth:`to_frame` but ``converged``,
            a truth value, which netCDF files do not hold. ``sampling_time`` of the group is ``seconds``.

        Raises:
            InputError: arviz-base is not installed, a name that no variable can have, or regions that differ in chains
                or draws; those of one estimate do not.
        """
        try:
            import arviz_base
        except ImportError:
            raise InputError("to_arviz needs arviz-base; type `pip install 'lightning_physim[tables]'`") from None
        for region in self:
            if "/" in region or region in ("chain", "draw"):
                raise InputError(f"a variable of ArviZ has no / and is not chain or draw; got {region!r}: rename it")
        shapes = {tuple(result.trace.shape) for result in self.values()}
        if len(shapes) > 1:
            raise InputError(
                f"regions of a tree have as many chains and draws; got {sorted(shapes)}: make a tree of each region, "
                "LLCResult({name: result[name]}).to_arviz()"
            )
        traces = {region: result.trace.numpy().copy() for region, result in self.items()}
        tree = arviz_base.from_dict({"posterior": traces}, attrs={"posterior": {"sampling_time": self.seconds}})
        for region, result in self.items():
            tree["posterior"][region].attrs.update(_described(result))
        return tree
