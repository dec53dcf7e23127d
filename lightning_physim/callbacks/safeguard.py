"""How a training ends before its time: at a signal, or when its numbers are no longer finite."""

import os
from collections.abc import Mapping
from typing import Any, NoReturn

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from lightning_physim import keys
from lightning_physim.callbacks.schedule import is_final_step
from lightning_physim.errors import Diverged, Interrupted
from lightning_physim.loggers import run_loggers
from lightning_physim.modes import is_finite
from lightning_physim.signals import handle_signals, signal_name


class Safeguard(pl.Callback):
    """Ends training in order, on every rank at the same batch.

    *At a signal* (SIGINT, SIGTERM, SIGHUP; to any rank) training ends when everything that belongs to the optimizer
    step is done. That is its measurements, a validation that is due, and a checkpoint of
    :class:`lightning_physim.callbacks.LogSpacedCheckpoint`. Then :class:`lightning_physim.errors.Interrupted` is
    raised. A long estimate is given up for it and made after the resume. A second signal ends training at once, without
    a checkpoint. A signal in the last step changes nothing: the training is done.

    *When the loss is not finite*, or the weights are not after the last step,
    :class:`lightning_physim.errors.Diverged` is raised with step and learning rate. The batch goes to every
    :class:`lightning_physim.loggers.RunLogger` as the arrays ``train/diverged``. No checkpoint is made of weights
    that are not finite.

    Lightning's own handler of SIGTERM broadcasts from within; a rank that is in another collective then waits for ever.
    Here a handler takes a note, and ranks agree after the batch, by one all-reduce of two integers. Put this callback
    after those that measure.

    Args:
        allow_nan: train on when the loss is not finite.
    """

    def __init__(self, allow_nan: bool = False) -> None:
        self.allow_nan = allow_nan
        self.received: int | None = None
        """The signal that this process has got."""
        self.ending: int | None = None
        """The signal that training ends by, the same on every rank; no batch follows."""
        self._step = 0
        self._rates: list[float] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.received = self.ending = None
        self._step = trainer.global_step
        handle_signals(self._receive)  # Lightning puts those from before it back when it is through

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if self.ending is not None:
            raise Interrupted(self.ending)
        self._rates = [group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        bad = "" if self.allow_nan else _not_finite(pl_module, outputs, is_final_step(trainer))
        signal, first_bad = agreed(trainer, self.received or 0, bool(bad))
        if first_bad is not None:
            self._diverge(trainer, batch, bad, first_bad)
        # Of a step whose gradients are accumulated over several batches, no checkpoint holds the half.
        if signal and trainer.global_step != self._step and not is_final_step(trainer):
            self.ending = signal
        self._step = trainer.global_step

    def _receive(self, number: int) -> None:
        if self.received is not None:
            raise Interrupted(number)
        self.received = number
        if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            # Not by print or a logger: the signal may have come in the midst of one, and they cannot be entered twice.
            line = f"\n{signal_name(number)}: training ends after this step, with a checkpoint; again: at once\n"
            os.write(2, line.encode())

    def _diverge(self, trainer: pl.Trainer, batch: Any, bad: str, rank: int) -> None:
        """Keep the batch of the rank that noticed, and raise. Collective: that rank tells the others."""
        told: Any = (bad, self._rates, _arrays(batch)) if trainer.global_rank == rank else None
        bad, rates, arrays = trainer.strategy.broadcast(told, src=rank)
        step = trainer.global_step
        said = (
            f"training diverged: {bad} at step {step}, with a learning rate of {', '.join(f'{x:.4g}' for x in rates)}; "
            f"lower --model.lr, or train on with --safeguard.allow_nan=true"
        )
        for logger in run_loggers(trainer.loggers):
            logger.log_arrays(keys.DIVERGED_BATCH, arrays | {"lr": rates}, step)
            logger.alert("Training has diverged", said)
        raise Diverged(said)


def stop_requested(trainer: pl.Trainer) -> bool:
    """Whether this rank has got a signal, so that what takes long is to be given up."""
    return any(callback.received is not None for callback in _safeguards(trainer))


def _agreed_signal(trainer: pl.Trainer) -> int:
    """The signal that some rank has got. Collective."""
    return agreed(trainer, max((callback.received or 0 for callback in _safeguards(trainer)), default=0), False)[0]


def end_now(trainer: pl.Trainer) -> NoReturn:
    """End training here, by the signal that some rank has got. Collective."""
    signal = _agreed_signal(trainer)
    for callback in _safeguards(trainer):
        callback.ending = signal
    raise Interrupted(signal)


def is_ending(trainer: pl.Trainer) -> bool:
    """Whether all ranks have agreed that this step is the last before a signal ends training."""
    return any(callback.ending is not None for callback in _safeguards(trainer))


def _safeguards(trainer: pl.Trainer) -> list[Safeguard]:
    return [callback for callback in getattr(trainer, "callbacks", ()) if isinstance(callback, Safeguard)]


def _not_finite(module: pl.LightningModule, outputs: Any, final: bool) -> str:
    """What is not finite, in words; empty where all is well."""
    loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
    if isinstance(loss, Tensor) and not torch.isfinite(loss).all():
        return f"the loss is {loss.float().mean().item()}"
    # The next loss would tell; after the last step there is none.
    return "the weights are not finite" if final and not is_finite(module) else ""


def agreed(trainer: pl.Trainer, signal: int, bad: bool) -> tuple[int, int | None]:
    """The largest number of a signal on any rank, and the first rank with numbers that are not finite. Collective."""
    if trainer.world_size == 1:
        return signal, 0 if bad else None
    world = trainer.world_size
    mine = [signal, world - trainer.global_rank if bad else 0]
    notes = torch.tensor(mine, device=trainer.strategy.root_device)
    dist.all_reduce(notes, dist.ReduceOp.MAX)
    signal, from_last = notes.tolist()
    return signal, world - from_last if from_last else None


def _arrays(batch: Any) -> dict[str, Any]:
    """The tensors of a batch by name, or by number where they have none."""
    if hasattr(batch, "_asdict"):
        batch = batch._asdict()
    if not isinstance(batch, Mapping):
        batch = dict(enumerate(batch if isinstance(batch, list | tuple) else [batch]))
    return {str(name): part.detach().float().cpu().numpy() for name, part in batch.items() if isinstance(part, Tensor)}
