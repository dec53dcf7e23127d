"""How far a sweep has come, and how long the rest will take."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tqdm import tqdm

from lightning_physim.tracking.reading import last_row

EVERY = 2.0
"""Seconds between looks at what trials have logged."""


class SweepBar:
    """A bar over trials where somebody watches; in a log, only the words of :meth:`ended`.

    Args:
        total: trials of the sweep.
        left: those that are still to be run.
        jobs: at a time.
    """

    def __init__(self, total: int, left: int, jobs: int) -> None:
        self.left, self.jobs = left, jobs
        self.seconds: list[float] = []
        self._looked = -EVERY
        self._bar = tqdm(
            desc="trials",
            total=total,
            initial=total - left,
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]",
        )

    def show(self, running: Mapping[str, Path]) -> None:
        """Show the last step in the ``metrics.jsonl`` of each trial that runs, by its name."""
        if not self._bar.disable and time.monotonic() - self._looked > EVERY:
            self._looked = time.monotonic()
            steps = {name: int(last_row(path).get("step", 0)) for name, path in running.items()}
            self._bar.set_postfix_str(", ".join(f"{name}: step {step:,}" for name, step in steps.items() if step))

    def ended(self, seconds: float) -> str:
        """A trial has ended after so many seconds; what is left, in words."""
        self.seconds.append(seconds)
        self.left -= 1
        self._bar.update()
        if self.left < 1:
            return ""
        rest = sum(self.seconds) / len(self.seconds) * self.left / min(self.jobs, self.left)
        return (
            f"; {self.left} left, about {rest / 60:.0f} min"
            if rest >= 60
            else f"; {self.left} left, about {rest:.0f} s"
        )

    def close(self) -> None:
        self._bar.close()
