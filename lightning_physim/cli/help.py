"""``physim fit --help``: the options that are most used, and the rest by section."""

import argparse
import re
import textwrap
from collections.abc import Iterator

from lightning_physim.errors import InputError

COMMON = (
    "config", "ckpt_path", "seed_everything", "runs", "wandb", "threads",
    "model.architecture", "model.n_layers", "model.n_heads", "model.lr",
    "data.n_train", "data.system.n_particles", "data.batch_size",
    "trainer.max_steps", "trainer.accelerator", "trainer.devices", "trainer.strategy", "trainer.logger",
)  # fmt: skip
ABOUT = {
    "general": "where runs are left, seed, threads, W&B",
    "model": "the network and its optimizer",
    "data": "the particle system and its trajectories",
    "trainer": "Lightning's own options",
}
"""Sections that are no measurements, in a line each."""
IN_SHORT = {
    "config": "demo, large, smoke or a YAML file; several are laid over each other",
    "ckpt_path": "last, a run or a checkpoint: to go on with, or to evaluate",
    "seed_everything": "of weights and batches; the data have --data.seed",
    "model.architecture": "transformer, no_attention or interaction",
    "trainer.accelerator": "cpu, gpu or auto",
    "trainer.devices": "how many, or auto",
    "trainer.strategy": "ddp for several devices",
    "trainer.logger": "one beside ours, such as TensorBoardLogger",
}
"""Of options whose own help is Lightning's, for everybody."""
HELP_WIDTH, INDENT = 80, 34


def help_text(command: str, topic: str | None, parser: argparse.ArgumentParser, usage: str) -> str:
    """What ``physim COMMAND --help [TOPIC]`` prints.

    Args:
        topic: a section, ``all`` for everything that the parser tells, or None for what is most used.
        usage: the words after the command.

    Raises:
        InputError: there is no such section.
    """
    sections = _sections(parser)
    if topic == "all":
        return str(parser.format_help())
    if topic is not None and topic not in sections:
        raise InputError(f"--help takes one of {', '.join(sections)} or all; got {topic}")
    if topic is not None:
        return "\n".join(line for action in sections[topic] for line in _told(action, whole=True)) + "\n"
    by_name = {action.dest: action for actions in sections.values() for action in actions}
    told = [line for name in COMMON if name in by_name for line in _told(by_name[name], whole=False)]
    listed = [
        line for name, actions in sections.items()
        for line in _columns(f"  {name}", f"{_about(name, parser)} ({len(actions)})", 16)
    ]  # fmt: skip
    return "\n".join(
        (
            f"usage: physim {command} {usage}",
            "",
            "Most used, with the values of this call:",
            *told,
            "",
            f"Sections, and how many options they have; physim {command} --help SECTION lists them:",
            *listed,
            f"  physim {command} --help all prints everything at once, --print_config a configuration.",
            "",
        )
    )


def _sections(parser: argparse.ArgumentParser) -> dict[str, list[argparse.Action]]:
    """Options that take a value, by the section that they belong to."""
    sections: dict[str, list[argparse.Action]] = {name: [] for name in ABOUT}
    for action in parser._actions:
        name = action.dest.partition(".")[0] if "." in action.dest else "general"
        if action.option_strings and action.default != argparse.SUPPRESS and not action.dest.endswith(".help"):
            sections.setdefault(name, []).append(action)
    return sections


def _about(section: str, parser: argparse.ArgumentParser) -> str:
    """What a section is, by the first sentence of the class behind it."""
    for group in parser._action_groups:
        if section not in ABOUT and group.title and any(a.dest == section for a in group._group_actions):
            return _plain(group.title)
    return ABOUT.get(section, "")


def _told(action: argparse.Action, whole: bool) -> Iterator[str]:
    """An option, its value and what it is; the first sentence alone where not the whole is wanted."""
    value = "" if action.default is None else f"={action.default}"
    text = _plain(action.help or "")
    if not whole:
        text = IN_SHORT.get(action.dest) or re.split(r"(?<=[^.])[.;:](?:\s|$)", text)[0]
    yield from _columns(f"  --{action.dest}{value}", text, INDENT)


def _columns(left: str, text: str, indent: int) -> list[str]:
    """A name and its text beside it, or below where the name is long."""
    blank = " " * indent
    lines = textwrap.wrap(text, HELP_WIDTH, initial_indent=blank, subsequent_indent=blank) or [blank]
    if len(left) < indent - 1:
        lines[0] = f"{left:<{indent}}{lines[0][indent:]}"
        return [line.rstrip() for line in lines]
    return [left, *(line for line in lines if line.strip())]


def _plain(text: str) -> str:
    """Without the marks of a documentation page."""
    return " ".join(re.sub(r":\w+:`~?([^`]*)`", r"\1", text).replace("``", "").split())
