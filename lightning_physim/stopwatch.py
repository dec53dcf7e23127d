"""Seconds spent in some part of the code."""

import time
from collections.abc import Callable
from typing import Any


class Stopwatch:
    """Adds up the seconds between its starts and stops, or of ``with`` blocks. Those inside another count twice.

    Args:
        clock: returns seconds; None for wall time.
    """

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self.seconds = 0.0
        """All of them so far, less those of a part that has not ended."""
        self._clock = clock or time.perf_counter
        self._starts: list[float] = []

    def start(self) -> None:
        """A part begins."""
        self._starts.append(self._clock())

    def stop(self) -> None:
        """The part that began last ends."""
        self.seconds += self._clock() - self._starts.pop()

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: Any) -> None:
        self.stop()
