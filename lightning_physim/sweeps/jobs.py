"""Trials as jobs of a cluster, by submitit: one job for each, queued again at the cluster's signal."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_physim.errors import InputError
from lightning_physim.sweeps.launcher import Task
from lightning_physim.sweeps.processes import LocalProcesses, TrialProcess

CLUSTERS = {"slurm": "slurm", "submitit-local": "local"}
"""Launchers of this module, as submitit calls them. The second runs the same jobs here, without a queue."""
BUSY_POLL = 1.0
"""Seconds between looks of a job whose trial is still run by an earlier one."""
JOB_POLL = 2.0
"""Seconds between looks at the result of a job, on a file system that the whole cluster shares."""
MANY = 10**4
"""Time limits that a training may come to; submitit would give it up after three."""
WEEK = 7 * 24 * 60
"""Minutes of a job that has no time limit."""


class TrialJob:
    """What a job runs: the command of a trial, going on with what is there.

    Args:
        task: the trial.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.started: TrialProcess | None = None

    def __call__(self) -> int:
        """Run the command; its exit code."""
        # The signal is submitit's, to this process. Some clusters send it to children too, which it would kill.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
        try:
            while (started := LocalProcesses().launch(self.task, lambda: None, print)) is None:
                time.sleep(BUSY_POLL)
            self.started = started
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})
        try:
            return started.process.wait()
        except KeyboardInterrupt:
            started.terminate()
            raise

    def checkpoint(self) -> Any:
        """Called by submitit before the job is queued again: end the command, with a checkpoint."""
        from submitit.helpers import DelayedSubmission

        if self.started is not None:
            self.started.terminate()
            with suppress(ChildProcessError):  # not `wait`, which this very process is in the midst of
                os.waitid(os.P_PID, self.started.process.pid, os.WEXITED | os.WNOWAIT)
        return DelayedSubmission(TrialJob(self.task))


@dataclass
class SubmittedTrial:
    """A trial in the queue.

    Args:
        job: submitit's.
        launcher: a key of :data:`CLUSTERS`.
        note: file with its id, which goes when its end has been told.
    """

    job: Any
    launcher: str
    note: Path
    began: float = field(default_factory=time.monotonic)
    stopped: float | None = None
    looked: float = 0.0
    outlives = True

    @property
    def how(self) -> str:
        """Which job it is."""
        return f"is job {self.job.job_id}"

    def poll(self) -> int | None:
        """The exit code of its command, 1 where it could not be started, that of a kill where the job left no result;
        None while it waits or runs."""
        if time.monotonic() < self.looked + JOB_POLL:
            return None
        self.looked = time.monotonic()
        if not self.job.done():
            return None
        self.note.unlink(missing_ok=True)
        if (error := self.job.exception()) is None:
            return self.job.result()
        return 1 if type(error).__name__ == "FailedJobError" else -signal.SIGKILL

    def send_signal(self, number: int) -> None:
        """Nothing: jobs go on when the sweep is told to end."""

    def terminate(self) -> None:
        """Ask it to end after its step, with a checkpoint. A plain cancel is a SIGTERM, which submitit passes over."""
        if self.launcher == "slurm":
            subprocess.run(["scancel", "--signal=INT", self.job.job_id], check=False)
        else:
            self.job.cancel()

    def kill(self) -> None:
        """Take it out of the queue, or end it now."""
        self.job.cancel(check=False)


class SubmititJobs:
    """Every trial is a job.

    Args:
        launcher: a key of :data:`CLUSTERS`.
        folder: for submitit's files.
        options: of ``sbatch``, with ``_`` for ``-``, as submitit takes them: ``time`` in minutes, ``partition``, ...

    Raises:
        InputError: submitit is not installed, there is no SLURM here, or an option that is none.
    """

    def __init__(self, launcher: str, folder: Path, options: Mapping[str, int | str]) -> None:
        try:
            import submitit
        except ImportError:
            raise InputError(
                f"--launcher={launcher} needs submitit; type `pip install 'lightning_physim[slurm]'`"
            ) from None
        if launcher == "slurm" and "time" not in options:
            raise InputError("a job needs its minutes, after which it is queued again; got none: type --slurm time=240")
        given = {f"slurm_{key}": value for key, value in options.items()}
        try:
            self.executor = submitit.AutoExecutor(
                folder / "jobs", CLUSTERS[launcher], slurm_max_num_timeout=MANY, local_max_num_timeout=MANY
            )
            self.executor.update_parameters(
                timeout_min=WEEK, stderr_to_stdout=True, slurm_additional_parameters={"requeue": True}, **given
            )
        except (RuntimeError, NameError, AssertionError, ValueError) as error:
            raise InputError(f"submitit refuses: {' '.join(str(error).split())[:300]}") from error
        self.job_class = submitit.SlurmJob if launcher == "slurm" else submitit.LocalJob
        self.launcher, self.folder = launcher, folder

    def launch(self, task: Task, begin: Callable[[], None], say: Callable[[str], None]) -> SubmittedTrial:
        """Submit a trial, or find the job that an earlier sweep has submitted, as long as it runs or has a result.

        Args:
            task: the trial.
            begin: called before a job is submitted.
            say: gets a line for people.
        """
        note = self.folder / f"{task.run.id}.job"
        if note.is_file():
            job: Any = self.job_class(self.executor.folder, note.read_text().strip())
            if job.paths.result_pickle.exists() or not job.done():
                return SubmittedTrial(job, self.launcher, note)
        begin()
        self.executor.update_parameters(name=task.run.id)
        job = self.executor.submit(TrialJob(task))
        note.write_text(f"{job.job_id}\n")
        return SubmittedTrial(job, self.launcher, note)
