"""The processes of trials.

The log of a trial is locked by the trial's own processes, which inherit it as their standard output. They outlive a
sweep that is killed, and the next one waits for them.
"""

import fcntl
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lightning_physim.errors import InputError
from lightning_physim.sweeps.spec import Trial
from lightning_physim.tracking.run import RunDirectory, last_checkpoint


@dataclass
class TrialProcess:
    """The process of a trial, started here.

    Args:
        process: the process.
        goes_on: whether it resumes what an interrupted trial left.
        began: when it started, by ``time.monotonic``.
        stopped: when it was told to stop early; None where it was not.
    """

    process: subprocess.Popen
    goes_on: bool
    began: float = field(default_factory=time.monotonic)
    stopped: float | None = None


class EarlierProcess:
    """Processes that a sweep before this one started for the trial, and that live."""


def start_trial(
    command: Callable[[], list[str]], environment: Mapping[str, str], log: Path, resume: Callable[[], list[str]]
) -> TrialProcess | EarlierProcess:
    """Start a trial, unless it still runs.

    Args:
        command: gives its words. Asked for, like ``resume``, once it is sure that the trial does not run.
        environment: variables of its processes.
        log: file that its output is appended to.
        resume: gives the options that go on with what is there.
    """
    with log.open("ab") as output:
        try:
            fcntl.flock(output, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return EarlierProcess()
        options = resume()
        # A session of its own: Ctrl-C reaches a trial through this process alone, and once.
        process = subprocess.Popen(
            command() + options,
            env=environment,
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
    # With a sweep's id wandb would ignore the project, and a later `wandb sync` name a sweep that no server knows.
    inherited = {k: v for k, v in os.environ.items() if k not in ("WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH")}
    tags = ",".join(filter(None, (inherited.get("WANDB_TAGS"), *trial.tags)))
    named = {"WANDB_PROJECT": project, "WANDB_JOB_TYPE": trial.job_type, "WANDB_TAGS": tags}
    ours = {"WANDB_RUN_ID": trial.run_id, "WANDB_RUN_GROUP": group}
    return {"WANDB_MODE": "offline"} | inherited | ours | {name: value for name, value in named.items() if value}
