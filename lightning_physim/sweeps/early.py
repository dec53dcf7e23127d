"""Trials that are not worth going on with."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from lightning_physim.sweeps.engine import SweepEngine
from lightning_physim.sweeps.processes import TrialProcess
from lightning_physim.sweeps.spec import Trial

EARLY_POLL = 2.0
"""Seconds between looks at what the trials have measured, where a sweep stops some of them early."""
KILL_DELAY = 30.0
"""Seconds that a trial which is stopped early has to end, as for W&B's agent."""


class EarlyStopping:
    """Tells trials to end that the engine finds not worth going on with.

    Args:
        engine: chooses them.
        history: gives the metric as a trial has logged it so far.
    """

    def __init__(self, engine: SweepEngine, history: Callable[[Trial], Sequence[float]]) -> None:
        self.engine = engine
        self.history = history
        self.histories: dict[str, Sequence[float]] = {}
        """Of trials that do not run any more, or as they were at the last look."""
        self.looked = 0.0

    def ended(self, trial: Trial, history: Sequence[float]) -> None:
        """A trial has ended, with this history."""
        self.histories[trial.run_id] = history

    def stop(
        self, trials: Iterable[Trial], running: Iterable[Trial], ours: Mapping[Trial, TrialProcess]
    ) -> list[Trial]:
        """Look at the trials where it is time to.

        Args:
            trials: of the whole sweep.
            running: those that run.
            ours: those of them whose processes can be told.

        Returns:
            Those that were told to end.
        """
        now = time.monotonic()
        for one in ours.values():
            if one.stopped is not None and now > one.stopped + KILL_DELAY:
                one.process.kill()
        if now < self.looked + EARLY_POLL:
            return []
        self.looked = now
        alive = {trial.run_id for trial in running}
        for trial in trials:
            if trial.run_id in alive or trial.run_id not in self.histories:
                self.histories[trial.run_id] = self.history(trial)
        chosen = self.engine.to_stop({key: values for key, values in self.histories.items() if values}, alive)
        told = [trial for trial, one in ours.items() if trial.run_id in chosen and one.stopped is None]
        for trial in told:
            ours[trial].process.terminate()
            ours[trial].stopped = now
        return told
