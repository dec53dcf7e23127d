"""Running the trials of a sweep that is chosen here, some at a time, by a launcher."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from lightning_physim.claims.plan import MIN_STEPS
from lightning_physim.errors import InputError
from lightning_physim.files import flatten
from lightning_physim.signals import collecting_signals
from lightning_physim.sweeps.early import EarlyStopping, History
from lightning_physim.sweeps.engine import SweepEngine
from lightning_physim.sweeps.hyperband import Hyperband
from lightning_physim.sweeps.launcher import Launched, Launcher, Task
from lightning_physim.sweeps.parameters import Parameter
from lightning_physim.sweeps.processes import LocalProcesses
from lightning_physim.sweeps.progress import SweepBar
from lightning_physim.sweeps.spec import Trial
from lightning_physim.sweeps.state import ENDED, SweepState, state_of
from lightning_physim.tracking.reading import read_metrics
from lightning_physim.tracking.run import RunDirectory

POLL = 0.1
"""Seconds between looks at the processes."""


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


def check_jobs(jobs: int) -> None:
    """Refuse a number of trials at a time that is less than one.

    Raises:
        InputError: it is.
    """
    if jobs < 1:
        raise InputError(f"--jobs must be at least 1; got {jobs}")


class LocalSweep:
    """The trials of a sweep, and in ``<runs>/<sweep id>/`` their logs and :class:`SweepState`.

    Args:
        spec: a :class:`SweepSpec`, or another :class:`Plan`.
        runs: folder that holds the run directories.
        count, seed: of :meth:`Plan.trials`.
        say: gets a line when a trial starts or ends.
        min_steps: of training, before which ``early_terminate`` stops no trial.
        launcher: gives, for the folder of the sweep, what runs the trials.

    Raises:
        InputError: what the plan raises; ``method: bayes`` without optuna; an ``early_terminate`` that is none.
    """

    def __init__(
        self,
        spec: Plan,
        runs: str,
        count: int | None,
        seed: int,
        say: Callable[[str], None] = tqdm.write,
        min_steps: int = MIN_STEPS,
        launcher: Callable[[Path], Launcher] = lambda folder: LocalProcesses(),
    ) -> None:
        self.spec = spec
        self.runs = runs
        self.trials = spec.trials(count, seed)
        self.folder = Path(runs) / spec.id(seed)
        self.state = SweepState(self.folder)
        self.say = say
        self.launcher = launcher(self.folder)
        self.suggesting: SweepEngine | None = None
        """Of a bayes sweep."""
        self.early: EarlyStopping | None = None
        self.bar: SweepBar | None = None
        if spec.content.get("method") == "bayes":
            self.suggesting = SweepEngine(spec.content, spec.parameters, seed)
        if "early_terminate" in spec.content:
            rule = Hyperband(spec.content["early_terminate"], spec.content["metric"].get("goal") == "maximize")
            self.early = EarlyStopping(rule, min_steps, self._history)

    def results(self) -> list[dict[str, Any]]:
        """The last line of every trial that has one, by index; all that earlier commands ran as well."""
        return self.state.rows()

    def command(self, trial: Trial) -> list[str]:
        """The words that W&B's agent would run, and the folder of the runs where it is not the default one."""
        return self.spec.command(trial) + ([] if self.runs == "runs" else [f"--runs={self.runs}"])

    def conclude(self, signal: int) -> int:
        """Say which trials have not come to their end, and how to go on.

        Args:
            signal: what :meth:`run` returned.

        Returns:
            The exit code of the command: 0, 1 where a trial failed or was interrupted, 128 and the signal's number
            after a signal. A trial that diverged has come to its end: running it again would not change that.
        """
        told = [row for row in self.results() if row["state"] in ("failed", "interrupted", "diverged")]
        for row in told:
            log = self.folder / f"{row['run_id']}.log"
            self.say(f"{row['state']}: trial {row['trial']}, exit code {row['exit_code']}, {log}")
        left = any(row["state"] != "diverged" for row in told)
        if signal or left:
            self.say("the same command runs what is left")
        return 128 + signal if signal else int(left)

    def run(self, jobs: int) -> int:
        """Run every trial that has not finished, going on with those that left a checkpoint.

        Args:
            jobs: trials at a time.

        Returns:
            The signal that ended it early, 0 for none. Signals go to the trials, which are waited for, or leave them to
            the next sweep, as the launcher has it.

        Raises:
            InputError: another process runs this sweep, or jobs is less than one.
        """
        check_jobs(jobs)
        with self.state.alone(), collecting_signals() as received:
            waiting = self._waiting()
            self.bar = SweepBar(len(self.trials), len(waiting), jobs)
            if waiting:
                self.say(f"{len(waiting)} trials to run, {min(jobs, len(waiting))} at a time; logs in {self.folder}")
            running: dict[Trial, Launched | None] = {}
            passed_on = 0
            while running or (waiting and not received):
                while waiting and len(running) < jobs and not received:
                    trial = self._chosen(waiting.pop(0))
                    running[trial] = self._start(trial)
                    if running[trial] is None:
                        self.say(f"{self._name(trial)} is still run by an earlier process; waiting for its end")
                time.sleep(POLL)
                self.bar.show({f"trial {trial.index}": self._directory(trial).metrics for trial in running})
                ours = {trial: one for trial, one in running.items() if one is not None}
                for number in received[passed_on:]:
                    for one in ours.values():
                        one.send_signal(number)
                    passed_on += 1
                if self.early is not None and not received:
                    for trial in self.early.stop(self.trials, running, ours):
                        self.say(f"{self._name(trial)} is stopped early")
                for trial in [trial for trial in running if trial not in ours and not received]:
                    running[trial] = self._start(trial)
                for trial, one in ours.items():
                    if (code := one.poll()) is not None:
                        del running[trial]
                        self._end(trial, one, code, bool(received) and not one.outlives)
                if received:
                    running = {trial: one for trial, one in running.items() if one is not None and not one.outlives}
            self.bar.close()
        return received[0] if received else 0

    def _waiting(self) -> list[Trial]:
        """The trials that have not come to an end."""
        rows = self.results()
        if self.suggesting is not None:  # what was tried is what the trial is
            known = {row["trial"]: Trial(row["trial"], row["parameters"], row["run_id"]) for row in rows}
            self.trials = [known.get(trial.index, trial) for trial in self.trials]
        done = {row["run_id"] for row in rows if row["state"] in ENDED}
        waiting = [trial for trial in self.trials if trial.run_id not in done]
        if done:
            self.say(f"{self.folder}: {len(self.trials) - len(waiting)} of {len(self.trials)} trials are finished")
        return waiting

    def _chosen(self, trial: Trial) -> Trial:
        """The trial itself, or what the engine suggests in place of one of a bayes sweep that has never started."""
        rows = self.results()
        if self.suggesting is None or trial.run_id in {row["run_id"] for row in rows}:
            return trial
        suggested = self.suggesting.suggest(trial.index, rows)
        if suggested is not None:
            self.trials[trial.index] = Trial.of(self.folder.name, trial.index, suggested)
        return self.trials[trial.index]

    def _start(self, trial: Trial) -> Launched | None:
        project = self.spec.content.get("project")
        task = Task(
            trial=trial,
            command=tuple(self.command(trial)),
            run=self._directory(trial),
            folder=self.folder,
            project=str(project) if project else None,
        )
        started = self.launcher.launch(task, lambda: self.state.record(trial, "started"), self.say)
        if started is not None:
            self.say(f"{self._name(trial)} {started.how}{self._words(trial)}")
        return started

    def _end(self, trial: Trial, one: Launched, exit_code: int, interrupted: bool) -> None:
        history = self._history(trial)
        if self.early is not None:
            self.early.ended(trial, history)
        value = history.values[-1] if history.values else None
        state = state_of(exit_code, self._directory(trial))
        if one.stopped is not None:
            state = "stopped"  # the sweep has asked for it
        elif interrupted:
            state = "interrupted"  # a program that is told to stop may well end in peace
        self.state.record(trial, state, exit_code, value)
        what = f"failed with exit code {exit_code}, see {self._log(trial)}" if state == "failed" else state
        shown = "not logged" if value is None else f"{value:.4g}"
        seconds = time.monotonic() - one.began
        left = self.bar.ended(seconds) if self.bar is not None else ""
        self.say(f"{self._name(trial)} {what} after {seconds:.0f} s: {self.spec.metric} {shown}{left}")

    def _directory(self, trial: Trial) -> RunDirectory:
        return RunDirectory(Path(self.runs) / trial.run_id)

    def _log(self, trial: Trial) -> Path:
        return self.folder / f"{trial.run_id}.log"

    def _history(self, trial: Trial) -> History:
        """The metric as the trial has logged it so far; nothing, and a line, where its file cannot be read."""
        path = self._directory(trial).metrics
        try:
            curve = read_metrics(path).get(self.spec.metric) if path.is_file() else None
        except (InputError, OSError) as error:
            self.say(f"{self._name(trial)}: {error}")
            curve = None
        return History() if curve is None else History(curve[0].tolist(), curve[1].tolist())

    def _name(self, trial: Trial) -> str:
        return f"trial {trial.index} of {len(self.trials)}"

    def _words(self, trial: Trial) -> str:
        """What tells the trial from others."""
        fixed = {".".join(parameter.name) for parameter in self.spec.parameters if not parameter.varies}
        varied = {key: value for key, value in flatten(trial.parameters).items() if key not in fixed}
        shown = ", ".join(f"{key} {f'{x:.4g}' if type(x) is float else x}" for key, x in varied.items())
        return f": {shown}" if shown else ""
