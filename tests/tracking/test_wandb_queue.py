"""Calls that training does not wait for: all of them, in order, and none of their errors lost."""

import copy
import threading
import time

import pytest

from lightning_physim.tracking.wandb_queue import Background


def test_calls_are_made_in_order_beside_the_caller():
    made = []
    background = Background(interval=0.01)
    for number in range(1000):
        background.put(lambda number=number: made.append((number, threading.get_ident())))
        if number % 100 == 0:
            time.sleep(0.02)
        if number == 500:
            background.drain()  # both threads take calls from here on
            assert [number for number, _ in made] == list(range(501))
    background.close()
    assert [number for number, _ in made] == list(range(1000))
    assert {thread for _, thread in made} - {threading.get_ident()}
    assert background.seconds > 0.0


def test_the_caller_does_not_wait_and_a_drain_does():
    background, made = Background(interval=0.01), []

    def slow() -> None:
        time.sleep(0.3)
        made.append(1)

    begin = time.monotonic()
    background.put(slow)
    assert time.monotonic() - begin < 0.1 and not made
    time.sleep(0.1)  # the thread is in the midst of it
    background.drain()
    assert made == [1]
    background.close()


def test_what_a_call_raises_is_raised_once_and_later_calls_are_made():
    background, made = Background(interval=0.2), []
    background.put(lambda: 1 / 0)
    background.put(lambda: made.append(1))
    time.sleep(0.6)
    with pytest.raises(ZeroDivisionError):
        background.put(lambda: made.append(2))
    background.put(lambda: int("x"))
    with pytest.raises(ValueError, match="invalid literal"):
        background.close()
    background.close()
    assert made == [1, 2]


def test_it_can_be_used_again_after_its_end_and_copied():
    background, made, before = Background(interval=0.01), [], set(threading.enumerate())
    for number in range(2):
        background.put(lambda number=number: made.append((number, threading.get_ident())))
        time.sleep(0.3)
        background.close()
        assert [number for number, _ in made] == list(range(number + 1))
        assert made[-1][1] != threading.get_ident()  # the thread has made it, before its end
        assert set(threading.enumerate()) <= before
    background = Background(interval=60.0)
    background.put(lambda: made.clear())
    copy.deepcopy(background).close()
    assert made
    background.close()
    assert not made


def test_the_thread_does_not_keep_the_process_alive():
    before, background = set(threading.enumerate()), Background(interval=60.0)
    assert background.seconds == 0.0
    background.put(lambda: None)
    (thread,) = set(threading.enumerate()) - before
    background.close()
    assert thread.daemon
