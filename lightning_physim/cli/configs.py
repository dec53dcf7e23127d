"""Configurations: shipped ones by name, files by path, all of them on top of what the shipped ones share."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_physim.cli.shipped import SHIPPED, shipped_configs
from lightning_physim.errors import InputError
from lightning_physim.files import parsed_mapping, read_mapping


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
    return _with_sections(read_mapping(path), str(path))


def read_inline(text: str) -> dict[str, Any]:
    """The same of a configuration on the command line, in braces: JSON as Lightning hands it to its processes, or YAML.

    Raises:
        InputError: the text is no mapping.
    """
    try:
        content = json.loads(text)  # which has escapes that are others in YAML
    except (ValueError, RecursionError):
        content = parsed_mapping(text, "--config")
    return _with_sections(content, "--config")


def _with_sections(content: dict[str, Any], where: str) -> dict[str, Any]:
    for name in ("model", "data", "trainer", "data.system"):
        outer, _, inner = name.partition(".")
        section = content.get(outer)
        section = section.get(inner) if inner and isinstance(section, dict) else section
        if section is not None and not isinstance(section, dict):
            raise InputError(f"section {name} of {where} must hold options; got {str(section)[:50]!r}")
    return content


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``below`` with the values of ``above`` over it, mappings key by key, everything else whole."""
    result = dict(below)
    for key, value in above.items():
        under = result.get(key)
        result[key] = merged(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return result
