"""What a command does otherwise than the run was trained that it goes on with, or evaluates."""

import json
from collections.abc import Mapping
from typing import Any

from lightning_physim.files import flatten, read_mapping
from lightning_physim.tracking import RunDirectory

SAME_NUMBERS = ("data.cache_dir", "data.num_workers", "data.eval_batch_size")
"""Options of the data that may differ: where they lie, and how they are read."""


def changes(run: RunDirectory, config: Mapping[str, Any]) -> list[str]:
    """Options that are not those of the run, each as ``data.batch_size=64, which was 16``.

    Args:
        run: that was trained.
        config: options of the command, section by section.

    Raises:
        InputError: the run's ``config.yaml`` cannot be read.
    """
    before = flatten(read_mapping(run.config)) if run.config.is_file() else {}
    now = flatten(json.loads(json.dumps(config, default=str)))  # tuples are lists in a file
    differing = [name for name in now if name in before and now[name] != before[name] and name not in SAME_NUMBERS]
    return [f"{name}={now[name]}, which was {before[name]}" for name in differing]
