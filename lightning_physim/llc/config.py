"""What an estimate is made with."""

from dataclasses import dataclass
from typing import Literal, get_args

from lightning_physim.errors import InputError
from lightning_physim.ranges import check_choice, check_counts, check_not_negative, check_positive

PreconditionerName = Literal["rmsprop", "curvature"]
IntegratorName = Literal["euler", "leimkuhler_matthews", "baoab"]
About = Literal["anchor", "centre"]


@dataclass(frozen=True)
class SGLDConfig:
    """Settings of stochastic gradient Langevin dynamics around ``w*``, in the convention of Lau et al. (2308.12108).

    The chains sample the density proportional to ``exp(-n_beta L(w) - localization/2 |w - w*|^2)`` by

        w <- w - step_size/2 (n_beta grad L_B(w) + localization (w - w*)) + sqrt(step_size) N(0, 1),

    with ``L_B`` the mean loss over a minibatch. The absolute scale of an LLC is that of a log-likelihood. With a mean
    squared error over k outputs and noise variance s^2, one unit of the loss is k/(2 s^2) nats per sample.

    ``integrator="euler"`` is this algorithm. The default averages the noise of two successive steps, which costs
    nothing and leaves no bias by the step size on a quadratic loss. In a network ``preconditioner="curvature"``,
    ``integrator="baoab"`` and ``control_variate=True`` sample the same density many times faster.
    ``zero_variance=True`` makes errors smaller. ``about="centre"`` gives an estimate that does not turn negative where
    w* is no minimum.

    Choosing values:

    - ``n_beta``: the inverse temperature times the number of samples. Theory has n / ln n; a smaller one sees the
      landscape more coarsely. Estimates are comparable only at equal ``n_beta`` and ``localization``.
    - ``localization``: directions of curvature h count by n_beta h / (n_beta h + localization), so their ratio is the
      curvature from which on a direction counts. 0 is unbiased where chains stay near ``w*`` by themselves; in
      networks they do not, and ``rhat`` shows it.
    - ``step_size``: ``"auto"`` measures the largest curvature and stays ten times below the limit of stability, or
      fifty times with Euler's scheme, which has a bias of 2 % there.
    - ``n_draws``, ``n_chains``: until ``mcse`` is small enough; both reduce it by the root of their product.
    - ``batch_size``: as small as ``noise_ratio`` allows.

    Args:
        n_beta: None for n / ln n with the n samples of the data that are given.
        step_size: of every region, in units of the preconditioner, or ``"auto"``.
        localization: strength gamma of the pull towards ``w*``.
        n_chains: independent chains of each region.
        n_draws: kept draws of each chain; ``target_mcse`` and ``max_seconds`` end them earlier.
        doublings: times that a region doubles its draws where R-hat, the effective sample size or the virial alone
            fails, which more draws may mend; the other regions do not go on.
        n_burn_in: steps before the first draw; never counted. Every second chain starts at a draw of a Gaussian with
            the leading curvature, the others at w*, so that R-hat tells whether they have forgotten it.
        batch_size: samples of a minibatch, at most; each step draws one of the same few, whatever those before it were.
            None for all at every step.
        preconditioner: None leaves steps as they are. ``"rmsprop"`` scales them by the inverse root mean square of each
            gradient over draws of that Gaussian. The scale is then kept, so that no correction term is missing.
            ``"curvature"`` scales them by the inverse of the leading eigenvalues of the Hessian, or of the Gauss-Newton
            matrix where residuals are given. Stiff and soft directions then mix at one rate.
        integrator: ``"euler"`` is SGLD as published, too high by the factor ``1/(1 - step_size a/4)`` in a direction of
            curvature a. ``"leimkuhler_matthews"`` averages the noise of two successive steps (Leimkuhler and Matthews
            2013, arXiv 1203.5428). It has no step size bias on a quadratic loss, which allows larger steps. ``"baoab"``
            is their method with inertia, as exact on a quadratic loss. Friction is set so that the softest direction
            that is known is damped critically. Where curvatures differ by a factor k, chains need about sqrt(k) steps
            to forget their start, and k without inertia. Noise of gradients heats such chains more.
        control_variate: sample with ``grad L_B(w) - grad L_B(r) + grad L(r)`` in place of ``grad L_B(w)``: the same
            mean and, near the reference r, much less noise (SGLD-CV, Baker et al. 2019, arXiv 1706.05439). It is w*
            during burn-in, and then the mean of the chains over the second half of burn-in. Draws lose their noise of
            first order in the same way.
        about: what the estimate is relative to. ``"anchor"``: L(w*), as published. ``"centre"``: the loss at the mean
            of the chains. That leaves out how far w* lies from a minimum, and is for networks in training
            (docs/llc.md).
        zero_variance: take the virial from each draw (Assaraf and Caffarel 1999; Mira et al. 2013, arXiv 1012.2983),
            times 2 over the order of the loss: the learning coefficient over equipartition. Its mean is zero. Where the
            loss is of one order and its directions are known the difference is nearly constant, and exactly so where it
            is quadratic. This also takes out the bias of first order by large steps and noisy gradients. About the
            anchor it is the virial about the centre of the other chains, and the force along their mean slope, whose
            mean is zero as well.
        target_mcse: stop once the standard error of every region is at most this. It is looked at after 25 draws, and
            again after half as many more, but 25 at least.
        max_seconds: stop at the first check after so many seconds, a check being every 25 draws.
        seed: of minibatches and noise. The noise of a chain depends on it, the region's name and the chain's number,
            not on what else is estimated.

    Raises:
        InputError: a value out of its range.
    """

    n_beta: float | None = None
    step_size: float | Literal["auto"] = "auto"
    localization: float = 0.0
    n_chains: int = 4
    n_draws: int = 200
    doublings: int = 0
    n_burn_in: int = 100
    batch_size: int | None = 256
    preconditioner: PreconditionerName | None = None
    integrator: IntegratorName = "leimkuhler_matthews"
    control_variate: bool = False
    about: About = "anchor"
    zero_variance: bool = False
    target_mcse: float | None = None
    max_seconds: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        positive = {"n_beta": self.n_beta, "target_mcse": self.target_mcse, "max_seconds": self.max_seconds}
        if self.step_size != "auto":
            positive["step_size"] = self.step_size
        for name, value in positive.items():
            if isinstance(value, str):
                raise InputError(f"{name} must be positive and finite; got {value!r}")
            if value is not None:
                check_positive(**{name: value})
        check_not_negative(localization=self.localization)
        check_counts(n_chains=self.n_chains, batch_size=1 if self.batch_size is None else self.batch_size)
        check_counts(4, n_draws=self.n_draws)
        check_counts(0, n_burn_in=self.n_burn_in, seed=self.seed, doublings=self.doublings)
        check_choice((*get_args(PreconditionerName), None), preconditioner=self.preconditioner)
        check_choice(get_args(About), about=self.about)
        check_choice(get_args(IntegratorName), integrator=self.integrator)
