"""Rows of numbers and configurations for every logger of a trainer, under names that it takes."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pytorch_lightning.loggers import Logger, MLFlowLogger

REFUSED: dict[type[Logger], re.Pattern[str]] = {MLFlowLogger: re.compile(r"[^\w\-./ :]")}
"""Characters that a logger refuses in a name: an underscore takes their place, as in ``rollout/mse_5``."""


def log_row(loggers: Iterable[Logger], row: Mapping[str, float], step: int) -> None:
    """Log numbers of one step with every logger."""
    for logger in loggers:
        logger.log_metrics(_renamed(logger, row), step=step)


def log_configuration(loggers: Iterable[Logger], configuration: Mapping[str, Any]) -> None:
    """Log a nested configuration with every logger."""
    for logger in loggers:
        logger.log_hyperparams(_renamed(logger, configuration))


def _renamed(logger: Logger, values: Mapping[str, Any]) -> dict[str, Any]:
    refused = next((pattern for kind, pattern in REFUSED.items() if isinstance(logger, kind)), None)
    return dict(values) if refused is None else _without(refused, values)


def _without(refused: re.Pattern[str], values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        refused.sub("_", str(name)): _without(refused, value) if isinstance(value, Mapping) else value
        for name, value in values.items()
    }
