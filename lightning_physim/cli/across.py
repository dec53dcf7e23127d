"""``physim reproduce --across``: train a map of settings, and say where the claims hold."""

import shlex
import sys
from argparse import Namespace
from pathlib import Path

from lightning_physim.claims.across import Cell, Effects, judge, measure
from lightning_physim.cli.configs import resolve_config
from lightning_physim.cli.launching import chosen_launcher
from lightning_physim.cli.runs import logged
from lightning_physim.cli.train import check
from lightning_physim.errors import InputError
from lightning_physim.report import write_map
from lightning_physim.sweeps import Across, LocalSweep
from lightning_physim.tracking import RunDirectory, origin_line

MAPPED = "smoke"
"""The configuration of the map where none is given: a training of it takes a minute."""


def across(given: Namespace, options: tuple[str, ...]) -> int:
    """Run what is left of a map and write its page, or check it.

    Args:
        given: of the parser of ``physim reproduce``.
        options: of ``physim fit``, for every training.

    Returns:
        The exit code, as of :func:`lightning_physim.cli.reproduce.reproduce`.

    Raises:
        InputError: an option that cannot be.
    """
    if given.claims is not None:
        raise InputError(f"--across trains for claims (a) and (b) together; got --claims={given.claims}: leave it out")
    seeds = {} if given.seeds is None else {"n_seeds": given.seeds}
    plan = Across(
        resolve_config(given.config or MAPPED), options=options, runs=given.runs, first_seed=given.first_seed, **seeds
    )
    if given.check:
        return check_all(LocalSweep(plan, given.runs, None, 0))
    sweep = LocalSweep(plan, given.runs, None, 0, launcher=chosen_launcher(given.launcher, given.slurm))
    print(f"{len(sweep.trials)} trainings of {plan.config.stem}, of {plan.max_steps:,} steps")
    signal = sweep.run(given.jobs)
    states = {row["run_id"]: row["state"] for row in sweep.results()}
    cells: dict[Cell, list[Effects]] = {}
    runs = [RunDirectory(Path(plan.runs) / trial.run_id) for trial in plan.trials()]
    for trial, run in zip(plan.trials(), runs, strict=True):
        _, metrics = logged(run, states.get(run.id, "not started"))
        if metrics is not None:
            cells.setdefault(plan.cell(trial), []).append(measure(metrics))
    claims = judge(cells)
    facts = [f"{plan.n_seeds} seeds of {plan.config.stem} in every cell", f"{plan.max_steps:,} steps", *options]
    page = write_map(
        sweep.folder / "map.html",
        title=plan.id(),
        facts=facts,
        cells=cells,
        claims=claims,
        config=plan.text,
        origin=origin_line(runs),
    )
    for claim in claims:
        print(f"{claim.statement}: {claim.verdict}. {claim.reason}")
    print(f"report: {page}")
    return sweep.conclude(signal)


def check_all(sweep: LocalSweep) -> int:
    """Print the command of every training and check its options; the exit code 0.

    Raises:
        InputError, argparse.ArgumentError: what a training would refuse.
    """
    for trial in sweep.trials:
        command = sweep.command(trial)
        print(shlex.join(command))
        check(command[3:])
    print(f"{len(sweep.trials)} trainings, their options can be used; nothing was run", file=sys.stderr)
    return 0
