"""Weights & Biases with the defaults that a newcomer, a cluster and a crash need: never a prompt, never a hang."""

import atexit
import os
import re
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.loggers.logger import DummyExperiment, rank_zero_experiment
from pytorch_lightning.utilities import rank_zero_info, rank_zero_only
from torch import Tensor

from lightning_physim import keys
from lightning_physim.errors import Interrupted
from lightning_physim.files import flatten
from lightning_physim.loggers import RunLogger
from lightning_physim.stopwatch import Stopwatch
from lightning_physim.tracking.reading import read_rows
from lightning_physim.tracking.run import RunDirectory
from lightning_physim.tracking.wandb_artifacts import data_hash, link_to_group, log_file, use_data
from lightning_physim.tracking.wandb_file import rows_in_files
from lightning_physim.tracking.wandb_queue import Background
from lightning_physim.tracking.wandb_service import end_service

if TYPE_CHECKING:
    from plotly.graph_objects import Figure
    from wandb import Artifact
    from wandb.sdk.lib import RunDisabled
    from wandb.sdk.wandb_run import Run

INIT_TIMEOUT = 10.0
"""Seconds that a server has to answer before the run goes on offline."""
FINISH_TIMEOUT = 120.0
"""Seconds that the last rows have for their upload before the process ends without it."""
FLUSH_INTERVAL = 2.0
"""Seconds between flushes of wandb's file. Its own 15 lose a short run whole when the process is killed."""

HAND_OVER_INTERVAL = 0.5
"""Seconds that rows are gathered before wandb gets them: one that comes alone costs as much as nine in a row."""

TRANSMIT_INTERVAL = 3.0
"""Seconds between uploads of rows. With wandb's own 15 a run that is killed, or watched, lags by as much."""
KILLED = 255
"""Exit code that wandb's client itself gives a run which Ctrl-C has ended."""


