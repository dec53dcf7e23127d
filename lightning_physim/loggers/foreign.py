"""Figures and tables for the loggers that Lightning brings, each in the form that it takes."""

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from lightning_physim.loggers.base import RunLogger
from lightning_physim.loggers.extras import Extras
from lightning_physim.protocols import FigureSink, offers

if TYPE_CHECKING:
    from PIL.Image import Image
    from plotly.graph_objects import Figure

WIDTH = 1000
"""Of a picture, in pixels; figures fill what they are given."""
DRAWING_TIMEOUT = 30.0
"""Seconds that a picture may take before training goes on without."""


_EXTRAS: "WeakKeyDictionary[Logger, Extras]" = WeakKeyDictionary()
"""What lasts between two looks at one logger."""


class ForeignLogger(RunLogger):
    """A logger of somebody else's, seen as one of ours.

    Args:
        logger: of a class that this one knows how to talk to.
    """

    shows_report = True

    def __init__(self, logger: Any) -> None:
        self.logger = logger
        self._extras = _EXTRAS.setdefault(logger, Extras(type(logger).__name__))
        self._send = self._extras.send

    @property
    def seconds(self) -> float:
        """Seconds spent in logging figures, tables and reports so far."""
        return self._extras.stopwatch.seconds


class SinkMedia(ForeignLogger):
    """A logger that is a :class:`lightning_physim.protocols.FigureSink` by itself."""

    @rank_zero_only
    def log_figure(self, key: str, figure: "Figure", step: int) -> None:
        self._send("figures", partial(self.logger.log_figure, key, figure, step))

    @rank_zero_only
    def log_table(self, key: str, columns: list[str], data: list[list[Any]], step: int | None = None) -> None:
        self._send("tables", partial(self.logger.log_table, key, columns, data, step))


class TensorBoardMedia(ForeignLogger):
    """Figures as pictures, tables as text.

    TensorBoard shows no interactive figures. kaleido and a Chrome draw them: ``pip install kaleido``.
    """

    @rank_zero_only
    def log_figures(self, figures: Mapping[str, "Figure"], step: int) -> None:
        def add() -> None:
            for key, image in pictures(figures).items():
                self.logger.experiment.add_image(key, image, step, dataformats="HWC")

        self._send("figures", add)

    def log_figure(self, key: str, figure: "Figure", step: int) -> None:
        self.log_figures({key: figure}, step)

    @rank_zero_only
    def log_table(self, key: str, columns: list[str], data: list[list[Any]], step: int | None = None) -> None:
        self._send("tables", lambda: self.logger.experiment.add_text(key, markdown_table(columns, data), step))


class MLFlowMedia(ForeignLogger):
    """Figures as HTML, tables as MLflow's own, the report as a file: artifacts of the run, one for each step."""

    takes_pages = True

    @rank_zero_only
    def log_figure(self, key: str, figure: "Figure", step: int) -> None:
        name = f"{key}/step-{step:08d}.html"
        self._send("figures", lambda: self.logger.experiment.log_figure(self.logger.run_id, figure, name))

    @rank_zero_only
    def log_table(self, key: str, columns: list[str], data: list[list[Any]], step: int | None = None) -> None:
        name = f"{key}/step-{step or 0:08d}.json"
        table = {column: [row[i] for row in data] for i, column in enumerate(columns)}
        self._send("tables", lambda: self.logger.experiment.log_table(self.logger.run_id, table, name))

    @rank_zero_only
    def log_page(self, key: str, page: str, step: int) -> None:
        name = f"{key}/step-{step:08d}.html"
        self._send("the viewer", lambda: self.logger.experiment.log_text(self.logger.run_id, page, name))

    @rank_zero_only
    def log_report(self, path: Path, step: int) -> None:
        self._send("the report", lambda: self.logger.experiment.log_artifact(self.logger.run_id, str(path)))


