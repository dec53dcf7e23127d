"""Work that a training step does not wait for."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any


class Background:
    """Makes calls in the order in which they were handed over, in one thread that looks every ``interval`` seconds.

    Whatever a call raises is raised by the next use of this object, once; later calls are made all the same. The thread
    starts with the first call and does not keep the process alive: :meth:`close` before its end.

    Args:
        interval: seconds that a call waits at most for its turn.
    """

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self.seconds = 0.0
        """CPU seconds that the thread has taken so far: at most what it has kept the interpreter from training."""
        self._calls: deque[Callable[[], None]] = deque()
        self._errors: deque[Exception] = deque()
        self._turn = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Background, (self.interval,)  # a copy in another process has its own thread and nothing to do

    def put(self, call: Callable[[], None]) -> None:
        """Hand over a call."""
        self._calls.append(call)
        if self._thread is None or not self._thread.is_alive():
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="physim-logging", daemon=True)
            self._thread.start()
        self._raise()

    def drain(self) -> None:
        """Make what is left of the calls here and now; returns when all have been made."""
        self._make()
        self._raise()

    def close(self) -> None:
        """End the thread, when all calls have been made."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self.drain()

    def _run(self) -> None:
        before = self.seconds
        while not self._stop.wait(self.interval):
            self._make()
            self.seconds = before + time.thread_time()

    def _make(self) -> None:
        # Whoever has the lock makes calls until none is left, so that the order is kept between the two threads.
        with self._turn:
            while self._calls:
                try:
                    self._calls.popleft()()
                except Exception as error:
                    self._errors.append(error)

    def _raise(self) -> None:
        if self._errors:
            raise self._errors.popleft()