class PhysimWandbLogger(RunLogger, WandbLogger):
    """Lightning's ``WandbLogger`` for one run directory.

    The run is online where an API key is configured (``WANDB_API_KEY``, netrc, settings files) and the server answers.
    Otherwise it is offline, to be uploaded later by ``wandb sync``. ``WANDB_MODE``, ``WANDB_PROJECT``,
    ``WANDB_RUN_GROUP`` and the other variables of wandb keep their meaning. wandb itself says nothing. One printed line
    tells where the run is.

    A thread of its own hands rows, tables and figures to wandb, in order, so that training does not wait for them. W&B
    is an extra. Whatever wandb raises, at its start or later, costs one line and what it was about to take, and
    training goes on.

    Files lie in ``<run>/wandb/``, the id is the run directory's, and a later process with the same directory continues
    the same W&B run. Every row carries ``trainer/global_step``, the x-axis of every chart.

    A process that was killed leaves W&B with less than ``metrics.jsonl`` has, or with more than the checkpoint that
    training resumes from knows of. What W&B lacks is sent from ``metrics.jsonl``; what it has is not sent again.

    Args:
        run: the run directory.
        resume_step: training resumes from a checkpoint of this step.
        artifacts: of ``"checkpoints"`` and ``"data"`` those that are uploaded whole.
    """

    shows_report = takes_pages = True

    def __init__(self, run: RunDirectory, resume_step: int | None = None, artifacts: Sequence[str] = ()) -> None:
        project = os.environ.get("WANDB_PROJECT", "lightning_physim")
        super().__init__(save_dir=run.path, version=wandb_id(run), project=project)
        self._run = run
        self._resume_step = resume_step
        self._artifacts = frozenset(artifacts)
        self._data: dict[str, str] = {}
        self._checkpoint: Artifact | None = None
        """The last one that was uploaded."""
        self._there: list[dict[str, Any]] = []
        """The rows of the last step that W&B has from the processes before this one."""
        self._configured = False
        self._exit_code = 0
        self._warned = False
        self._stopwatch = Stopwatch()
        self._background = Background(HAND_OVER_INTERVAL)

    @property
    def seconds(self) -> float:
        """Seconds spent in logging so far: those that training has waited for, and CPU seconds beside it."""
        return self._stopwatch.seconds + self._background.seconds

    @property
    @rank_zero_experiment
    def experiment(self) -> "Run | RunDisabled":
        """The wandb run, started at the first use on rank zero. Other ranks get a dummy."""
        if self._experiment is None:
            try:
                self._experiment = self._start()
                atexit.register(self.finish)
                self._send_missing()
            except Exception as error:
                self._experiment = DummyExperiment()  # type: ignore[assignment]  # takes everything and does nothing
                self._lost("the whole run", error)
        return self._experiment  # type: ignore[return-value]

    @property
    def _left_out(self) -> bool:
        return isinstance(self._experiment, DummyExperiment)

    def _lost(self, what: str, error: Exception) -> None:
        """Say in one line that W&B does not get something; after the first line nothing more."""
        if not self._warned:
            rank_zero_info(f"W&B goes without {what}, training goes on: {_one_line(error)}")
        self._warned = True

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """Set the run's configuration, once: what Lightning adds to it later is a second copy of the same values.

        Nested keys become dotted ones, ``model.n_heads``, which is what sweeps call them.
        """
        if not self._configured:
            with self._optional("the configuration"):
                super().log_hyperparams(flatten(vars(params) if isinstance(params, Namespace) else params))
        self._configured = True

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log one row.

        Args:
            metrics: numbers, tensors of one element, wandb's media, or what makes one when it is called.
            step: optimizer steps taken.
        """
        experiment = self.experiment  # what W&B has is known once the run is started
        with self._stopwatch:
            row = {key: _plain(value) for key, value in metrics.items()}
            if not self._has(row, step) and not self._left_out:
                self._hand_over(partial(_log, experiment, row, step))

    def _hand_over(self, call: Callable[[], None]) -> None:
        try:
            self._background.put(call)
        except Exception as error:  # what an earlier call has raised
            self._lost("some rows", error)

    @rank_zero_only
    def log_figure(self, key: str, figure: "Figure", step: int) -> None:
        """Log an interactive plotly figure under ``key``."""
        import wandb

        self.log_metrics({key: partial(wandb.Plotly, figure)}, step)

    @rank_zero_only
    def log_table(self, key: str, columns: list[str], data: list[list[Any]], step: int | None = None) -> None:  # type: ignore[override]
        """Log a table under ``key``."""
        import wandb

        self.log_metrics({key: partial(wandb.Table, columns=[*columns], data=data)}, step)

    @rank_zero_only
    def log_page(self, key: str, page: str, step: int) -> None:
        """Log a page under ``key``, as it is: wandb would add a stylesheet from its own server."""
        import wandb

        self.log_metrics({key: partial(wandb.Html, page, inject=False, data_is_not_path=True)}, step)

    @rank_zero_only
    def log_data(self, splits: Mapping[str, Path]) -> None:
        """Tell which data the run uses, by the directory of each split; its files are uploaded where asked for."""
        with self._optional("the data set"):
            self._data = {"data": data_hash(splits)}
            use_data(self.experiment, splits, "data" in self._artifacts)

    @rank_zero_only
    def log_checkpoint(self, path: Path, step: int) -> None:
        """Upload a checkpoint where that is asked for."""
        if "checkpoints" in self._artifacts:
            with self._optional(path.name):
                aliases = [f"step-{step}"]
                self._checkpoint = log_file(self.experiment, "checkpoint", path, self._lineage(step), aliases)

    @rank_zero_only
    def log_report(self, path: Path, step: int) -> None:
        """Upload the report."""
        with self._optional(path.name):
            log_file(self.experiment, "report", path, self._lineage(step), [])

    @rank_zero_only
    def log_summary(self, outcome: Mapping[str, float]) -> None:
        """Set the columns by which W&B sorts its table of runs; it knows no names with slashes there."""
        with self._optional("the summary"):
            self.experiment.summary.update(dict(outcome))

    @rank_zero_only
    def alert(self, title: str, text: str) -> None:
        """Send an alert by e-mail or Slack, as the user has set it up in W&B."""
        with self._optional("an alert"):
            self.experiment.alert(title=title, text=text)

    @contextmanager
    def _optional(self, what: str) -> Iterator[None]:
        """What asks the server something costs that much when it fails, never the training."""
        experiment = self.experiment
        with self._stopwatch:
            try:
                self._background.drain()  # rows that are older come first
            except Exception as error:
                self._lost("some rows", error)
            try:
                yield
            except Exception as error:
                if not self._left_out and not experiment.disabled:  # where nothing is taken
                    rank_zero_info(f"W&B goes without {what}: {_one_line(error)}")

    def _link(self, checkpoint: "Artifact") -> None:
        experiment = self.experiment
        if experiment.group and not experiment.offline:  # offline wandb has no links
            with self._optional("its checkpoint in the collection of the group"):
                link_to_group(experiment, checkpoint, FINISH_TIMEOUT)

    def _lineage(self, step: int) -> dict[str, Any]:
        return {"step": step, "run": self._run.id} | self._data

    @rank_zero_only
    def finalize(self, status: str) -> None:
        super().finalize(status)
        # A sweep on the server stops a trial by a signal. It must not count as crashed: its metric is worth something.
        if isinstance(sys.exception(), Interrupted):
            self._exit_code = 0 if "WANDB_SWEEP_ID" in os.environ else KILLED
        else:
            self._exit_code = int(status != "success")
        self._close()

    def _close(self) -> None:
        try:
            self._background.close()
        except Exception as error:
            self._lost("some rows", error)

    @rank_zero_only
    def finish(self) -> None:
        """End the wandb run. At exit too, before wandb's own handler, which would not say that rows are missing.

        The last checkpoint of a run that has come to its end is linked to the collection of its group, online.
        """
        if self._experiment is not None and self._checkpoint is not None and self._exit_code == 0:
            self._link(self._checkpoint)
        left_out, experiment, self._experiment = self._left_out, self._experiment, None
        if experiment is None or left_out:
            return
        self._close()
        try:
            experiment.finish(exit_code=self._exit_code)
        except TimeoutError:
            rank_zero_info(
                f"W&B: upload unfinished; `wandb sync --no-skip-online {self.save_dir}/wandb/run-*` sends everything, "
                "what has arrived a second time"
            )
        except Exception as error:
            self._lost("the end of the run", error)

    def _send_missing(self) -> None:
        if self._resume_step is not None and self._run.metrics.is_file():
            for step, row in read_rows(self._run.metrics):
                if step <= self._resume_step:
                    self.log_metrics({key: value for key, value in row.items() if key != "time"}, step)

    def _has(self, row: dict[str, Any], step: int | None) -> bool:
        """Whether W&B has this row already.

        A process may have been killed between two rows of one step. Training is deterministic, so that a row of the
        last step is there where W&B has one with the same numbers. Times may differ.
        """
        if not self._there or step is None:
            return False
        last = self._there[-1][keys.STEP]
        return step < last or (step == last and any(_shows(there, row) for there in self._there))

    def _rows_there(self, summary: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """The rows of the last step that W&B has, by the files here.

        Args:
            summary: the last value of every key, as the server has them. The server may lack the last rows of the
                files. Where the files lack its last row, as on another machine, the summary stands for that row: a
                number that an earlier step had too then counts as there.
        """
        rows = rows_in_files(self._run.path / "wandb")
        if summary is not None:
            rows = [row for row in rows if row["_step"] <= summary.get("_step", -1)]
            if not rows or rows[-1]["_step"] != summary["_step"]:
                rows = [dict(summary)]
        rows = [row for row in rows if keys.STEP in row]
        return [row for row in rows if row[keys.STEP] == rows[-1][keys.STEP]]

    def _start(self) -> "Run":
        import wandb

        # wandb imports it with its first row, in the thread of :class:`Background`: plotly, drawing a report meanwhile,
        # would find half of it.
        with suppress(ImportError):
            import pandas  # noqa: F401

        # Before anything else, or wandb announces where it found the key.
        wandb.setup(wandb.Settings(silent=True))
        mode = wandb.setup().settings.mode
        reason = "as its settings say"
        if mode not in ("offline", "dryrun", "disabled"):
            reason = "no API key is configured"
            try:
                if wandb.login(prompt=False, verify=False):
                    experiment = self._init(mode)
                    self._there = self._rows_there(dict(experiment.summary))
                    rank_zero_info(f"W&B: {experiment.url}")
                    return experiment
            except Exception as error:  # whatever W&B's trouble is, it is not a reason not to train
                reason = _one_line(error)
                end_service()  # or the id counts as taken
                wandb.setup(wandb.Settings(silent=True))
            mode = "offline"
        self._there = self._rows_there()
        experiment = self._init(mode)
        if mode == "disabled":
            rank_zero_info("W&B: disabled, as its settings say")
        else:
            files = f"{self.save_dir}/wandb"
            rank_zero_info(
                f"W&B: offline ({reason}); "
                f"read with `wandb leet {files}`, upload with `wandb sync {files}/offline-run-*`"
            )
        return experiment

    def _init(self, mode: str) -> "Run":
        import wandb

        # An agent has fixed id and project, and wandb complains about anybody else who names them.
        in_sweep = "WANDB_SWEEP_ID" in os.environ
        experiment = wandb.init(
            id=None if in_sweep else self._id,
            project=None if in_sweep else self._project,
            dir=self.save_dir,
            resume="allow",
            mode=mode,  # type: ignore[arg-type]
            settings=wandb.Settings(
                reinit="create_new",  # a run that something else in this process has opened is not ours
                init_timeout=INIT_TIMEOUT,
                finish_timeout=FINISH_TIMEOUT,
                finish_timeout_raises=True,
                x_transaction_log_flush_interval=FLUSH_INTERVAL,
                x_file_stream_transmit_interval=TRANSMIT_INTERVAL,
            ),
        )
        experiment.define_metric(keys.STEP)
        # Nothing about a summary: define_metric(summary="min") puts {"min": x} in place of the last value, by which a
        # resumed run is told what has arrived, and which the server's sweeps optimise.
        experiment.define_metric("*", step_metric=keys.STEP, step_sync=True)
        return experiment


def wandb_id(run: RunDirectory) -> str:
    """The id of a run's directory, as far as W&B takes it: without ``:;,#?/'``, 128 characters at most."""
    return re.sub(r"[:;,#?/'\\]", "-", run.id)[-128:]


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"


def _log(experiment: "Run | RunDisabled", row: dict[str, Any], step: int | None) -> None:
    made = {key: value() if callable(value) else value for key, value in row.items()}
    experiment.log(made if step is None else made | {keys.STEP: step})


def _shows(there: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    timed = keys.TIME.values()
    return all(key in there and (key in timed or _same(there[key], value)) for key, value in row.items())


def _same(shown: Any, value: Any) -> bool:
    # The server gives NaN and Infinity as strings, and a table never equals what was made of it.
    return isinstance(shown, (int, float, str)) and isinstance(value, float) and repr(float(shown)) == repr(value)


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, (bool, int, Tensor, np.number, np.bool_)) else value
