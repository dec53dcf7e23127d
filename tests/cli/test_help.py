"""What the help of the command costs."""

import resource
import subprocess
import sys

HEAVY = ("torch", "pytorch_lightning", "numba", "numpy", "pandas", "plotly", "wandb")


def cpu_seconds_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_help_imports_nothing_heavy_and_takes_under_a_second_of_cpu():
    before = cpu_seconds_of_children()
    command = [sys.executable, "-X", "importtime", "-m", "lightning_physim", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "usage: physim COMMAND" in done.stdout
    imported = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "lightning_physim.cli.main" in imported
    assert not imported & set(HEAVY)
    assert cpu_seconds_of_children() - before < 1
