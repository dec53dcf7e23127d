"""Machine code that is kept on disk is that of the sources as they stand."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "lightning_physim"
HEAD_ON = """
import numpy as np
from lightning_physim.physics import ParticleSystem, simulate
system = ParticleSystem(n_particles=1, restitution=0.5, gravity=0.0)
run = simulate(system, np.array([[[5.0, 0.6]]]), np.array([[[0.0, -1.0]]]), 5)
print(run.velocities[0, -1, 0, 1])
"""


def speed_after(folder: Path) -> float:
    # The working folder comes before PYTHONPATH.
    done = subprocess.run([sys.executable, "-c", HEAD_ON], cwd=folder, capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.slow
def test_a_change_of_the_law_reaches_the_loop_that_calls_it(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "lightning_physim")
    before = speed_after(tmp_path)
    assert 0 < before < 1
    law = tmp_path / "lightning_physim" / "physics" / "contact.py"
    text = law.read_text()
    assert text.count("+ damping * fraction * approach\n    if") == 1
    law.write_text(
        text.replace("+ damping * fraction * approach\n    if", "+ 0 * damping * fraction * approach\n    if")
    )
    assert abs(speed_after(tmp_path) - 1) < 1e-3


FEW = """
import numpy as np
from lightning_physim.physics import ParticleSystem, engine, sample_initial_states, simulate
from lightning_physim.physics.beside import await_compiled, compile_beside
import lightning_physim.physics.beside as beside
compile_beside()
assert beside._compiler is not None
await_compiled()
beside._compiler = None
compile_beside()
assert beside._compiler is None  # it lies on the disk by now
system = ParticleSystem(n_particles=16, restitution=0.9)
simulate(system, *sample_initial_states(system, 2), 2)
assert engine.simulate_all.stats.cache_hits and not engine.simulate_all.stats.cache_misses
assert not engine._list_by_cells.signatures
system = ParticleSystem(n_particles=80, box=(20.0, 20.0), restitution=0.9)
simulate(system, *sample_initial_states(system, 2), 2)
assert engine._list_by_cells.signatures
"""


@pytest.mark.slow
@pytest.mark.skipif(os.cpu_count() == 1, reason="one core compiles where it is needed")
def test_few_discs_compile_no_cells_and_what_another_process_compiled_is_found(tmp_path):
    own = {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(PACKAGE.parent)}
    subprocess.run([sys.executable, "-c", FEW], cwd=tmp_path, env=os.environ | own, check=True)
