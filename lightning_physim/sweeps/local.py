"""Running the trials of a sweep on this machine: some at a time, each in a process, and what became of them in a file.

Processes can be killed at any moment, this one included, so nothing about a trial is kept in memory alone:

- ``sweep.jsonl`` gets a line when a trial starts and one when it ends. A trial whose last line says that it started was
  interrupted.
- The log of a trial is locked by the trial's own processes, which inherit it as their standard output. They outlive a
  sweep that is killed, and the next one waits for them.
"""

import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lightning_physim.errors import InputError
from lightning_physim.files import append_json_line, flatten, json_number, replace_file
from lightning_physim.sweeps.engine import SweepEngine
from lightning_physim.sweeps.spec import Parameter, Trial
from lightning_physim.tracking.jsonl import read_metrics
from lightning_physim.tracking.run import RunDirectory, last_checkpoint

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
POLL = 0.1
"""Seconds between looks at the processes."""
EARLY_POLL = 2.0
"""Seconds between looks at what the trials have measured, where a sweep stops some of them early."""
KILL_DELAY = 30.0
"""Seconds that a trial which is stopped early has to end, as for W&B's agent."""


class Plan(Protocol):
    """What :class:`LocalSweep` asks of a sweep: a :class:`SweepSpec`, or a fixed list of trials that has these."""

    @property
    def content(self) -> Mapping[str, Any]:
        """Of its keys ``project`` is read here, and ``method`` and ``early_terminate``; all three may be missing."""

    @property
    def metric(self) -> str:
        """Key in ``metrics.jsonl`` of what trials are compared by."""

    @property
    def parameters(self) -> Sequence[Parameter]:
        """What is varied and fixed. Empty: everything that a trial's ``parameters`` hold is shown."""

    def id(self, seed: int) -> str:
        """Name of the sweep's folder, and W&B group of its runs."""

    def trials(self, count: int | None, seed: int) -> list[Trial]:
        """The trials, the same ones at every call."""

    def command(self, trial: Trial) -> list[str]:
        """The words of its command. It makes the run directory ``$WANDB_RUN_ID``, and takes ``--ckpt_path``."""


@dataclass
class _Running:
    """A process; None while processes that an earlier sweep started for this trial live."""

    process: subprocess.Popen | None
    began: float = field(default_factory=time.monotonic)
    stopped: float | None = None
    """When it was told to stop early."""


