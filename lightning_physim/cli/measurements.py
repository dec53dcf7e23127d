"""The sections of a configuration that say what is measured while training runs, and when."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pytorch_lightning as pl
from jsonargparse import Namespace
from pytorch_lightning.cli import LightningArgumentParser

from lightning_physim.callbacks import (
    CollisionProbe,
    EmergenceMonitor,
    Geometry,
    LearningCoefficient,
    LogSpacedCheckpoint,
    LogSpacedValidation,
    Safeguard,
    Snapshots,
    StepProgressBar,
    TrainingClock,
)
from lightning_physim.errors import InputError
from lightning_physim.probes import has_attention
from lightning_physim.protocols import HasEstimationLoss, HasResiduals, offers


class Measurement(NamedTuple):
    """One section.

    Args:
        callback: what the options of the section make.
        needs: what the network or the other sections must have; a key of :data:`NEEDS`.
        skip: arguments of the callback that only Python can give.
        of_network: whether it measures a network as it stands, which a checkpoint has too.
    """

    callback: type[pl.Callback]
    needs: str = ""
    skip: frozenset[str] = frozenset()
    of_network: bool = False


MEASUREMENTS = {
    # In this order they are called: the clock counts what comes before it as training, the monitor reads the probe.
    "clock": Measurement(TrainingClock),
    "validation": Measurement(LogSpacedValidation),
    "probe": Measurement(CollisionProbe, needs="attention", of_network=True),
    "emergence": Measurement(EmergenceMonitor, needs="probe", of_network=True),
    "snapshots": Measurement(Snapshots, of_network=True),
    "checkpoints": Measurement(LogSpacedCheckpoint),
    "llc": Measurement(
        LearningCoefficient, needs="loss", skip=frozenset({"loss_fn", "data", "regions"}), of_network=True
    ),
    "geometry": Measurement(
        Geometry, needs="residuals", skip=frozenset({"residual_fn", "data", "regions"}), of_network=True
    ),
    "safeguard": Measurement(Safeguard),
    "progress": Measurement(StepProgressBar),
}
"""The sections by name, in their order."""
LINKS = {"probe.radius": "snapshots.radius"}
"""Options that are given once and reach a second place too."""
NEEDS = {
    "attention": "a network with attention",
    "loss": "a network with estimation_loss(batch)",
    "residuals": "a network with estimation_residuals(batch)",
    "probe": "the section probe, whose scores it reads",
}


def add_sections(parser: LightningArgumentParser) -> None:
    """Give a parser every section, with ``enabled`` beside the arguments of the callback."""
    for name, measurement in MEASUREMENTS.items():
        parser.add_class_arguments(
            measurement.callback, name, skip=set(measurement.skip), fail_untyped=False, sub_configs=True
        )
        parser.add_argument(f"--{name}.enabled", type=bool, default=True, help=f"--{name}=false leaves it out.")
    for source, target in LINKS.items():
        parser.link_arguments(source, target)


def split_enabled(config: Namespace) -> set[str]:
    """Take ``enabled`` out of every section of a parsed configuration; the names of those that are on."""
    return {name for name in MEASUREMENTS if config[name].pop("enabled")}


def supported(enabled: set[str], model: pl.LightningModule, asked_for: Iterable[str]) -> tuple[list[str], list[str]]:
    """Which sections a network supports.

    Args:
        enabled: names of the sections that are on.
        model: with ``attention(states)`` or without.
        asked_for: names that stand on the command line.

    Returns:
        Names in their order, and a line for each that is left out.

    Raises:
        InputError: a section that was asked for is not supported.
    """
    chosen: list[str] = []
    left_out = []
    for name, measurement in MEASUREMENTS.items():
        if name not in enabled:
            continue
        has = {
            "": True,
            "attention": has_attention(model),
            "loss": offers(model, HasEstimationLoss),
            "residuals": offers(model, HasResiduals),
            "probe": "probe" in chosen,
        }
        if has[measurement.needs]:
            chosen.append(name)
        elif name in asked_for:
            raise InputError(f"{name} needs {NEEDS[measurement.needs]}; there is none: leave out --{name}")
        else:
            left_out.append(f"{name} is left out: it needs {NEEDS[measurement.needs]}")
    return chosen, left_out


def normalised(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A configuration as the parser takes it.

    ``llc: false`` and ``llc: true`` become ``llc: {enabled: ...}``. Callbacks of ours in the list
    ``trainer.callbacks``, where runs of earlier versions have them, move into their sections; sections that such a list
    does not have are off.

    Args:
        config: content of a file.
        where: what it is, for messages.

    Raises:
        InputError: a callback of ours stands twice, or a section is no mapping.
    """
    result = dict(config)
    for name in MEASUREMENTS:
        if name in result and not isinstance(result[name], dict):
            if result[name] is not None and not isinstance(result[name], bool):
                raise InputError(f"section {name} of {where} holds options; got {result[name]!r}: type {name}: false")
            result[name] = {"enabled": bool(result[name])}
    for source, target in LINKS.items():
        section, option = target.split(".")
        if option in (result.get(section) or {}):
            raise InputError(f"{target} follows {source}; {where} sets it apart: set {source} alone")
    listed = (result.get("trainer") or {}).get("callbacks")
    if isinstance(listed, list):
        sections, foreign = _of_list(listed, where)
        if sections:
            twice = sorted(sections.keys() & result.keys())
            if twice:
                raise InputError(f"{where} has {twice[0]} as a section and as a callback: keep the section")
            result |= {name: sections.get(name, {"enabled": False}) for name in MEASUREMENTS if name not in result}
        result["trainer"] = {**result["trainer"], "callbacks": foreign}
    return result


def _of_list(callbacks: list[Any], where: str) -> tuple[dict[str, dict[str, Any]], list[Any]]:
    """Sections made of our callbacks in a list, and the foreign ones that stay in it."""
    names = {measurement.callback.__name__: name for name, measurement in MEASUREMENTS.items()}
    sections: dict[str, dict[str, Any]] = {}
    foreign = []
    for entry in callbacks:
        if not isinstance(entry, str | dict):
            raise InputError(f"trainer.callbacks of {where} must be a list of class_path and init_args; got {entry!r}")
        path = entry if isinstance(entry, str) else str(entry.get("class_path", ""))
        name = names.get(path.rsplit(".", 1)[-1]) if path.startswith("lightning_physim.callbacks.") else None
        if name is None:
            foreign.append(entry)
        elif name in sections:
            raise InputError(f"{where} has two callbacks {path}; a run has one: remove the second")
        else:
            options = {} if isinstance(entry, str) else dict(entry.get("init_args") or {})
            linked = {target.split(".")[1] for target in LINKS.values() if target.split(".")[0] == name}
            python_only = MEASUREMENTS[name].skip
            sections[name] = {
                key: value
                for key, value in options.items()
                if key not in linked | python_only and not (key == "sgld" and value is None)
            }
    return sections, foreign


def refuse_second(callbacks: Iterable[Any]) -> None:
    """Refuse callbacks of ours beside their sections.

    Raises:
        InputError: there is one.
    """
    for callback in callbacks:
        for name, measurement in MEASUREMENTS.items():
            if type(callback) is measurement.callback:
                raise InputError(
                    f"{type(callback).__name__} has the section {name}; got a second one in trainer.callbacks: "
                    f"give its options as --{name}.OPTION"
                )
