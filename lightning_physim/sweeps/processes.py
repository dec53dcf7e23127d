"""Trials as processes of this machine.

The log of a trial is locked by the trial's own processes, which inherit it as their standard output. They outlive a
sweep that is killed, and the next one waits for them.
"""

import os
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lightning_physim.errors import InputError
from lightning_physim.sweeps.launcher import Task
from lightning_physim.sweeps.spec import Trial
from lightning_physim.tracking.run import RunDirectory, last_checkpoint

FOREIGN = ("WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH", "SLURM_NTASKS", "SLURM_PROCID")
"""Variables that a trial does not inherit. With a sweep's id wandb would ignore the project, and a later `wandb sync`
name a sweep that no server knows. With SLURM's Lightning would take the trial for a rank of the job that starts it."""


@dataclass
class TrialProcess:
    """The process of a trial.

    Args:
        process: the process.
        goes_on: whether it resumes what an interrupted trial left.
    """

    process: subprocess.Popen
    goes_on: bool
    began: float = field(default_factory=time.monotonic)
    stopped: float | None = None
    outlives = False

    @property
    def how(self) -> str:
        """``starts`` or ``goes on``."""
        return "goes on" if self.goes_on else "starts"

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self.process.poll()

    def send_signal(self, number: int) -> None:
        """Pass on a signal that the sweep has got."""
        self.process.send_signal(number)

    def terminate(self) -> None:
        """Ask it to end after its step, with a checkpoint."""
        self.process.terminate()

    def kill(self) -> None:
        """End it now."""
        self.process.kill()


class LocalProcesses:
    """Every trial is a process of this machine."""

    def launch(self, task: Task, begin: Callable[[], None], say: Callable[[str], None]) -> TrialProcess | None:
        """Start a trial, unless processes of an earlier sweep still run it.

        Args:
            task: the trial.
            begin: called where it is sure that the trial does not run, before it starts.
            say: gets a line for people.
        """
        import fcntl  # not on Windows, where reports of sweeps can be read all the same

        with task.log.open("ab") as output:
            try:
                fcntl.flock(output, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
            options = resume_options(task.run, task.folder, say)
            begin()
            # A session of its own: Ctrl-C reaches a trial through this process alone, and once.
            process = subprocess.Popen(
                [*task.command, *options],
                env=trial_environment(task.trial, task.folder.name, task.project),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return TrialProcess(process, goes_on=bool(options))


def resume_options(run: RunDirectory, folder: Path, say: Callable[[str], None]) -> list[str]:
    """Options that go on with what an interrupted trial left; where nothing can, its directory makes room.

    Args:
        run: of the trial.
        folder: that a directory without a checkpoint is moved to.
        say: gets a line when one is.
    """
    with suppress(InputError):
        last_checkpoint(run)
        return [f"--ckpt_path={run.path}"]
    if run.path.exists():
        try:
            run.path.rmdir()
        except OSError:
            aside = next(p for n in range(1, 10**6) if not (p := folder / f"{run.id}.{n}").exists())
            run.path.rename(aside)
            say(f"{run.path} has no checkpoint to go on from; moved to {aside}")
    return []


def trial_environment(trial: Trial, group: str, project: str | None) -> dict[str, str]:
    """This process's variables, with what W&B calls the trial's run, its kind, group and project, and its tags beside
    those that are set; offline unless they say so.
    """
    inherited = {key: value for key, value in os.environ.items() if key not in FOREIGN}
    tags = ",".join(filter(None, (inherited.get("WANDB_TAGS"), *trial.tags)))
    named = {"WANDB_PROJECT": project, "WANDB_JOB_TYPE": trial.job_type, "WANDB_TAGS": tags}
    ours = {"WANDB_RUN_ID": trial.run_id, "WANDB_RUN_GROUP": group}
    return {"WANDB_MODE": "offline"} | inherited | ours | {name: value for name, value in named.items() if value}