class LocalSweep:
    """The trials of a sweep and their state, in ``<runs>/<sweep id>/``.

    Args:
        spec: a :class:`SweepSpec`, or another :class:`Plan`.
        runs: folder that holds the run directories.
        count, seed: of :meth:`Plan.trials`.
        say: gets a line when a trial starts or ends.

    Raises:
        InputError: what the plan raises; ``method: bayes`` or ``early_terminate`` without W&B's engine.
    """

    def __init__(self, spec: Plan, runs: str, count: int | None, seed: int, say: Callable[[str], None] = print) -> None:
        self.spec = spec
        self.runs = runs
        self.trials = spec.trials(count, seed)
        self.folder = Path(runs) / spec.id(seed)
        self.say = say
        self.bayes = spec.content.get("method") == "bayes"
        self.stops_early = "early_terminate" in spec.content
        self.engine = None
        if self.bayes or self.stops_early:
            self.engine = SweepEngine(spec.content, spec.parameters, seed)
        self._looked = 0.0
        self._histories: dict[str, Sequence[float]] = {}

    @property
    def state(self) -> Path:
        """One JSON object a line: ``trial``, ``parameters``, ``run_id``, ``state``, ``exit_code``, ``metric``.

        ``state`` is ``started``, ``finished``, ``stopped`` (early, which is an end too), ``failed`` or
        ``interrupted``; the last line of a trial counts.
        """
        return self.folder / "sweep.jsonl"

    def results(self) -> list[dict[str, Any]]:
        """The last line of every trial that has one, by index; all that earlier commands ran as well."""
        return read_trials(self.folder)

    def command(self, trial: Trial) -> list[str]:
        """The words that W&B's agent would run, and the folder of the runs where it is not the default one."""
        return self.spec.command(trial) + ([] if self.runs == "runs" else [f"--runs={self.runs}"])

    def conclude(self, signal: int) -> int:
        """Say which trials have failed, and how to go on.

        Args:
            signal: what :meth:`run` returned.

        Returns:
            The exit code of the command: 0, 1 where a trial failed, 128 and the signal's number after a signal.
        """
        failed = [row for row in self.results() if row["state"] == "failed"]
        for row in failed:
            log = self.folder / f"{row['run_id']}.log"
            self.say(f"failed: trial {row['trial']}, exit code {row['exit_code']}, {log}")
        if signal or failed:
            self.say("the same command runs what is left")
        return 128 + signal if signal else int(bool(failed))

    def run(self, jobs: int) -> int:
        """Run every trial that has not finished, going on with those that left a checkpoint.

        Args:
            jobs: processes at a time.

        Returns:
            The signal that ended it early, 0 for none. Signals go to the trials, which are waited for.

        Raises:
            InputError: another process runs this sweep, or jobs is less than one.
        """
        if jobs < 1:
            raise InputError(f"--jobs must be at least 1; got {jobs}")
        received: list[int] = []
        with self._alone(), _handled(received):
            waiting = self._waiting()
            running: dict[Trial, _Running] = {}
            passed_on = 0
            while running or (waiting and not received):
                while waiting and len(running) < jobs and not received:
                    trial = self._chosen(waiting.pop(0))
                    running[trial] = _Running(self._start(trial))
                    if running[trial].process is None:
                        self.say(f"{self._name(trial)} is still run by an earlier process; waiting for its end")
                time.sleep(POLL)
                for number in received[passed_on:]:
                    for one in running.values():
                        if one.process is not None:
                            one.process.send_signal(number)
                    passed_on += 1
                if self.stops_early and not received:
                    self._stop_early(running)
                for trial, one in list(running.items()):
                    if one.process is None:
                        if received:
                            del running[trial]
                        else:
                            one.process = self._start(trial)
                    elif one.process.poll() is not None:
                        del running[trial]
                        self._end(trial, one, bool(received))
        return received[0] if received else 0

    def _waiting(self) -> list[Trial]:
        """The trials that have not come to an end."""
        rows = self.results()
        if self.bayes:  # what was tried is what the trial is
            known = {row["trial"]: Trial(row["trial"], row["parameters"], row["run_id"]) for row in rows}
            self.trials = [known.get(trial.index, trial) for trial in self.trials]
        done = {row["run_id"] for row in rows if row["state"] in ("finished", "stopped")}
        waiting = [trial for trial in self.trials if trial.run_id not in done]
        if done:
            self.say(f"{self.folder}: {len(self.trials) - len(waiting)} of {len(self.trials)} trials are finished")
        return waiting

    def _chosen(self, trial: Trial) -> Trial:
        """The trial itself, or what the engine suggests in place of one of a bayes sweep that has never started."""
        rows = self.results()
        if not self.bayes or trial.run_id in {row["run_id"] for row in rows}:
            return trial
        assert self.engine is not None
        self.trials[trial.index] = Trial.of(self.folder.name, trial.index, self.engine.suggest(trial.index, rows))
        return self.trials[trial.index]

    def _stop_early(self, running: dict[Trial, _Running]) -> None:
        """Tell the trials to end that the engine finds not worth going on with."""
        now = time.monotonic()
        for one in running.values():
            if one.process is not None and one.stopped is not None and now > one.stopped + KILL_DELAY:
                one.process.kill()
        if now < self._looked + EARLY_POLL:
            return
        self._looked = now
        alive = {trial.run_id for trial in running}
        for trial in self.trials:
            if trial.run_id in alive or trial.run_id not in self._histories:
                self._histories[trial.run_id] = self._history(trial)
        assert self.engine is not None
        chosen = self.engine.to_stop({key: values for key, values in self._histories.items() if values}, alive)
        for trial, one in running.items():
            if trial.run_id in chosen and one.process is not None and one.stopped is None:
                one.process.terminate()
                one.stopped = now
                self.say(f"{self._name(trial)} is stopped early")

    def _start(self, trial: Trial) -> subprocess.Popen | None:
        """Start a trial; None while processes that an earlier sweep started for it live."""
        with (self.folder / f"{trial.run_id}.log").open("ab") as log:
            try:
                fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
            resume = self._resume(RunDirectory(Path(self.runs) / trial.run_id))
            self._record(trial, "started")
            # A session of its own: Ctrl-C reaches a trial through this process alone, and once.
            process = subprocess.Popen(
                self.command(trial) + resume,
                env=self._environment(trial),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.say(f"{self._name(trial)} {'goes on' if resume else 'starts'}{self._words(trial)}")
        return process

    def _resume(self, run: RunDirectory) -> list[str]:
        """Options that go on with what an interrupted trial left; where nothing can, its directory makes room."""
        with suppress(InputError):
            last_checkpoint(run)
            return [f"--ckpt_path={run.path}"]
        if run.path.exists():
            try:
                run.path.rmdir()
            except OSError:
                aside = next(p for n in range(1, 10**6) if not (p := self.folder / f"{run.id}.{n}").exists())
                run.path.rename(aside)
                self.say(f"{run.path} has no checkpoint to go on from; moved to {aside}")
        return []

    def _history(self, trial: Trial) -> list[float]:
        """The metric as the trial has logged it so far."""
        path = RunDirectory(Path(self.runs) / trial.run_id).metrics
        curve = read_metrics(path).get(self.spec.metric) if path.is_file() else None
        return [] if curve is None else curve[1].tolist()

    def _end(self, trial: Trial, one: _Running, interrupted: bool) -> None:
        assert one.process is not None
        exit_code = one.process.returncode
        self._histories[trial.run_id] = history = self._history(trial)
        value = history[-1] if history else None
        # A trial that is told to stop may well end in peace: Lightning turns signals into a normal end.
        state = "failed" if exit_code else "finished"
        state = "stopped" if one.stopped is not None else "interrupted" if interrupted else state
        self._record(trial, state, exit_code, value)
        what = (
            f"failed with exit code {exit_code}, see {self.folder / trial.run_id}.log" if state == "failed" else state
        )
        shown = "not logged" if value is None else f"{value:.4g}"
        seconds = time.monotonic() - one.began
        self.say(f"{self._name(trial)} {what} after {seconds:.0f} s: {self.spec.metric} {shown}")

    def _record(self, trial: Trial, state: str, exit_code: int | None = None, value: float | None = None) -> None:
        row = {"trial": trial.index, "parameters": trial.parameters, "run_id": trial.run_id, "state": state}
        number = None if value is None else json_number(value)
        append_json_line(self.state, row | {"exit_code": exit_code, "metric": number})

    def _environment(self, trial: Trial) -> dict[str, str]:
        # With a sweep's id wandb would ignore the project, and a later `wandb sync` name a sweep that no server knows.
        kept = {k: v for k, v in os.environ.items() if k not in ("WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH")}
        environment = {"WANDB_MODE": "offline"} | kept
        environment |= {"WANDB_RUN_ID": trial.run_id, "WANDB_RUN_GROUP": self.folder.name}
        project = self.spec.content.get("project")
        return environment | ({"WANDB_PROJECT": str(project)} if project else {})

    def _name(self, trial: Trial) -> str:
        return f"trial {trial.index} of {len(self.trials)}"

    def _words(self, trial: Trial) -> str:
        """What tells the trial from others."""
        fixed = {".".join(parameter.name) for parameter in self.spec.parameters if parameter.distribution == "constant"}
        varied = {key: value for key, value in flatten(trial.parameters).items() if key not in fixed}
        shown = ", ".join(f"{key} {f'{x:.4g}' if type(x) is float else x}" for key, x in varied.items())
        return f": {shown}" if shown else ""

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other sweeps off the folder, and drop the torn line that a machine that died may have left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"one process runs a sweep; got another at work in {self.folder}: wait for it, or raise its --jobs"
                ) from None
            if self.state.is_file() and not (content := self.state.read_bytes()).endswith(b"\n"):
                replace_file(self.state, content[: content.rfind(b"\n") + 1], durable=True)
            yield


def read_trials(folder: str | Path) -> list[dict[str, Any]]:
    """The last line of every trial in the ``sweep.jsonl`` of a sweep's folder, by index; none where it has no such."""
    state = Path(folder) / "sweep.jsonl"
    lines = state.read_bytes().splitlines(keepends=True) if state.is_file() else []
    rows = [json.loads(line) for line in lines if line.endswith(b"\n")]
    return sorted({row["run_id"]: row for row in rows}.values(), key=lambda row: row["trial"])


@contextmanager
def _handled(received: list[int]) -> Iterator[None]:
    """Signals that end a process are collected instead."""
    former = {number: signal.signal(number, lambda number, _: received.append(number)) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
