"""A step of the sampler against its peers: the job of ``benchmarks/against_devinterp.py``, with fewer draws.

They want environments of their own: ``DEVINTERP1``, ``DEVINTERP2`` and ``CANONICAL`` name interpreters that have
devinterp 1.3.2 and 2.0.1, and canonical-interp 0.1.5, whose compilation is not counted here. Agreement of the estimates
is what that script shows, and the cost of a given error ``benchmarks/llc_error.py``.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.against_devinterp import JOB, prepare
from benchmarks.llc_workers import run
from benchmarks.table import Row
from benchmarks.worlds import CACHE

PEERS = {"devinterp1": "devinterp 1.3.2", "devinterp2": "devinterp 2.0.1", "canonical": "canonical-interp 0.1.5"}


def measure(quick: bool) -> Iterator[Row | str]:
    Path(CACHE).mkdir(exist_ok=True)
    draws = 4 if quick else 60
    problem = torch.load(prepare(Path(CACHE)), weights_only=False)
    job = {**problem, **JOB, "n_draws": draws}

    def ms(worker: str, python: str) -> dict[str, float]:
        seconds = {region: r["seconds"] - r.get("compiling", 0.0) for region, r in run(python, worker, job).items()}
        return {region: 1e3 * s / (draws * job["n_chains"]) for region, s in seconds.items()}

    ours = ms("ours", sys.executable)
    peers = {worker: ms(worker, os.environ[worker.upper()]) for worker in PEERS if worker.upper() in os.environ}
    for region in ours:
        if not peers:
            yield Row(f"chain-step of {region}", ours[region], "ms")
        for worker, theirs in peers.items():
            yield Row(f"chain-step of {region}", ours[region], "ms", PEERS[worker], theirs[region])
    if not peers:
        yield f"peers are left out: set {', '.join(map(str.upper, PEERS))} to interpreters that have them"