class WandbMedia(ForeignLogger):
    """Lightning's own W&B logger. It draws a plotly figure as it is."""

    @rank_zero_only
    def log_figure(self, key: str, figure: "Figure", step: int) -> None:
        self._send("figures", partial(self.logger.log_metrics, {key: figure}, step))

    @rank_zero_only
    def log_table(self, key: str, columns: list[str], data: list[list[Any]], step: int | None = None) -> None:
        self._send("tables", partial(self.logger.log_table, key, columns, data, step=step))

    @rank_zero_only
    def log_report(self, path: Path, step: int) -> None:
        def log() -> None:
            run = self.logger.experiment
            run.log_artifact(str(path), name=f"report-{run.id}", type="report")

        self._send("the report", log)

    @rank_zero_only
    def log_summary(self, outcome: Mapping[str, float]) -> None:
        self._send("the summary", lambda: self.logger.experiment.summary.update(dict(outcome)))

    @rank_zero_only
    def alert(self, title: str, text: str) -> None:
        self._send("alerts", lambda: self.logger.experiment.alert(title=title, text=text))


MEDIA: dict[type[Logger], type[ForeignLogger]] = {
    TensorBoardLogger: TensorBoardMedia,
    MLFlowLogger: MLFlowMedia,
    WandbLogger: WandbMedia,
}
"""How the loggers of Lightning take what is more than numbers; those that are not here take numbers alone."""


def run_loggers(loggers: Iterable[Any]) -> list[RunLogger]:
    """Those that take more than numbers, of a trainer's loggers, each as one of ours."""
    found = map(_as_run_logger, loggers)
    return [logger for logger in found if logger is not None]


def _as_run_logger(logger: Any) -> RunLogger | None:
    if isinstance(logger, RunLogger):
        return logger
    for foreign, media in MEDIA.items():
        if isinstance(logger, foreign):
            return media(logger)
    return SinkMedia(logger) if offers(logger, FigureSink) else None


def markdown_table(columns: list[str], data: list[list[Any]]) -> str:
    """A table as Markdown, numbers to four digits."""

    def cell(value: Any) -> str:
        text = f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
        return text.replace("|", "\\|").replace("\n", " ")

    rows = [columns, ["---"] * len(columns), *data]
    return "\n".join(f"| {' | '.join(map(cell, row))} |" for row in rows)


def pictures(figures: Mapping[str, "Figure"]) -> dict[str, np.ndarray]:
    """Figures as uint8 ``[height, width, 3]``, drawn by kaleido in one Chrome.

    Raises:
        ImportError: kaleido is not installed.
        RuntimeError: there is no Chrome, or it failed.
    """
    try:
        import kaleido
        from PIL import Image as Picture
    except ImportError as error:
        raise ImportError("pictures are drawn by kaleido and Chrome: pip install kaleido") from error
    with TemporaryDirectory() as folder:
        paths = {key: Path(folder) / f"{i}.png" for i, key in enumerate(figures)}
        wanted = [
            {"fig": still(figure), "path": paths[key], "opts": {"width": WIDTH, "height": figure.layout.height}}
            for key, figure in figures.items()
        ]
        kaleido.write_fig_from_object_sync(wanted, kopts={"timeout": DRAWING_TIMEOUT})
        return {key: _on_paper(Picture.open(path)) for key, path in paths.items()}


def still(figure: "Figure") -> "Figure":
    """A figure that moves, at its last frame and without what moves it; any other figure as it is."""
    if not figure.frames:
        return figure
    last = type(figure)(data=figure.data, layout=figure.layout)
    frame = figure.frames[-1]
    for index, trace in zip(frame.traces or range(len(frame.data)), frame.data, strict=True):
        last.data[index].update(trace)
    last.update_layout(frame.layout)
    last.layout.updatemenus = last.layout.sliders = ()
    return last


def _on_paper(drawn: "Image") -> np.ndarray:
    """A picture whose ground is transparent, on white."""
    pixels = np.asarray(drawn.convert("RGBA"), dtype=float)
    opacity = pixels[..., 3:] / 255
    return (pixels[..., :3] * opacity + 255 * (1 - opacity)).round().astype(np.uint8)
