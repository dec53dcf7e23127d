"""Signals that would end this process, while others have to end first."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def collecting_signals(then: Callable[[], object] | None = None) -> Iterator[list[int]]:
    """Inside, signals that end a process are put into the list instead.

    Args:
        then: called after each.
    """
    received: list[int] = []

    def collect(number: int, _: object) -> None:
        received.append(number)
        if then is not None:
            then()

    former = {number: signal.signal(number, collect) for number in SIGNALS}
    try:
        yield received
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
