"""What a command does otherwise than the run was trained that it goes on with, or evaluates."""

import json
from collections.abc import Mapping
from typing import Any

from lightning_physim.files import flatten, read_mapping
from lightning_physim.report.comparison_page import differing
from lightning_physim.tracking import RunDirectory


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
    both = [name for name in differing([before, now]) if name in before and name in now]
    return [f"{name}={now[name]}, which was {before[name]}" for name in both]


def limits(trainer: Mapping[str, Any]) -> list[str]:
    """Options of the trainer that leave out a part of what is tested."""
    # An integer is a number of batches, and 1.0 is all of them.
    whole = {"None", "False", "0", "1.0"}
    named = {name: trainer[name] for name in ("fast_dev_run", "limit_test_batches")}
    return [f"trainer.{name}={value}" for name, value in named.items() if str(value) not in whole]
