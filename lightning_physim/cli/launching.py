"""Options that say what runs the trials of a sweep or the trainings of a reproduction."""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from lightning_physim.errors import InputError
from lightning_physim.sweeps.jobs import CLUSTERS, SubmititJobs
from lightning_physim.sweeps.launcher import Launcher
from lightning_physim.sweeps.processes import LocalProcesses


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """The options ``--launcher`` and ``--slurm``."""
    parser.add_argument(
        "--launcher",
        choices=["local", *CLUSTERS],
        default="local",
        help="local: processes of this machine. slurm: a job for each, which is queued again at its time limit and "
        "goes on; --jobs of them at a time. submitit-local: the same jobs here, to try them. The last two need the "
        "extra `slurm` (default: local)",
    )
    parser.add_argument(
        "--slurm",
        nargs="+",
        metavar="KEY=VALUE",
        default=[],
        help="Options of sbatch for every job, with _ for -: time=240 (minutes) partition=gpu gpus_per_node=1 "
        "cpus_per_task=4 mem=8GB",
    )


def chosen_launcher(name: str, options: Sequence[str]) -> Callable[[Path], Launcher]:
    """What makes the launcher for the folder of a sweep.

    Args:
        name: of ``--launcher``.
        options: of ``--slurm``.

    Raises:
        InputError: an option that is no ``KEY=VALUE``, or that a local process has no use for.
    """
    pairs = [option.partition("=") for option in options]
    for option, (key, _, value) in zip(options, pairs, strict=True):
        if not key.isidentifier() or not value:
            raise InputError(f"options of sbatch are spelled --slurm time=240 partition=gpu; got {option}")
    if name == "local":
        if options:
            raise InputError(f"--slurm is for jobs; got {' '.join(options)}: type --launcher=slurm, or leave it out")
        return lambda folder: LocalProcesses()
    given = {key: int(value) if value.isdecimal() else value for key, _, value in pairs}
    return partial(SubmititJobs, name, options=given)
