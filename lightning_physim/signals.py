"""Signals that would end this process."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lightning_physim.errors import Interrupted

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Of a terminal, of batch systems and sweep agents, and of a terminal that is closed; Windows lacks the last."""


def handle_signals(handle: Callable[[int], object]) -> None:
    """From now on, ``handle(number)`` is called at a signal of :data:`SIGNALS`, between two steps of the interpreter.

    Signals that this process was told to ignore (``nohup``) stay ignored. Outside the main thread, which alone may set
    handlers, nothing changes.
    """
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda number, _: handle(number))


@contextmanager
def handling_signals(handle: Callable[[int], object]) -> Iterator[None]:
    """:func:`handle_signals`, with the handlers from before back afterwards."""
    former = {number: signal.getsignal(number) for number in SIGNALS}
    handle_signals(handle)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in former.items():
                signal.signal(number, handler)


@contextmanager
def collecting_signals(then: Callable[[], object] | None = None) -> Iterator[list[int]]:
    """Inside, signals are put into the list, and end nothing.

    Args:
        then: called after each.
    """
    received: list[int] = []

    def collect(number: int) -> None:
        received.append(number)
        if then is not None:
            then()

    with handling_signals(collect):
        yield received


@contextmanager
def raising_signals() -> Iterator[None]:
    """Inside, a signal raises :class:`lightning_physim.errors.Interrupted`, so that files and locks are closed."""

    def interrupt(number: int) -> None:
        raise Interrupted(number)

    with handling_signals(interrupt):
        yield


def signal_name(number: int) -> str:
    """``SIGTERM`` for 15."""
    return signal.Signals(number).name


def die_of(number: int) -> None:
    """End this process by the signal itself, with its default handler.

    Who has started it learns what ended it: a shell ends the loop that the command stands in, and W&B's agent does not
    count a trial that it has stopped as one that failed.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
