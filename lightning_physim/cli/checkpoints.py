"""Checkpoints that a command is given: can they be gone on with?"""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from lightning_physim.errors import InputError

PARTS = ("state_dict", "loops", "optimizer_states", "callbacks", "hyper_parameters")
"""What a checkpoint of ``physim fit`` holds, and is read from it."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The content of a checkpoint, its tensors in memory; no code in it is run.

    Raises:
        InputError: a file that is torn, or no checkpoint of ``physim fit``.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what torch raises depends on which byte is wrong
        raise InputError(
            f"a checkpoint is a file that physim fit has written; {path} cannot be read "
            f"({type(error).__name__}): name another one, or a run"
        ) from error
    missing = [part for part in PARTS if not isinstance(content, dict) or part not in content]
    if missing:
        raise InputError(
            f"a checkpoint is a file that physim fit has written; {path} lacks {missing[0]}: name another one, or a run"
        )
    return content


def check_fits(path: str | Path, module: nn.Module) -> None:
    """See to it that a module can take the weights of a checkpoint.

    Raises:
        InputError: what :func:`read_checkpoint` raises, or weights of another network.
    """
    there = read_checkpoint(path)["state_dict"]
    wanted = module.state_dict()
    for name in [*wanted, *there]:
        got, want = (list(s[name].shape) if name in s else "none" for s in (there, wanted))
        if got != want:
            raise InputError(
                f"the weights of {path} must be those of the network; got {name} {got} for {want}: "
                f"leave out --config and --model options, so that the run brings its own"
            )
