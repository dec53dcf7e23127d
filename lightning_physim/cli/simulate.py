"""``physim simulate``: make a data set, say what is in it, and watch a piece of it."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse import ArgumentParser

from lightning_physim.cli.configs import read_config, resolve_config
from lightning_physim.cli.shipped import DEFAULT
from lightning_physim.cli.suggestions import suggesting
from lightning_physim.data import ParticleDataModule, export_splits
from lightning_physim.data.formats import FORMATS
from lightning_physim.errors import InputError
from lightning_physim.report.animation import write_animation


def simulate(argv: list[str]) -> None:
    """Run the command with the words after ``physim simulate``.

    Raises:
        InputError: a wrong value, or a folder or file that cannot be written.
    """
    parser = build_parser()
    with suggesting(parser):
        options = parser.parse_args(_inline_config(argv))
    data: ParticleDataModule = parser.instantiate(options).data
    if options.split not in data.specs:
        raise InputError(f"--split is one of {', '.join(data.specs)}; got {options.split}")
    data.prepare_data()
    data.setup()
    print(data.describe())
    if options.export:
        written = export_splits(data, Path(options.export), options.format)
        print(f"\nexported: {', '.join(map(str, written))}")
    if options.animate:
        _animate(data, options.split, options.system_index, options.animate)
        print(f"\nanimation: {options.animate}")


def build_parser() -> ArgumentParser:
    """The options of ``physim simulate``."""
    parser = ArgumentParser(
        prog="physim simulate",
        description="Make the data set of a configuration (what is there already is only checked) and describe it.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config",
        action="append",
        help="Shipped configuration or YAML file, of which the data section is used; without it: demo.",
    )
    parser.add_class_arguments(ParticleDataModule, "data")
    parser.add_argument("--animate", type=str | None, help="HTML file for an animation of one trajectory.")
    parser.add_argument("--export", type=str | None, help="Folder to write train, valid and test to, for others.")
    parser.add_argument("--format", choices=[*FORMATS], default="h5", help="Of the exported files; see docs/data.md.")
    parser.add_argument("--split", type=str, default="val", help="Split that the animation is taken from.")
    parser.add_argument("--system_index", type=int, default=0, help="Number of the trajectory in the split, from 0.")
    return parser


def _inline_config(argv: list[str]) -> list[str]:
    """``argv`` with every ``--config`` replaced by the data section it names, in front: single options override it."""
    known = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    known.add_argument("--config", action="append")
    given, rest = known.parse_known_args(argv)
    if {"-h", "--help"} & set(rest):
        return rest
    sections = [_data_section(config) for config in given.config or [DEFAULT]]
    return [*(part for section in sections for part in ("--data", json.dumps(section))), *rest]


def _data_section(config: str) -> dict[str, Any]:
    path = resolve_config(config)
    section = read_config(path).get("data")
    if not isinstance(section, dict):
        raise InputError(f"--config must be a YAML file with a data section; got {path} without one")
    return section


def _animate(data: ParticleDataModule, name: str, index: int, path: str) -> None:
    split = data.split(name)
    if not 0 <= index < split.n_trajectories:
        raise InputError(f"--system_index is 0 to {split.n_trajectories - 1} in split {name}; got {index}")
    system = data.specs[name].system
    write_animation(
        path,
        split.states[index, ..., :2].numpy(),
        system.box,
        np.asarray(split.metadata["radii"]),
        split.colliding(index).numpy(),
        system.interval,
        title=f"Trajectory {index} of {name}",
        subtitle=f"{system.n_particles} particles · {split.n_intervals} intervals of {system.interval:g} · "
        f"gravity {system.gravity:g}",
    )
