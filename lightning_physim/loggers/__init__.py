"""What loggers take beside rows of numbers."""

from lightning_physim.loggers.base import RunLogger, run_loggers

__all__ = ["RunLogger", "run_loggers"]
