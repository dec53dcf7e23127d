"""A logger that keeps what it is given."""

from typing import Any

from pytorch_lightning.loggers.logger import DummyLogger

from lightning_physim.loggers import RunLogger


class Kept(RunLogger, DummyLogger):
    """Attributes: everything in the order in which it came, tables and arrays with their keys and steps."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int | None, dict[str, float]]] = []
        self.tables: list[tuple[str, int | None, list[str], list[list[Any]]]] = []
        self.arrays: list[tuple[str, int, dict[str, Any]]] = []
        self.alerts: list[tuple[str, str]] = []

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, dict(metrics)))

    def log_table(self, key, columns, data, step=None):
        self.tables.append((key, step, columns, data))

    def log_arrays(self, key, arrays, step):
        self.arrays.append((key, step, arrays))

    def alert(self, title, text):
        self.alerts.append((title, text))
