"""Training the physics network: the LightningModule."""

import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, get_args

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lightning_physim import keys
from lightning_physim.data import ParticleDataModule, floor_rollouts
from lightning_physim.errors import InputError
from lightning_physim.flow import RungeKuttaChebyshev
from lightning_physim.loggers import log_row, run_loggers
from lightning_physim.metrics import OneStepError, RolloutError
from lightning_physim.model import make_network, rollout
from lightning_physim.model.network import Embedding, Norm
from lightning_physim.ranges import check_choice, check_counts, check_not_negative, check_positive

if TYPE_CHECKING:
    from lightning_physim.data import Batch

log = logging.getLogger(__name__)

OPTIMIZERS: dict[str, tuple[Callable[..., Optimizer], tuple[str, ...]]] = {
    "adam": (Adam, ()),
    "adamw": (AdamW, ("weight_decay",)),
    "sgd": (SGD, ("momentum", "weight_decay")),
    "rkc": (RungeKuttaChebyshev, ("stages",)),
}
"""Optimizers by name, with the options that they take beside ``lr``."""
Schedule = Literal["constant", "cosine"]


class PhysicsSimulator(pl.LightningModule):
    """Trains a :class:`PhysicsTransformer`, or a peer of it, to predict the state one interval later.

    The loss is the mean squared error of the standardised residual of free flight (see :mod:`lightning_physim.target`):
    1 means "no better than free flight" on the training split. Validation reports it over colliding and free particles
    apart, beside the ballistic and no-pair floors on the same data, and the errors of rollouts.

    Args:
        architecture: a name in :data:`lightning_physim.model.NETWORKS`: ``"transformer"``
            (:class:`PhysicsTransformer`), ``"no_attention"`` (its blocks without attention) or ``"interaction"``
            (messages between pairs that are near). Only the first has heads to probe.
        n_layers: attention blocks of the network; rounds of messages of the interaction network.
        n_heads: attention heads in a block; must divide ``d_model``. Of the transformer alone.
        d_model: width of the residual stream.
        d_mlp: hidden width of a block's MLP.
        embedding: ``"mlp"`` or ``"linear"``, from the standardised state to ``d_model``.
        d_embedding: hidden width of the MLP embedding.
        norm: ``"layer"``, ``"rms"`` or ``"none"``.
        attend_self: let a particle attend to itself. Of the transformer alone.
        cutoff: distance within which particles exchange messages, contact diameters. Of the interaction network alone.
        optimizer: ``"adam"``, ``"adamw"``, ``"sgd"`` (with ``momentum``), or ``"rkc"``, gradient flow by
            :class:`lightning_physim.flow.RungeKuttaChebyshev` (with ``stages``; best without warm-up).
        lr: peak learning rate; of ``"rkc"`` the step of time of a cycle.
        warmup_steps: optimizer steps over which the learning rate rises linearly from 0.
        schedule: ``"constant"`` after the warm-up, or ``"cosine"`` to zero at ``trainer.max_steps``.
        momentum: of SGD.
        weight_decay: of AdamW and SGD.
        stages: gradients, each an optimizer step, in a cycle of ``"rkc"``.
        rollout_horizons: intervals after which rollouts are judged; must not exceed the length of a validation
            trajectory.
        compile: compile the training loss by ``torch.compile``: faster steps after a wait of 10 to 20 s, which pays
            from some ten thousand steps of ``demo`` on. Needs a C++ compiler, on a GPU Triton. Without one, one
            line says so and training goes on uncompiled. Rounding differs between the two.

    Attributes:
        attention: ``attention(state)``, patterns ``[layers, systems, heads, query, key]`` for
            ``[systems, particles, 4]``; there where the network has attention.
        ablate, logits, patch: of :class:`PhysicsTransformer`; likewise.

    Raises:
        InputError: a value out of its range.
    """

    attention: Callable[[Tensor], Tensor]
    ablate: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    logits: Callable[[Tensor], Tensor]
    patch: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

    def __init__(
        self,
        architecture: str = "transformer",
        n_layers: int = 2,
        n_heads: int = 4,
        d_model: int = 32,
        d_mlp: int = 64,
        embedding: Embedding = "mlp",
        d_embedding: int = 64,
        norm: Norm = "layer",
        attend_self: bool = False,
        cutoff: float = 2.5,
        optimizer: Literal["adam", "adamw", "sgd", "rkc"] = "adam",
        lr: float = 2e-3,
        warmup_steps: int = 100,
        schedule: Schedule = "constant",
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        stages: int = 12,
        rollout_horizons: tuple[int, ...] = (1, 5, 10, 20),
        compile: bool = False,
    ) -> None:
        super().__init__()
        check_choice(OPTIMIZERS, optimizer=optimizer)
        check_choice(get_args(Schedule), schedule=schedule)
        check_positive(lr=lr)
        check_counts(0, warmup_steps=warmup_steps)
        check_counts(stages=stages)
        check_not_negative(momentum=momentum, weight_decay=weight_decay)
        if not rollout_horizons or min(rollout_horizons) < 1:
            raise InputError(f"rollout_horizons must be one or more positive integers; got {rollout_horizons}")
        self.save_hyperparameters()
        self.network = make_network(architecture, self.hparams)
        # A module offers what its network does, and lacks what its network lacks.
        for name in ("attention", "ablate", "logits", "patch"):
            if hasattr(self.network, name):
                setattr(self, name, getattr(self.network, name))
        self.rollout_horizons = tuple(rollout_horizons)
        self._training_loss: Callable[[Batch], Tensor] = self.loss
        self._logged_step = -1
        # One pair of metrics for each evaluation split, made when the loop over it starts.
        self.errors = torch.nn.ModuleDict()

    def setup(self, stage: str) -> None:
        # Only fit takes the statistics of its data: a trained network is evaluated with those it was trained with.
        if stage == "fit":
            self.network.take_statistics(self._datamodule())
            if self.hparams["compile"]:
                self._training_loss = compiled_where_possible(self.loss)

    def forward(self, state: Tensor) -> Tensor:
        """The state one interval later, ``[systems, particles, 4]``."""
        return self.network.step(state)

    def on_train_start(self) -> None:
        self._logged_step = -1
        if self.global_step == 0:
            self._log_floors()

    @rank_zero_only
    def _log_floors(self) -> None:
        """Errors of the floors as simulators, a row each, for what takes tables."""
        loggers, data = run_loggers(self.trainer.loggers), self._datamodule()
        if loggers and isinstance(data, ParticleDataModule):
            floors = floor_rollouts(data, self.rollout_horizons)
            columns = list(next(iter(floors.values())))
            rows = [[name, *(errors[key] for key in columns)] for name, errors in floors.items()]
            for logger in loggers:
                logger.log_table(keys.ROLLOUT_FLOORS, ["floor", *columns], rows, 0)

    def training_step(self, batch: "Batch", batch_idx: int) -> Tensor:
        loss = self._training_loss(batch)
        step = self.global_step + 1
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        # 0 means never. Of gradients that are accumulated over several batches, the first batch is logged.
        if every > 0 and step % every == 0 and step != self._logged_step:
            self._logged_step = step
            # To the loggers directly: Lightning's own count of rows is off by one after some resumes.
            mean = self.trainer.strategy.reduce(
                loss.detach(), reduce_op="mean"
            )  # collective: all ranks log at this step
            self.log(keys.TRAIN_LOSS, mean, prog_bar=True, logger=False)
            log_row(self.trainer.loggers, {keys.TRAIN_LOSS: float(mean)}, step)
        return loss

    def loss(self, batch: "Batch") -> Tensor:
        """Mean squared error of the standardised target, a scalar.

        With windows of several intervals the network is unrolled on its own output, and each step is judged by the
        residual that would lead from where it got to the true next state.
        """
        state = batch.states[:, 0]
        prediction = self.network(state)
        loss = F.mse_loss(prediction, batch.targets[:, 0])
        n_intervals = batch.targets.shape[1]
        for k in range(1, n_intervals):
            state = self.network.target.advance(state, prediction, batch.gravity)
            prediction = self.network(state)
            loss = loss + F.mse_loss(
                prediction, self.network.target.residual(state, batch.states[:, k + 1], batch.gravity)
            )
        return loss / n_intervals

    def estimation_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The loss whose geometry is measured: over one interval, of states and targets ``[systems, particles, 4]``."""
        return self.estimation_residuals(batch).square().mean()

    def estimation_residuals(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """What :meth:`estimation_loss` is the mean square of, ``[systems, particles, 4]``."""
        states, targets = batch
        return self.network(states) - targets

    def on_validation_epoch_start(self) -> None:
        self._start_evaluation(["val"])

    def validation_step(self, batch: "Batch", batch_idx: int) -> None:
        self._evaluate("val", batch)

    def on_validation_epoch_end(self) -> None:
        self._log_evaluation("val")

    def on_test_epoch_start(self) -> None:
        self._start_evaluation(self._datamodule().test_splits)

    def test_step(self, batch: "Batch", batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluate(self._datamodule().test_splits[dataloader_idx], batch)

    def on_test_epoch_end(self) -> None:
        for split in self._datamodule().test_splits:
            self._log_evaluation(split)

    def predict_step(self, batch: "Batch", batch_idx: int) -> Tensor:
        """Rollouts ``[systems, intervals + 1, particles, 4]`` from the first state of each window."""
        return rollout(self.network, batch.states[:, 0], batch.targets.shape[1], batch.gravity)

    def configure_optimizers(self) -> Any:
        hp = self.hparams
        make, options = OPTIMIZERS[hp["optimizer"]]
        given = {name: hp[name] for name in options}
        if make is not RungeKuttaChebyshev:
            # Fused: all parameters in one call. Under a gradient scaler that would rule out gradient clipping.
            given["fused"] = self.trainer.precision != "16-mixed"
        optimizer = make(self.parameters(), lr=hp["lr"], **given)
        max_steps = self.trainer.max_steps
        if hp["schedule"] == "cosine" and max_steps <= hp["warmup_steps"]:
            raise InputError(
                f"schedule=cosine needs trainer.max_steps above warmup_steps={hp['warmup_steps']}; got {max_steps}"
            )

        def factor(step: int) -> float:
            warm = min(1.0, (step + 1) / (hp["warmup_steps"] + 1))
            if hp["schedule"] == "constant":
                return warm
            done = max(0, step - hp["warmup_steps"]) / (max_steps - hp["warmup_steps"])
            return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}}

    def _datamodule(self) -> Any:
        datamodule = getattr(self.trainer, "datamodule", None)
        if datamodule is None:
            raise InputError("PhysicsSimulator needs a ParticleDataModule; got none: pass datamodule=... to fit")
        return datamodule

    def _start_evaluation(self, splits: list[str]) -> None:
        self.errors = torch.nn.ModuleDict(
            {
                split: torch.nn.ModuleDict({"step": OneStepError(), "rollout": RolloutError(self.rollout_horizons)})
                for split in splits
            }
        ).to(self.device)

    def _evaluate(self, split: str, batch: "Batch") -> None:
        known = batch.evaluation
        if known is None:
            raise InputError("evaluation needs the no-pair oracle; got a training batch: use an evaluation split")
        n_intervals = batch.targets.shape[1]
        if max(self.rollout_horizons) > n_intervals:
            raise InputError(
                f"rollout_horizons must not exceed the {n_intervals} intervals of a trajectory; "
                f"got {max(self.rollout_horizons)}: raise --data.n_intervals or lower --model.rollout_horizons"
            )
        prediction = self.network(batch.states[:, :-1].flatten(0, 1)).view_as(batch.targets)
        errors: Any = self.errors[split]
        errors["step"].update(prediction, batch.targets, known.no_pair, known.colliding)
        path = rollout(self.network, batch.states[:, 0], max(self.rollout_horizons), batch.gravity)
        errors["rollout"].update(path, batch.states, known.masses, batch.gravity)

    def _log_evaluation(self, split: str) -> None:
        # Metric.compute is the collective: every rank gets the same values.
        errors: Any = self.errors[split]
        values = {keys.of_split(split, key): value for key, value in errors["step"].compute().items()}
        values |= {keys.rollout_of(split, key): value for key, value in errors["rollout"].compute().items()}
        training = self.trainer.state.fn == "fit"
        self.log_dict(values, logger=not training and bool(self.trainer.loggers))
        if training and not self.trainer.sanity_checking:
            # To the loggers directly, under names that each of them takes.
            log_row(self.trainer.loggers, {key: float(value) for key, value in values.items()}, self.global_step)


def compiled_where_possible(function: Callable[["Batch"], Tensor]) -> Callable[["Batch"], Tensor]:
    """``function`` by ``torch.compile``; as it is, with one line of warning, where it cannot be compiled."""
    run = torch.compile(function, dynamic=False)

    def first_compiled(batch: "Batch") -> Tensor:
        nonlocal run
        try:
            return run(batch)
        except TorchDynamoException as error:
            reason = str(error).splitlines()[0]
            log.warning("training goes on without torch.compile, which failed: %s", reason)
            run = function
            return run(batch)

    return first_compiled
