"""``--trainer.logger``: loggers that come beside ours, and where they keep what they write."""

import csv
import inspect
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytorch_lightning.loggers
import yaml
from jsonargparse import Namespace
from pytorch_lightning.cli import instantiate_class
from pytorch_lightning.core.saving import load_hparams_from_yaml
from pytorch_lightning.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.utilities import rank_zero_only

from lightning_physim.errors import InputError
from lightning_physim.tracking import RunDirectory, TrackioLogger

OPTION = "--trainer.logger"
RUN, ID = "<run>", "<id>"
"""What stands in an option of a logger for the directory of the run, and for its name."""
SHORT = {"TrackioLogger": TrackioLogger}
"""Loggers of ours that go by their name alone, as Lightning's do."""
# Without a tracking URI Lightning asks for a folder of files, which MLflow refuses now. Its own default is a database.
PREFERRED: dict[type[Logger], dict[str, str]] = {
    MLFlowLogger: {"run_name": ID, "tracking_uri": os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")},
    TrackioLogger: {"name": ID},
    WandbLogger: {"name": ID, "version": ID, "save_dir": RUN},
}
"""Options that a logger gets here where it is given none."""


def completed(value: Any) -> Any:
    """The loggers of a configuration, each with the options that it needs and was not given.

    A logger that asks for a ``save_dir`` gets the directory of the run.

    Args:
        value: what stands under ``trainer.logger``: a class, a class with options, a list of these, or anything else,
            which is left to the parser.

    Raises:
        InputError: a name that is no logger's, of which the parser would tell every type that it is not.
    """
    if isinstance(value, list):
        return [completed(item) for item in value]
    path = value if isinstance(value, str) else value.get("class_path") if isinstance(value, Mapping) else None
    if not isinstance(path, str) or Path(path).is_file():
        return value
    logger = _class(path)
    if logger is None:
        names = sorted(name for name in {*pytorch_lightning.loggers.__all__, *SHORT} - {"Logger"} if _class(name))
        near = get_close_matches(path, names, 1, 0.8)
        raise InputError(
            f"{OPTION} takes {', '.join(names)}, or the path of a subclass of Lightning's Logger; got {path}: "
            + (f"type {OPTION}={near[0]}" if near else "leave it out, or see docs/loggers.md")
        )
    options = dict(value.get("init_args") or {}) if isinstance(value, Mapping) else {}
    folder = inspect.signature(logger).parameters.get("save_dir")
    needed = {"save_dir": RUN} if folder is not None and folder.default is folder.empty else {}
    return {
        "class_path": f"{logger.__module__}.{logger.__qualname__}",
        "init_args": needed | preferred(logger) | options,
    }


def preferred(logger: type) -> dict[str, str]:
    """Of :data:`PREFERRED`, by class."""
    return next((options for kind, options in PREFERRED.items() if issubclass(logger, kind)), {})


def completed_words(words: list[str]) -> Iterator[str]:
    """The words of a command line, those that name loggers completed."""
    waiting = ""
    for word in words:
        name, equals, text = word.partition("=")
        if waiting:
            yield f"{waiting}={_written(word)}"
            waiting = ""
        elif name in (OPTION, f"{OPTION}+") and equals:
            yield f"{name}={_written(text)}"
        elif word in (OPTION, f"{OPTION}+"):
            waiting = word
        else:
            yield word
    if waiting:
        yield waiting


def _written(text: str) -> str:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    full = completed(value)
    return text if full == value else yaml.safe_dump(full, default_flow_style=True, width=10**6).strip()


def make_loggers(value: Any, run: RunDirectory, trained: bool = False) -> list[Logger]:
    """The loggers that were asked for, ready to log a run.

    Args:
        value: what the parser has left under ``trainer.logger``.
        run: whose directory and name stand for :data:`RUN` and :data:`ID`.
        trained: whether they log into what its training has left, as far as a logger can find that.

    Raises:
        InputError: a logger cannot be made, mostly as its package is missing.
    """
    wanted = value if isinstance(value, list) else [value]
    return [_made(each, run, trained) for each in wanted if each is not None and not isinstance(each, bool)]


def _made(wanted: Namespace, run: RunDirectory, trained: bool) -> Logger:
    options = {
        name: option.replace(RUN, str(run.path)).replace(ID, run.id) if isinstance(option, str) else option
        for name, option in (wanted.get("init_args") or Namespace()).as_dict().items()
    }
    name = wanted.class_path.rpartition(".")[2]
    try:
        if trained:
            left = _left_by_training(_class(wanted.class_path) or Logger, options)
            options |= {option: value for option, value in left.items() if options.get(option) is None}
        logger: Logger = instantiate_class((), {"class_path": wanted.class_path, "init_args": options})
        if trained and isinstance(logger, CSVLogger):
            _keep_rows(logger)
        return logger
    except ModuleNotFoundError as error:
        # Lightning's own words hold a hint, `pip install -U 'comet-ml>=3.44.4'`.
        hint = re.search(r"pip install (?:-U )?'?([\w.-]+)", str(error))
        package = hint[1] if hint else error.name
        if package is None:
            raise _refused(name, error) from error
        raise InputError(
            f"{OPTION}={name} needs the package {package}; it is not installed: type `pip install {package}`, "
            f"or leave {name} out"
        ) from error
    except Exception as error:  # every logger has troubles of its own: accounts, servers, folders
        raise _refused(name, error) from error


def _refused(name: str, error: Exception) -> InputError:
    return InputError(f"{OPTION}={name} cannot be used: {' '.join(str(error).split())[:400]}; or leave it out")


def _left_by_training(kind: type, options: dict[str, Any]) -> dict[str, Any]:
    """The option that names what a logger of these options has kept of the training; None where it has kept nothing."""
    if issubclass(kind, MLFlowLogger):
        return {"run_id": _mlflow_run(options)}
    if issubclass(kind, TensorBoardLogger):
        return {"version": _newest_version(kind(**options), "events.out.tfevents.*")}
    if issubclass(kind, CSVLogger):
        return {"version": _newest_version(kind(**options), ExperimentWriter.NAME_METRICS_FILE)}
    return {}


def _newest_version(logger: TensorBoardLogger | CSVLogger, kept: str) -> int | None:
    """The number of the newest ``version_<n>`` that holds such a file: both loggers may count in one folder."""
    folders = [path for path in Path(logger.root_dir).glob("version_*") if any(path.rglob(kept))]
    numbers = [path.name.removeprefix("version_") for path in folders]
    return max((int(number) for number in numbers if number.isdigit()), default=None)


@rank_zero_only
def _keep_rows(logger: CSVLogger) -> None:
    """Let a logger add to the file of its version: the writer that it would make begins by deleting it."""
    file = Path(logger.log_dir, ExperimentWriter.NAME_METRICS_FILE)
    if not file.is_file():
        return
    with TemporaryDirectory() as elsewhere:
        writer = ExperimentWriter(elsewhere)
    writer.log_dir, writer.metrics_file_path = logger.log_dir, str(file)
    with file.open(newline="") as table:
        writer.metrics_keys = next(csv.reader(table), [])
    with suppress(yaml.YAMLError):  # whatever Lightning has put there; Lightning writes it anew for an own network
        writer.hparams = load_hparams_from_yaml(file.with_name(writer.NAME_HPARAMS_FILE), use_omegaconf=False)
    logger._experiment = writer


def _mlflow_run(options: Mapping[str, Any]) -> str | None:
    """The id of MLflow's newest run of a name, by the options of its logger; None where there is none."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(options.get("tracking_uri"))
    experiment = client.get_experiment_by_name(options.get("experiment_name") or "lightning_logs")
    named = f"attributes.run_name = '{options.get('run_name')}'"
    found = client.search_runs([experiment.experiment_id], named, max_results=1) if experiment else []
    return found[0].info.run_id if found else None


def brings_wandb(loggers: list[Logger]) -> bool:
    """Whether one of them is a W&B logger, which takes the place of ours."""
    return any(isinstance(logger, WandbLogger) for logger in loggers)


def _class(path: str) -> type | None:
    """A logger class by its name or path; None where there is none."""
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module) if module else pytorch_lightning.loggers, name, SHORT.get(path))
    except ImportError:
        return None
    return found if isinstance(found, type) and issubclass(found, Logger) else None
