"""Count the directions in which the loss is curved while training runs, for the model and each of its heads."""

from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from lightning_physim import keys
from lightning_physim.callbacks.learning_coefficient import Subject, default_data, default_regions, own_residuals
from lightning_physim.callbacks.observer import Observer
from lightning_physim.callbacks.safeguard import stop_requested
from lightning_physim.callbacks.schedule import LogSchedule
from lightning_physim.llc import Spectrum, gauss_newton_spectra
from lightning_physim.protocols import HasResiduals, require
from lightning_physim.ranges import check_counts


class Geometry(Observer):
    """Measures Gauss-Newton spectra while training runs, and leaves no trace in it.

    Logs ``geometry/{region}/<quantity>`` for every quantity of :data:`lightning_physim.keys.GEOMETRY`: the trace,
    and at three curvatures c the directions that count, their occupancy, and what more states would change. Where
    the loss is quadratic, half of ``d_eff`` at c is the learning coefficient that is sampled with
    ``localization / n_beta = c`` (docs/llc.md). Spectra need no sampler, no step size and no diagnostics. Results of
    this process are in ``results``, ``{step: {region: Spectrum}}``.

    Works with any LightningModule whose loss is a mean of squares: give ``residual_fn`` and ``data``. A module with
    ``estimation_residuals(batch)`` and a data module with ``estimation_set(n)``, such as ours, bring them along. Where
    several processes train, they share the states.

    Where both a region's coordinates and its residuals are more than
    :data:`lightning_physim.llc.gauss_newton.EXACT_SIZE`, ``d_eff`` is sampled, and ``d_eff_error`` is its standard
    error.

    Choosing values: ``doubling`` says by how much ``d_eff`` changes from half of ``n_states`` to all of them. Most of
    the cost of a head is that of the eigenvalues of its matrix, whatever ``n_states``.

    Args:
        n_states: states of the estimation set that the matrices are a mean over, at most.
        steps_per_decade: spectra of heads per tenfold increase of the step; by default those of the learning
            coefficients.
        every: one spectrum in so many is one in full: of all parameters together as well, and with ``doubling``. It
            takes three times as long in ``demo``.
        residual_fn: ``(module, batch) -> [rows, ...]``, residuals of a tuple of rows of ``data``.
        data: estimation set, a tuple of tensors or a ``Dataset``.
        regions: ``{name: None or {parameter: mask}}``; None for the model and, where there are any, its heads.

    Raises:
        InputError: a value out of its range, or no residuals or data to be found.
    """

    name = "geometry"
    what = "spectra"

    def __init__(
        self,
        n_states: int = 32,
        steps_per_decade: int = 4,
        every: int = 2,
        residual_fn: Callable[[Any, Any], Tensor] | None = None,
        data: Any = None,
        regions: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(steps_per_decade)
        check_counts(2, n_states=n_states)
        self.n_states = n_states
        self.full_schedule = LogSchedule(steps_per_decade, every)
        self.residual_fn, self.data, self.regions = residual_fn, data, regions
        self.subject = Subject(residual_fn, data, regions)
        self.results: dict[int, dict[str, Spectrum]] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        # What was given stays as it is: the next fit may have another module, and other data.
        residual_fn, data, regions = self.residual_fn, self.data, self.regions
        if residual_fn is None:
            require(
                pl_module, HasResiduals, "Geometry", "module", "give residual_fn=lambda module, batch: ...",
            )  # fmt: skip
            residual_fn = own_residuals
        if data is None:
            data = default_data(trainer, self.n_states, "Geometry")
        if regions is None:
            regions = default_regions(pl_module, whole_model=True)
        self.subject = Subject(residual_fn, data, regions)

    def measure(self, trainer: pl.Trainer, module: pl.LightningModule, final: bool) -> dict[str, float]:
        assert self.subject.residual_fn is not None and self.subject.regions is not None
        step = trainer.global_step
        in_full = final or step == 0 or self.full_schedule.due(step)
        chosen = {name: masks for name, masks in self.subject.regions.items() if masks is not None or in_full}
        # Collective: ranks share the states.
        spectra = gauss_newton_spectra(
            module,
            self.subject.residual_fn,
            self.subject.data,
            chosen,
            distributed=True,
            halves=in_full,
            stop=lambda: stop_requested(trainer),
        )
        self.results[step] = spectra
        return {
            keys.GEOMETRY[quantity].of(region=region): value
            for region, spectrum in spectra.items()
            for quantity, value in spectrum.metrics().items()
        }
