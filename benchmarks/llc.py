"""A step of the sampler against devinterp: the job of ``benchmarks/against_devinterp.py``, with fewer draws.

devinterp wants environments of its own: ``DEVINTERP1`` and ``DEVINTERP2`` name interpreters that have 1.3.2 and 2.0.1.
Agreement of the estimates, and the cost of a given standard error, are what that script shows.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.against_devinterp import JOB, prepare, run
from benchmarks.table import Row
from benchmarks.worlds import CACHE

PEERS = {"devinterp1": "devinterp 1.3.2", "devinterp2": "devinterp 2.0.1"}


def measure(quick: bool) -> Iterator[Row | str]:
    Path(CACHE).mkdir(exist_ok=True)
    draws = 4 if quick else 60
    problem = torch.load(prepare(Path(CACHE)), weights_only=False)
    job = {**problem, **JOB, "device": "cpu", "n_draws": draws, "n_burn_in": 0, "best": False}

    def ms(worker: str, python: str) -> dict[str, float]:
        found = run(python, worker, job)
        return {region: 1e3 * found[region]["seconds"] / (draws * job["n_chains"]) for region in found}

    ours = ms("ours", sys.executable)
    peers = {worker: ms(worker, os.environ[worker.upper()]) for worker in PEERS if worker.upper() in os.environ}
    for region in ours:
        if not peers:
            yield Row(f"chain-step of {region}", ours[region], "ms")
        for worker, theirs in peers.items():
            yield Row(f"chain-step of {region}", ours[region], "ms", PEERS[worker], theirs[region])
    if not peers:
        yield "devinterp is left out: set DEVINTERP1 or DEVINTERP2 to an interpreter that has it"
