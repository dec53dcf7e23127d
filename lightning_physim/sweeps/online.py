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
from pathlib import Path
from typing import Any

import yaml

from lightning_physim.errors import InputError
from lightning_physim.signals import collecting_signals

TIMEOUT = 10
"""Seconds that the server has for each answer before a sweep is made."""


@dataclass(frozen=True)
class OnlineSweep:
    """A sweep on the server.

    Args:
        path: ``entity/project/id``, which every ``wandb agent`` takes.
        url: its page.
    """

    path: str
    url: str

    @classmethod
    def create(cls, file: str | Path) -> "OnlineSweep":
        """Make the sweep that a file in W&B's format asks for. The server checks it.

        Raises:
            InputError: no such file, W&B is off or has no key here, does not answer, or refuses the file.
        """
        import wandb
        from wandb.sdk.lib.service.service_connection import WandbApiFailedError

        content = _read(file)
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
        return cls(f"{entity}/{project}/{sweep}", f"{app}/{entity}/{project}/sweeps/{sweep}")

    def run(self, count: int | None) -> int:
        """Run W&B's agent until the sweep is over, or ``count`` trials of it have ended.

        Signals go to the agent, as SIGTERM, and from it to its trial, which ends with its rows and a checkpoint; the
        same signal again makes the agent less patient.

        Returns:
            The agent's exit code, or 128 and the signal's number.
        """
        counted = [] if count is None else ["--count", str(count)]
        # ${interpreter} is whatever python comes first.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        # A session of its own: Ctrl-C reaches it through this process alone.
        agent = subprocess.Popen(
            [sys.executable, "-m", "wandb", "agent", "--forward-signals", *counted, self.path],
            env=os.environ | {"PATH": path},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        with collecting_signals(agent.terminate) as received:
            code = agent.wait()
        return 128 + received[0] if received else code


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
