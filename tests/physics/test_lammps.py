"""Trajectories of LAMMPS (``gran/hooke``), from the files in ``data/lammps``."""

import json
from pathlib import Path

import numpy as np
import pytest

from lightning_physim.physics import ParticleSystem, Trajectory, simulate

FOLDER = Path(__file__).parents[1] / "reference" / "lammps"
CASES = sorted(path.stem for path in FOLDER.glob("*.json"))


def load(case: str) -> tuple[dict, dict[str, np.ndarray], ParticleSystem]:
    about = json.loads((FOLDER / f"{case}.json").read_text())
    with np.load(FOLDER / f"{case}.npz", allow_pickle=False) as file:
        arrays = dict(file)
    system = ParticleSystem(
        n_particles=about["n"],
        box=tuple(high for _, high in about["box"]),
        radius=about["radius"],
        mass=about["mass"],
        stiffness=about["k"],
        damping=about["gamma"],
        wall_damping=about["gamma_wall"],
        gravity=about["g"],
        interval=about["dt"] * about["every"],
        attractive_tail=not about["limit_damping"],
        walls=about["walls"],
    )
    return about, arrays, system


def run_like(about: dict, arrays: dict[str, np.ndarray], system: ParticleSystem, integrator: str) -> Trajectory:
    return simulate(system, arrays["x"][None, 0], arrays["v"][None, 0], len(arrays["t"]) - 1, integrator, about["dt"])


def test_all_cases_are_here():
    assert len(CASES) == 7


@pytest.mark.parametrize("case", CASES)
def test_verlet_is_lammps_to_round_off(case):
    about, arrays, system = load(case)
    run = run_like(about, arrays, system, "verlet")
    np.testing.assert_allclose(run.times, arrays["t"], atol=1e-9)
    until = arrays["t"] <= about["horizon_1e_2"] + 1e-9
    assert until.sum() > 10
    assert np.abs(run.positions[0][until] - arrays["x"][until]).max() < 1e-8
    assert np.abs(run.velocities[0][until] - arrays["v"][until]).max() < 1e-6


@pytest.mark.parametrize("case", CASES)
def test_averaged_is_near_the_converged_solution_and_nearer_than_lammps_at_the_same_step(case):
    about, arrays, system = load(case)
    run = run_like(about, arrays, system, "averaged")
    until = arrays["t"] <= min(1.0 if about["n"] > 2 else 4.0, about["horizon_1e_2"]) + 1e-9
    ours = np.abs(run.positions[0][until] - arrays["x_fine"][until]).max()
    theirs = np.abs(arrays["x"][until] - arrays["x_fine"][until]).max()
    assert ours < 2e-3
    # A clipped force has a second kink, at the contact's end, which averaging does not smooth.
    assert ours < theirs * (1.0 if about["limit_damping"] else 0.5) or theirs < 1e-5
