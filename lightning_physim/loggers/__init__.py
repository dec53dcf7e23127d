"""Where numbers, figures and tables go: a base for loggers of our own, and adapters for those that others bring."""

from lightning_physim.loggers.base import RunLogger
from lightning_physim.loggers.extras import Extras
from lightning_physim.loggers.foreign import run_loggers
from lightning_physim.loggers.rows import log_configuration, log_row

__all__ = ["Extras", "RunLogger", "log_configuration", "log_row", "run_loggers"]
