"""What was typed after ``physim fit``, turned into what LightningCLI reads."""

import argparse
import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from lightning_physim.checkpoints import read_checkpoint
from lightning_physim.cli.configs import merged, read_config, read_inline, resolve_config
from lightning_physim.cli.loggers import completed, completed_words
from lightning_physim.cli.measurements import MEASUREMENTS, normalised
from lightning_physim.cli.own_network import with_own_network
from lightning_physim.cli.runs import chosen_run
from lightning_physim.cli.shipped import BASE, DEFAULT, SHIPPED
from lightning_physim.errors import InputError
from lightning_physim.tracking import RunDirectory, last_checkpoint

HELP = {"-h", "--help"}
ASKS_ONLY = ("--help", "-h", "--print_config")
"""Beginnings of options after which nothing is trained."""


class Arguments(NamedTuple):
    """A command line, ready to be parsed.

    Attributes:
        words: for the parser. Every process of a distributed training reads the same ones.
        config: the whole configuration, before options.
        asked_for: sections that stand on the command line.
        resumed: the run that a fit goes on with; None for a new one.
        name: for a new run.
        own_network: whether the network is a class of the user's, and not one of ours with its options.
        as_shipped: whether it is a shipped configuration, of which no option changes how long it takes.
    """

    words: list[str]
    config: dict[str, Any]
    asked_for: set[str]
    resumed: RunDirectory | None
    name: str
    own_network: bool
    as_shipped: bool


def expand(argv: list[str], claim: Callable[[RunDirectory], object] = lambda run: None) -> Arguments:
    """Turn names into content: configurations, ``--ckpt_path last`` and ``--ckpt_path runs/ID``.

    All configurations are read here and become one, which starts from the shipped base; single options win over it
    wherever they stand. Without any ``--config`` a run that is gone on with brings its own, and everything else starts
    from ``demo``. Options of other spelling are translated: ``--llc=false``, and ``None`` and ``1000.0`` as W&B's
    sweep agent writes them.

    Args:
        argv: the command and its words.
        claim: called with the run that a fit goes on with before anything of it is read: its checkpoints come and go
            while somebody else trains it.

    Raises:
        InputError: a configuration, run or checkpoint that cannot be used, or an evaluation without a checkpoint.
    """
    known = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    known.add_argument("-c", "--config", action="append", default=[])
    known.add_argument("--ckpt_path")
    known.add_argument("--runs", default="runs")
    command = argv[0]
    given, rest = known.parse_known_args(argv[1:])
    run = None
    if given.ckpt_path is not None and not Path(given.ckpt_path).is_file():
        run = chosen_run(given.runs, given.ckpt_path)
        if command == "fit" and not any(word.startswith(ASKS_ONLY) for word in rest):
            claim(run)
        given.ckpt_path = str(last_checkpoint(run))
    if given.ckpt_path is not None:
        read_checkpoint(given.ckpt_path)  # before anybody else does
    if command != "fit" and given.ckpt_path is None and not any(word.startswith(ASKS_ONLY) for word in rest):
        raise InputError(
            f"physim {command} needs the checkpoint of a trained network; got none: type --ckpt_path last, or a run"
        )
    inline = [read_inline(word) for word in given.config if word.startswith("{")]
    paths = [resolve_config(word) for word in given.config if not word.startswith("{")]
    if not paths and not inline:
        paths = [run.config if run is not None else resolve_config(DEFAULT)]
    config: dict[str, Any] = read_config(SHIPPED / f"{BASE}.yaml")
    for content in inline:  # a process that Lightning has started gets what its parent has read
        config = merged(config, normalised(content, "--config"))
    for path in paths:
        config = merged(config, normalised(read_config(path), str(path)))
    config, own = with_own_network(config, rest)
    trainer = config.get("trainer")
    if isinstance(trainer, dict) and "logger" in trainer:
        config["trainer"] = trainer | {"logger": completed(trainer["logger"])}
    options = [*completed_words([_translated(word) for word in rest])]
    words = [command, f"--config={json.dumps(config)}", *options]
    if given.ckpt_path is not None:
        words.append(f"--ckpt_path={given.ckpt_path}")
    words.append(f"--runs={given.runs}")
    asked_for = {name for name in MEASUREMENTS for word in options if word.startswith((f"--{name}.", f"--{name}="))}
    asked_for -= {name for name in MEASUREMENTS if f"--{name}.enabled=false" in options}
    name = paths[-1].stem if paths else DEFAULT
    shipped = len(paths) == 1 and not inline and paths[0].parent == SHIPPED and all(_is_idle(word) for word in rest)
    return Arguments(words, config, asked_for, run if command == "fit" else None, name, own, shipped)


def _is_idle(word: str) -> bool:
    """Whether an option leaves alone how long a training takes."""
    return word.startswith(("--seed_everything=", "--wandb=", "--runs=", "--artifacts=", "--threads="))


def _translated(word: str) -> str:
    """An option in the parser's spelling.

    ``--llc=false`` becomes ``--llc.enabled=false``. A Python literal that reads otherwise in YAML becomes YAML.
    """
    key, equals, text = word.partition("=")
    if not key.startswith("--") or not equals:
        return word
    if key.removeprefix("--") in MEASUREMENTS and text.lower() in ("true", "false", "null", "none"):
        return f"{key}.enabled={'true' if text.lower() == 'true' else 'false'}"
    try:
        value = ast.literal_eval(text)
        as_yaml = json.dumps(_whole(value))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):  # the last two of deep nesting
        return word
    return f"{key}={as_yaml}" if value is None or isinstance(value, float | dict) else word


def _whole(value: Any) -> Any:
    """Floats that are whole as integers, which every option for a float takes too."""
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value
