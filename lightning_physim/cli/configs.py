"""Configurations: shipped ones by name, files by path, all of them on top of what the shipped ones share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonargparse
import yaml

from lightning_physim.cli.shipped import SHIPPED, shipped_configs
from lightning_physim.errors import InputError


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
        content = jsonargparse.get_loader("yaml")(path.read_text())
    except (OSError, UnicodeDecodeError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"--config must be a YAML file; got {path}: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise InputError(f"--config must be a YAML file with sections such as model and data; got {path} without any")
    return content


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``below`` with the values of ``above`` over it, mappings key by key, everything else whole."""
    result = dict(below)
    for key, value in above.items():
        under = result.get(key)
        result[key] = merged(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return result
