"""What Lightning does around each step for callbacks that do nothing there."""

from typing import Any

import pytorch_lightning as pl

INNER_HOOKS = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)
"""Hooks that Lightning calls at every step."""


def leave_out_unused_hooks(trainer: pl.Trainer, module: pl.LightningModule) -> None:
    """Hide from Lightning those of :data:`INNER_HOOKS` that a callback or the module has only inherited.

    Lightning opens a profiler's context for each hook of each callback, used or not: some sixty at every step, 4 % of a
    step of ``smoke``. A hook that is None is passed over.
    """
    owners: list[tuple[Any, type]] = [(callback, pl.Callback) for callback in trainer.callbacks]  # type: ignore[attr-defined]
    for owner, base in (*owners, (module, pl.LightningModule)):
        for name in INNER_HOOKS:
            if getattr(type(owner), name) is getattr(base, name):
                setattr(owner, name, None)
