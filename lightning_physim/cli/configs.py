"""Configurations: shipped ones by name, files by path, all of them on top of what the shipped ones share."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonargparse

from lightning_physim.cli.shipped import SHIPPED, shipped_configs
from lightning_physim.errors import InputError
from lightning_physim.files import UNREADABLE

TOO_DEEP = re.compile(r"(?:[\[{]\s*|[?-] \s*){200}")


def resolve_config(name: str) -> Path:
    """The file behind ``--config NAME_OR_PATH``; a path wins over a shipped name.

    Raises:
        InputError: neither a file nor a shipped name.
    """
    path = Path(name)
    if path.is_file():
        return path
    if name in shipped_configs():
        return SHIPPED / f"{name}.yaml"
    raise InputError(f"--config takes a file or one of {', '.join(shipped_configs())}; got {name}")


def read_config(path: Path) -> dict[str, Any]:
    """The content of one file. Numbers such as ``1e-3``, which YAML 1.1 takes for text, are numbers.

    Raises:
        InputError: the file is not a YAML mapping.
    """
    try:
        # jsonargparse's, so that a file and an option read alike.
        text = path.read_text(encoding="utf-8")
        if TOO_DEEP.search(text):
            raise ValueError("it is nested too deeply")  # libyaml would take the process with it
        content = jsonargparse.get_loader("yaml")(text)
        json.dumps(content)  # no dates, and nothing that contains itself
    except UNREADABLE as error:
        raise InputError(f"--config must be a YAML file; got {path}: {' '.join(str(error).split())[:300]}") from error
    if not isinstance(content, dict):
        raise InputError(f"--config must be a YAML file with sections such as model and data; got {path} without any")
    for name in ("model", "data", "trainer", "data.system"):
        outer, _, inner = name.partition(".")
        section = content.get(outer)
        section = section.get(inner) if inner and isinstance(section, dict) else section
        if section is not None and not isinstance(section, dict):
            raise InputError(f"section {name} of {path} must hold options; got {str(section)[:50]!r}")
    return content


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``below`` with the values of ``above`` over it, mappings key by key, everything else whole."""
    result = dict(below)
    for key, value in above.items():
        under = result.get(key)
        result[key] = merged(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return result
