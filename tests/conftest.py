"""Shared helpers: a two-process gloo pool for everything that is reduced over ranks, and a loopback W&B server."""

import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from hypothesis import settings

from tests.helpers.processes import SILENCED, clear_environment, default_signals
from tests.helpers.wandb_server import WandbServer

# Tests run two at a time: threads of one would only wait for those of the other. Commands that they start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.update(SILENCED)
torch.set_num_threads(1)

# What a shell tells its background jobs to ignore, commands would go on ignoring, and tests of signals wait for ever.
default_signals()

# The same few examples every time: a suite that fails by chance is not believed.
settings.register_profile("suite", max_examples=20, deadline=None, derandomize=True, database=None)
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def denormals() -> Iterator[None]:
    """The commands take denormal numbers for zero, in the whole process: no test is to find what another has left."""
    yield
    torch.set_flush_denormal(False)


def _rank_main(rank: int, world: int, port: int, work: Callable[..., Any], args: tuple, results: Any) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    torch.set_num_threads(1)
    results[rank] = work(rank, world, *args)
    torch.distributed.destroy_process_group()


@pytest.fixture
def on_ranks() -> Callable[..., list[Any]]:
    """``on_ranks(work, *args, world=2)`` runs ``work(rank, world, *args)`` in that many processes; their results."""

    def run(work: Callable[..., Any], *args: Any, world: int = 2) -> list[Any]:
        # Forked from one process that has imported what takes seconds, and has done nothing else.
        context = mp.get_context("forkserver")
        context.set_forkserver_preload(["pytest", "pytorch_lightning", "lightning_physim.callbacks"])
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with context.Manager() as manager:
            results = manager.dict()
            mp.start_processes(_rank_main, (world, port, work, args, results), nprocs=world, start_method="forkserver")
            return [results[rank] for rank in range(world)]

    return run


@pytest.fixture
def wandb_server(tmp_path, monkeypatch) -> Iterator[WandbServer]:
    """A W&B server that the genuine client of a subprocess logs in to, and that is all it knows of the world."""
    server = WandbServer()
    clear_environment(monkeypatch)
    home = tmp_path / "home"
    home.mkdir()
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "HOME"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv("NETRC", str(home / ".netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    yield server
    server.close()
