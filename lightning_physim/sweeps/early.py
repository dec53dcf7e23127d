"""Trials that are told to end early."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from lightning_physim.sweeps.hyperband import Hyperband
from lightning_physim.sweeps.launcher import Launched
from lightning_physim.sweeps.spec import Trial

EARLY_POLL = 2.0
"""Seconds between looks at what the trials have measured, where a sweep stops some of them early."""
KILL_DELAY = 30.0
"""Seconds that a trial which is stopped early has to end, as for W&B's agent."""


class History(NamedTuple):
    """The metric of a trial so far.

    Args:
        steps: of training, at which it was logged.
        values: the metric there.
    """

    steps: Sequence[float] = ()
    values: Sequence[float] = ()


class EarlyStopping:
    """Tells trials to end that are not worth going on with.

    Args:
        rule: chooses them.
        min_steps: training steps that every trial has first. The rule knows the metric alone, and the loss of a network
            whose heads have yet to emerge is that of one which will never have any.
        history: gives the metric as a trial has logged it so far.
    """

    def __init__(self, rule: Hyperband, min_steps: int, history: Callable[[Trial], History]) -> None:
        self.rule = rule
        self.min_steps = min_steps
        self.history = history
        self.histories: dict[str, History] = {}
        """Of trials that do not run any more, or as they were at the last look."""
        self.looked = 0.0

    def ended(self, trial: Trial, history: History) -> None:
        """A trial has ended, with this history."""
        self.histories[trial.run_id] = history

    def stop(self, trials: Iterable[Trial], running: Iterable[Trial], ours: Mapping[Trial, Launched]) -> list[Trial]:
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
                one.kill()
        if now < self.looked + EARLY_POLL:
            return []
        self.looked = now
        alive = {trial.run_id for trial in running}
        for trial in trials:
            if trial.run_id in alive or trial.run_id not in self.histories:
                self.histories[trial.run_id] = self.history(trial)
        measured = {key: history for key, history in self.histories.items() if history.values}
        judged = {key for key in alive & measured.keys() if measured[key].steps[-1] >= self.min_steps}
        chosen = self.rule.to_stop({key: history.values for key, history in measured.items()}, judged)
        told = [trial for trial, one in ours.items() if trial.run_id in chosen and one.stopped is None]
        for trial in told:
            ours[trial].terminate()
            ours[trial].stopped = now
        return told
