"""What runs the trials of a sweep: processes of this machine, or jobs of a cluster."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lightning_physim.sweeps.spec import Trial
from lightning_physim.tracking.run import RunDirectory


@dataclass(frozen=True)
class Task:
    """A trial as a launcher gets it. It can be pickled.

    Args:
        trial: itself.
        command: its words. What goes on with a checkpoint is added where it starts.
        run: directory that it makes.
        folder: of the sweep; its name is the W&B group of the run.
        project: of W&B; None for that of the environment.
    """

    trial: Trial
    command: tuple[str, ...]
    run: RunDirectory
    folder: Path
    project: str | None

    @property
    def log(self) -> Path:
        """File that its output is appended to."""
        return self.folder / f"{self.run.id}.log"


class Launched(Protocol):
    """A trial that has been launched."""

    began: float
    """When, by ``time.monotonic``."""
    stopped: float | None
    """When it was told to stop early; None where it was not."""

    @property
    def outlives(self) -> bool:
        """Whether it goes on when the sweep is told to end. The next sweep finds it."""

    @property
    def how(self) -> str:
        """For people, after its name: ``starts``."""

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""

    def send_signal(self, number: int) -> None:
        """The sweep has got this signal."""

    def terminate(self) -> None:
        """Ask it to end after its step, with a checkpoint."""

    def kill(self) -> None:
        """End it now."""


class Launcher(Protocol):
    """Starts trials."""

    def launch(self, task: Task, begin: Callable[[], None], say: Callable[[str], None]) -> Launched | None:
        """Start a trial, going on with what an interrupted one left, or find the one that an earlier sweep has started.

        Args:
            task: the trial.
            begin: called where it is sure that the trial does not run, before it starts.
            say: gets a line for people.

        Returns:
            None where a trial runs that cannot be told anything: it is to be waited for.
        """
