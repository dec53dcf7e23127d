"""The processes of a distributed training that this one has started, when it does not end well."""

import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytorch_lightning as pl
import torch.distributed as dist
from jsonargparse import ArgumentParser
from lightning_fabric.strategies import Strategy

from lightning_physim.errors import InputError, RankLost
from lightning_physim.ranges import MOST_COUNTED, check_positive

GRACE = 5.0
"""Seconds that the other ranks have, once one has failed, to say why and to end by themselves."""


def add_rank_timeout(parser: ArgumentParser) -> None:
    """The option ``--rank_timeout``."""
    parser.add_argument(
        "--rank_timeout",
        type=float,
        default=600.0,
        help="Seconds that a process of several waits for the others, before it ends with an error.",
    )


def rank_timeout(seconds: float) -> timedelta:
    """The option's value, as process groups take it.

    Raises:
        InputError: it is not positive.
    """
    check_positive("seconds", rank_timeout=seconds)
    return timedelta(seconds=min(seconds, MOST_COUNTED))


def limit_waiting(trainer: pl.Trainer, seconds: float) -> None:
    """Let no rank wait for another one longer than this; a no-op for a single process. Before training starts."""
    # DDPStrategy takes it as an argument, but the trainer makes the strategy, of a name such as `ddp` or `auto`.
    if hasattr(trainer.strategy, "_timeout"):
        trainer.strategy._timeout = rank_timeout(seconds)


def is_lightnings(error: Exception) -> bool:
    """Whether Lightning itself has raised an error, or torch where it joins the processes of a training."""
    raised_in = [frame.filename for frame in traceback.extract_tb(error.__traceback__)][-1:]
    places = ("pytorch_lightning", "lightning_fabric", "torch/distributed/rendezvous")
    return not isinstance(error, InputError) and any(place in name for name in raised_in for place in places)


def refused(error: Exception) -> InputError:
    """What Lightning refuses of devices, accelerators and other options, in a line."""
    return InputError(f"the trainer refuses its options: {' '.join(str(error).split())[:300]}")


@contextmanager
def ending_ranks(strategy: Strategy | pl.strategies.Strategy, seconds: float) -> Iterator[None]:
    """What fails inside ends the other processes, too.

    Args:
        strategy: whose launcher has started them.
        seconds: ``--rank_timeout``.

    Raises:
        RankLost: another process is gone or does not answer.
    """
    try:
        yield
    except BaseException as error:
        lost = _end_ranks(strategy)
        if _is_of_another_rank(error):
            raise RankLost(
                "another process has failed, see above, or has not answered within "
                f"--rank_timeout={seconds:g} s: {lost or str(error)[:200]}"
            ) from error
        raise


def _is_of_another_rank(error: BaseException) -> bool:
    """Whether an error says that another process of the training is gone or does not answer."""
    # NCCL has types of its own; gloo raises plain RuntimeErrors that name its source files.
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def _end_ranks(strategy: Strategy | pl.strategies.Strategy) -> str:
    """Wait a little for the processes that Lightning's launcher has started, and kill what is left of them.

    Returns:
        Those that had failed by themselves, with their exit codes, negative for a signal, and those that had to be
        killed.
    """
    started = getattr(strategy.launcher, "procs", [])
    processes = list(started)
    # Lightning's observer of this very list would kill this process too, in the midst of what it has to write.
    started.clear()
    end = time.monotonic() + GRACE
    while time.monotonic() < end and any(process.poll() is None for process in processes):
        time.sleep(0.05)
    lost = []
    for rank, process in enumerate(processes, 1):
        if process.poll() is None:
            process.kill()
            process.wait()
            lost.append(f"rank {rank} without an answer")
        elif process.returncode:
            lost.append(f"rank {rank} with exit code {process.returncode}")
    return ", ".join(lost)
