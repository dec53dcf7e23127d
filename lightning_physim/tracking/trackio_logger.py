"""trackio, Hugging Face's tracker that keeps everything in local files."""

from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities import rank_zero_only

from lightning_physim.files import flatten
from lightning_physim.loggers import Extras, RunLogger

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


class TrackioLogger(RunLogger, Logger):
    """Rows, figures, tables and the report for `trackio <https://github.com/gradio-app/trackio>`_: ``trackio show``.

    It needs no account: ``pip install trackio``. Files lie where ``TRACKIO_DIR`` says, ``~/.cache/huggingface/trackio``
    by default. trackio ends the run with the process. Media are extras: what trackio does not take costs a line, and
    training goes on.

    Args:
        project: of trackio.
        name: of the run; one that exists is continued. None: trackio makes one up.
        group: of runs that belong together.
        options: further arguments of ``trackio.init``, such as ``space_id``.

    Raises:
        ModuleNotFoundError: trackio is not installed.
    """

    shows_report = takes_pages = True

    def __init__(
        self,
        project: str = "lightning_physim",
        name: str | None = None,
        group: str | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        try:
            import trackio  # noqa: F401
        except ImportError:
            raise ModuleNotFoundError("trackio is not installed: pip install trackio") from None
        self._start = {"project": project, "name": name, "group": group, **(options or {})}
        self._config: dict[str, Any] = {}
        self._run: Any = None
        self._extras = Extras(type(self).__name__)

    @property
    def name(self) -> str:
        return str(self._start["project"])

    @property
    def version(self) -> str | None:
        return self._start["name"] if self._run is None else self._run.name

    @property
    def seconds(self) -> float:
        """Seconds spent in logging so far."""
        return self._extras.stopwatch.seconds

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run of trackio, started at the first use on rank zero."""
        import trackio

        if self._run is None:
            # A thread that watches the machine is not what was asked for.
            quiet = {"embed": False, "auto_log_cpu": False, "auto_log_gpu": False}
            self._run = trackio.init(**{**quiet, "resume": "allow", "config": self._config, **self._start})
        return self._run

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Set the run's configuration; nested keys become dotted ones. Before the first row: later ones are lost."""
        self._config |= flatten(vars(params) if isinstance(params, Namespace) else params)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        with self._extras.stopwatch:
            self.experiment.log({key: float(value) for key, value in metrics.items()}, step=step)

    @rank_zero_only
    def log_figure(self, key: str, figure: "Figure", step: int) -> None:
        """Log an interactive figure."""
        self._send("figures", key, lambda trackio: trackio.Html(figure), step)

    @rank_zero_only
    def log_table(self, key: str, columns: list[str], data: list[list[Any]], step: int | None = None) -> None:
        """Log a table."""
        self._send("tables", key, lambda trackio: trackio.Table(columns=[*columns], data=data), step)

    @rank_zero_only
    def log_page(self, key: str, page: str, step: int) -> None:
        """Log a page."""
        self._send("the viewer", key, lambda trackio: trackio.Html(page), step)

    @rank_zero_only
    def log_report(self, path: Path, step: int) -> None:
        """Log the report."""
        self._send("the report", "report", lambda trackio: trackio.Html(path), step)

    def _send(self, kind: str, key: str, make: Callable[[Any], Any], step: int | None) -> None:
        import trackio

        self._extras.send(kind, lambda: self.experiment.log({key: make(trackio)}, step=step))
