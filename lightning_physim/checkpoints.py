"""Checkpoints that a command is given: can they be gone on with?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from jsonargparse import ArgumentParser
from torch import nn

from lightning_physim.errors import InputError
from lightning_physim.module import PhysicsSimulator
from lightning_physim.target import ResidualTarget


class UnusableCheckpoint(InputError):
    """A file that is torn, or no checkpoint of ``physim fit``."""


PARTS = ("state_dict", "loops", "optimizer_states", "callbacks")
"""What a checkpoint of ``physim fit`` holds, and is read from it."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The content of a checkpoint, its tensors in memory; no code in it is run.

    Raises:
        UnusableCheckpoint: it is none.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what torch raises depends on which byte is wrong
        raise UnusableCheckpoint(
            f"a checkpoint is a file that physim fit has written; {path} cannot be read "
            f"({type(error).__name__}): name another one, or a run"
        ) from error
    missing = [part for part in PARTS if not isinstance(content, dict) or part not in content]
    if missing:
        raise UnusableCheckpoint(
            f"a checkpoint is a file that physim fit has written; {path} lacks {missing[0]}: name another one, or a run"
        )
    return content


def check_fits(path: str | Path, module: nn.Module) -> dict[str, Any]:
    """The content of a checkpoint whose weights a module can take.

    Raises:
        UnusableCheckpoint: what :func:`read_checkpoint` raises, or weights of another network.
    """
    content = read_checkpoint(path)
    _compare(path, content["state_dict"], module.state_dict())
    return content


def statistics(path: str | Path) -> ResidualTarget:
    """The units in which a network of ours predicts, from its checkpoint.

    Raises:
        UnusableCheckpoint: it is none, or of a network that has no such units.
    """
    target = ResidualTarget()
    prefix = "network.target."
    weights = read_checkpoint(path)["state_dict"]
    ours = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    _compare(path, ours, target.state_dict())
    target.load_state_dict(ours)
    return target


def _compare(path: str | Path, there: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for name in [*wanted, *there]:
        got, want = (list(s[name].shape) if name in s else "none" for s in (there, wanted))
        if got != want:
            raise UnusableCheckpoint(
                f"the weights of {path} must be those of the network; got {name} {got} for {want}: "
                f"leave out --config and --model options, so that the run brings its own"
            )


def load_network(
    path: str | Path,
    device: torch.device,
    section: Mapping[str, Any] | None = None,
    network: type[pl.LightningModule] | None = None,
) -> pl.LightningModule:
    """The network of a checkpoint, with its weights.

    Args:
        path: of the checkpoint, which describes a network of ours by itself.
        device: where to.
        section: ``model`` of the run's configuration, which names a network of the user's own.
        network: its class, where it has no section: it is made of the hyperparameters that it has saved.

    Raises:
        UnusableCheckpoint: it is none, or holds options of no network that is known here.
    """
    content = read_checkpoint(path)
    if network is None and section and "class_path" in section:
        module = _own_network(section)
    else:
        module = _described(path, content, network or PhysicsSimulator)
    _compare(path, content["state_dict"], module.state_dict())
    module.load_state_dict(content["state_dict"])
    return module.to(device)


def _described(path: str | Path, content: Mapping[str, Any], network: type[pl.LightningModule]) -> pl.LightningModule:
    """What a checkpoint describes by itself."""
    try:
        return network(**content.get("hyper_parameters", {}))
    except (InputError, TypeError) as error:
        raise UnusableCheckpoint(
            f"{path} is of no {network.__name__} of this version: {error}; "
            "Run(..., network=CLASS) opens one of another class"
        ) from error


def _own_network(section: Mapping[str, Any]) -> pl.LightningModule:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(pl.LightningModule, "model")
    return parser.instantiate(parser.parse_object({"model": dict(section)})).model
