"""Watch the loss landscape degenerate: learning coefficients of the model and its heads during training."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from lightning_physim import keys
from lightning_physim.callbacks.observer import Observer
from lightning_physim.callbacks.safeguard import stop_requested
from lightning_physim.callbacks.schedule import LogSchedule
from lightning_physim.errors import InputError
from lightning_physim.llc import LLCResult, SGLDConfig, estimate_llc, head_regions
from lightning_physim.llc.diagnostics import MAX_FAILED
from lightning_physim.loggers import RunLogger, run_loggers
from lightning_physim.protocols import EstimationData, HasEstimationLoss, HasResiduals, offers, require
from lightning_physim.ranges import check_counts, check_positive
from lightning_physim.stopwatch import Stopwatch

NETWORK_SGLD = SGLDConfig(
    n_beta=1000.0,
    localization=1000.0,
    step_size=0.8,
    n_chains=3,
    n_draws=48,
    doublings=2,
    n_burn_in=32,
    batch_size=64,
    preconditioner="curvature",
    integrator="baoab",
    control_variate=True,
    zero_variance=True,
    about="centre",
)
"""Settings for the heads of a network in the middle of training. A head whose chains have not arrived goes on for twice
and four times as many draws."""


class Subject(NamedTuple):
    """What is measured: what was given, and otherwise what the module and the data module of the fit bring along."""

    residual_fn: Callable[[Any, Any], Tensor] | None
    data: Any
    regions: Mapping[str, Any] | None
    loss_fn: Callable[[Any, Any], Tensor] | None = None


class LearningCoefficient(Observer):
    """Estimates local learning coefficients while training runs, and leaves no trace in it.

    Logs ``llc/{region}/<quantity>`` for every quantity of :data:`lightning_physim.keys.LLC`, which are attributes of
    :class:`lightning_physim.llc.RegionResult`. Once a decade and at the end the table ``llc/trace`` goes to every
    :class:`lightning_physim.loggers.RunLogger`. Results of this process are in ``results``,
    ``{step: {region: RegionResult}}``.

    Works with any LightningModule: give ``loss_fn`` and ``data``. A module with ``estimation_loss(batch)`` and
    ``estimation_residuals(batch)``, and a data module with ``estimation_set(n)``, such as ours, bring them along. Where
    several processes train, they share the chains, and each gets all results, the same as one process would get; every
    rank must give the same ``data``. Parameters must lie whole on each rank (DDP, not FSDP).

    Choosing values:

    - *When.* Log-spaced steps from ``first_step`` on suit emergence. With ``max_overhead=0.1`` the schedule is thinned
      until the estimates take a tenth of the planned training time.
    - *Cost.* About ``n_chains (n_draws + n_burn_in)`` training steps of ``batch_size`` for the whole model, and less
      for each head the higher its layer.
    - ``sgld.n_beta`` *and* ``sgld.localization``: directions of curvature above their ratio count. Keep both for all
      steps, heads and seeds that are to be compared; :func:`lightning_physim.llc.calibrate` shows where estimates do
      not depend on them.
    - ``sgld.about="anchor"`` gives the textbook estimate, which turns negative while the weights are no minimum.
    - If ``converged`` is 0: ``rhat``, ``rhat_position`` or ``ess`` asks for more draws, ``noise_ratio`` for a larger
      batch, ``step_stability``, ``n_dead`` and ``virial`` for a smaller step or more localization.

    Args:
        sgld: settings of the sampler.
        n_samples: largest size of the fixed estimation set that a data module is asked for.
        steps_per_decade: estimates per tenfold increase of the step.
        first_step: none before this step.
        steps: estimate after exactly these steps, in place of the two above.
        max_overhead: leave out estimates of the schedule that would take more than this share of the training time;
            the one after the last step comes in any case.
        loss_fn: ``(module, batch) -> scalar mean loss`` of a tuple of rows of ``data``.
        data: estimation set, a tuple of tensors or a ``Dataset``.
        residual_fn: ``(module, batch) -> [rows, ...]``, residuals whose mean square is the loss. With them
            errors are smaller.
        regions: ``{name: None or {parameter: mask}}``; None for the heads, or the model where there are none.
        whole_model: the model beside its heads. In ``demo`` it wants a ``batch_size`` of 128 (docs/llc.md).

    Raises:
        InputError: a value out of its range, or no loss or data to be found.
    """

    name = "llc"
    what = "learning coefficients"

    def __init__(
        self,
        sgld: SGLDConfig = NETWORK_SGLD,
        n_samples: int = 512,
        steps_per_decade: int = 4,
        first_step: int = 18,
        steps: Sequence[int] | None = None,
        max_overhead: float | None = None,
        loss_fn: Callable[[Any, Any], Tensor] | None = None,
        residual_fn: Callable[[Any, Any], Tensor] | None = None,
        data: Any = None,
        regions: Mapping[str, Any] | None = None,
        whole_model: bool = False,
    ) -> None:
        super().__init__(steps_per_decade)
        check_counts(n_samples=n_samples, first_step=first_step)
        for step in steps or ():
            check_counts(0, steps=step)
        if max_overhead is not None:
            check_positive("shares of the time", max_overhead=max_overhead)
        self.sgld = sgld
        self.n_samples = n_samples
        self.first_step = first_step
        self.steps = None if steps is None else frozenset(steps)
        self.max_overhead = max_overhead
        self.loss_fn, self.residual_fn = loss_fn, residual_fn
        self.data, self.regions, self.whole_model = data, regions, whole_model
        self.table_schedule = LogSchedule(1)
        self.subject = Subject(residual_fn, data, regions, loss_fn)
        self.results: dict[int, LLCResult] = {}
        self.n_estimates = self.n_regions = self.n_failed = 0
        self.reasons: set[str] = set()
        """Diagnostics that estimates have failed; survive a resume, as the numbers above do."""
        self.training = Stopwatch()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        # What was given stays as it is: the next fit may have another module, and other data.
        loss_fn, residual_fn, data, regions = self.loss_fn, self.residual_fn, self.data, self.regions
        if loss_fn is None:
            require(
                pl_module, HasEstimationLoss, "LearningCoefficient", "module",
                "give loss_fn=lambda module, batch: ...",
            )  # fmt: skip
            loss_fn = own_loss
            if residual_fn is None and offers(pl_module, HasResiduals):
                residual_fn = own_residuals
        if data is None:
            data = default_data(trainer, self.n_samples, "LearningCoefficient")
        if regions is None:
            regions = default_regions(pl_module, self.whole_model)
        self.subject = Subject(residual_fn, data, regions, loss_fn)

    def planned(self, last_step: int) -> list[int]:
        if self.steps is not None:
            return sorted(step for step in self.steps if step <= last_step)
        return [step for step in super().planned(last_step) if step >= self.first_step or step == last_step]

    def due(self, trainer: pl.Trainer, final: bool) -> bool:
        step = trainer.global_step
        if self.steps is not None:
            return step in self.steps
        planned = final or (step >= self.first_step and self.schedule.due(step))
        if not planned or final or self.max_overhead is None or not self.n_estimates:
            return planned
        last = trainer.estimated_stepping_batches
        # The budget is given out evenly over the logarithm of the step, like the schedule.
        seconds_per_step = self.training.seconds / step
        share = 1.0 if last <= self.first_step else math.log(step / self.first_step) / math.log(last / self.first_step)
        budget = self.max_overhead * seconds_per_step * (share * last if math.isfinite(last) else step)
        affordable = self.seconds * (1 + 1 / self.n_estimates) <= budget
        return bool(trainer.strategy.broadcast(affordable))  # collective: clocks differ, rank zero's decides

    def on_train_batch_start(self, *_: Any) -> None:
        self.training.start()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        self.training.stop()
        super().on_train_batch_end(trainer, pl_module)

    def measure(self, trainer: pl.Trainer, module: pl.LightningModule, final: bool) -> dict[str, float]:
        assert self.subject.loss_fn is not None
        result = estimate_llc(  # collective: ranks share the chains
            module,
            self.subject.loss_fn,
            self.subject.data,
            self.subject.regions,
            self.sgld,
            distributed=True,
            stop=lambda: stop_requested(trainer),
            residual_fn=self.subject.residual_fn,
        )
        self.results[trainer.global_step] = result
        self.n_estimates += 1
        self.n_regions += len(result)
        self.n_failed += sum(not region.converged for region in result.values())
        self.reasons.update(*(region.failures for region in result.values()))
        if result.note and self.n_estimates == 1:
            rank_zero_warn(result.note)
        if final or self.table_schedule.due(trainer.global_step) or self.n_estimates == 1:
            log_traces(run_loggers(trainer.loggers), result, trainer.global_step)
        return result.metrics()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_end(trainer, pl_module)
        if self.n_failed > MAX_FAILED * self.n_regions:
            said = (
                f"LLC: {self.n_failed} of {self.n_regions} estimates fail their diagnostics "
                f"({', '.join(sorted(self.reasons))}); "
                "they are logged with converged = 0"
            )
            rank_zero_warn(said)
            for logger in run_loggers(trainer.loggers):
                logger.alert("Learning coefficients fail their diagnostics", said)

    def state_dict(self) -> dict[str, Any]:
        own: dict[str, Any] = {name: getattr(self, name) for name in ("n_estimates", "n_regions", "n_failed")}
        return super().state_dict() | own | {"reasons": sorted(self.reasons), "training_seconds": self.training.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.n_estimates, self.n_failed = state_dict["n_estimates"], state_dict["n_failed"]
        self.n_regions = state_dict.get("n_regions", 0)
        self.reasons = {*state_dict.get("reasons", ())}
        self.training.seconds = state_dict["training_seconds"]


def default_data(trainer: pl.Trainer, n: int, who: str) -> Any:
    """The estimation set of a trainer's data module, of at most ``n`` rows.

    Raises:
        InputError: it has none.
    """
    datamodule: Any = getattr(trainer, "datamodule", None)
    require(datamodule, EstimationData, who, "data module", "give data=(inputs, targets)")
    return datamodule.estimation_set(n)


def default_regions(module: Any, whole_model: bool) -> dict[str, Any]:
    """The attention heads of a module, and the whole model if asked for, or if it has none."""
    try:
        heads = head_regions(module)
    except InputError:
        return {keys.MODEL: None}
    return {keys.MODEL: None, **heads} if whole_model else {**heads}


def log_traces(loggers: Sequence[RunLogger], result: LLCResult, step: int) -> None:
    """Log the table of draws: a row per draw, a column ``region/chain`` per chain; NaN where one has fewer draws."""
    columns = {f"{name}/{chain}": row for name, r in result.items() for chain, row in enumerate(r.trace.tolist())}
    rows = [[draw, *values] for draw, values in enumerate(zip_longest(*columns.values(), fillvalue=math.nan))]
    for logger in loggers:
        logger.log_table(keys.LLC_TRACE, ["draw", *columns], rows, step)


def own_residuals(module: HasResiduals, batch: Any) -> Tensor:
    """The residuals that a module brings along, ``[rows, ...]``, of a tuple of rows of the estimation set."""
    return module.estimation_residuals(batch)


def own_loss(module: HasEstimationLoss, batch: Any) -> Tensor:
    """The loss that a module brings along, scalar, of a tuple of rows of the estimation set."""
    return module.estimation_loss(batch)
