"""A sweep that W&B's server hands out: made there, and its agent run here, by wandb's own means."""

import contextlib
import io
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from signal import SIGINT
from threading import Thread
from typing import Any

import yaml

from lightning_physim.errors import InputError
from lightning_physim.signals import collecting_signals

TIMEOUT = 10
"""Seconds that the server has for each answer before a sweep is made."""
ENGINES = {"wandb": "sweeps", "optuna": "optuna", "ax": "ax"}
"""What ``wandb sweep-scheduler`` can search with, and the package that each needs. The first is W&B's own search."""


@dataclass(frozen=True)
class OnlineSweep:
    """A sweep on the server.

    Args:
        path: ``entity/project/id``, which every ``wandb agent`` takes.
        url: its page.
        scheduled: whether ``wandb sweep-scheduler`` chooses the trials, and not the server.
    """

    path: str
    url: str
    scheduled: bool = False

    @classmethod
    def create(cls, file: str | Path) -> "OnlineSweep":
        """Make the sweep that a file in W&B's format asks for. The server checks it.

        Raises:
            InputError: no such file, W&B is off or has no key here, does not answer, or refuses the file.
        """
        import wandb
        from wandb.sdk.lib.service.service_connection import WandbApiFailedError

        content = _read(file)
        _check_scheduler(content.get("scheduler"), file)
        wandb.setup(wandb.Settings(silent=True))
        mode = wandb.setup().settings.mode
        if mode not in ("online", "shared"):
            raise InputError(f"--online needs W&B; got mode {mode}: unset WANDB_MODE, or leave --online out")
        if not wandb.login(prompt=False, verify=False):
            raise InputError("--online needs a W&B account; type `wandb login`, or leave --online out")
        project = os.environ.get("WANDB_PROJECT") or content.get("project") or "lightning_physim"
        try:
            _knock(wandb.setup().settings.base_url)
            own = wandb.Api(timeout=TIMEOUT).default_entity
            entity = os.environ.get("WANDB_ENTITY") or content.get("entity") or own
            with contextlib.redirect_stdout(io.StringIO()):
                sweep = wandb.sweep(content, entity=entity, project=project)
        except (wandb.Error, WandbApiFailedError, OSError, ValueError) as error:
            raise InputError(f"W&B did not take the sweep: {error}") from error
        app = wandb.setup().settings.app_url
        path = f"{entity}/{project}/{sweep}"
        return cls(path, f"{app}/{entity}/{project}/sweeps/{sweep}", scheduled=content.get("scheduler") is not None)

    def run(self, count: int | None) -> int:
        """Run W&B's agent until the sweep is over, or ``count`` trials of it have ended, and its scheduler beside it.

        Signals go to the agent, as SIGTERM, and from it to its trial, which ends with its rows and a checkpoint; the
        same signal again makes the agent less patient.

        Returns:
            The agent's exit code, that of a scheduler that failed, or 128 and the signal's number.
        """
        counted = [] if count is None else ["--count", str(count)]
        scheduler = _start("sweep-scheduler", self.path) if self.scheduled else None
        agent = _start("agent", "--forward-signals", *counted, self.path)
        failed = 0

        def watch(scheduler: subprocess.Popen) -> None:
            nonlocal failed
            failed = scheduler.wait()
            if failed:
                agent.terminate()  # which would wait for trials for ever

        if scheduler is not None:
            watching = Thread(target=watch, args=(scheduler,))
            watching.start()
        with collecting_signals(agent.terminate) as received:
            code = agent.wait()
            if scheduler is not None:
                code = failed or code
                scheduler.send_signal(SIGINT)  # its own way to end: what runs stays known to a later one
                watching.join()
        return 128 + received[0] if received else code


def _start(*words: str) -> subprocess.Popen:
    """A command of the client, in a session of its own: Ctrl-C reaches it through this process alone."""
    # ${interpreter} is whatever python comes first.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return subprocess.Popen(
        [sys.executable, "-m", "wandb", *words],
        env=os.environ | {"PATH": path},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def _check_scheduler(scheduler: Any, file: str | Path) -> None:
    """Refuse a scheduler that ``wandb sweep-scheduler`` would refuse only once the sweep has been made.

    Raises:
        InputError: one of W&B Launch, or a package that is not installed.
    """
    if scheduler is None:
        return
    engine = scheduler.get("engine") if isinstance(scheduler, dict) else scheduler
    if engine not in ENGINES:
        raise InputError(
            f"the scheduler's engine must be {', '.join(ENGINES)}; got {engine}: for a scheduler of W&B Launch type "
            f"`wandb launch-sweep {file}`"
        )
    if find_spec(ENGINES[engine]) is None:
        raise InputError(f"the scheduler {engine} needs a package; type `pip install 'wandb[{ENGINES[engine]}]'`")


def _read(file: str | Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(Path(file).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"a sweep is a YAML file; got {file}: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("parameters"), dict):
        raise InputError(f"a sweep is a YAML file with method, metric and parameters; got {file} without them")
    return content


def _knock(url: str) -> None:
    """Whether the server answers at all. wandb's own calls try again for minutes, and keep the process from ending.

    Raises:
        OSError: it does not.
    """
    query = json.dumps({"query": "query Viewer { viewer { id } }"}).encode()
    request = urllib.request.Request(f"{url}/graphql", query, {"Content-Type": "application/json"})
    try:
        urllib.request.urlopen(request, timeout=TIMEOUT).close()
    except urllib.error.HTTPError:
        pass  # an answer, if not a friendly one: it was not told who we are
