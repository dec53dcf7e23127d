"""``physim sweep FILE``: the trials of a sweep on this machine, without an account or, with ``--online``, for W&B."""

import argparse
import shlex
import shutil
import sys
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from lightning_physim.claims.plan import MIN_STEPS
from lightning_physim.cli.launching import add_launcher, chosen_launcher
from lightning_physim.cli.suggestions import suggesting
from lightning_physim.cli.train import SUBCOMMANDS, check
from lightning_physim.errors import InputError
from lightning_physim.report import write_comparison
from lightning_physim.sweeps import LocalSweep, OnlineSweep, SweepSpec, check_jobs


def sweep(argv: list[str]) -> int:
    """Run what is left of a sweep, or check it.

    Returns:
        The exit code: 0, 1 where a trial failed, 128 and the signal's number after a signal.

    Raises:
        InputError: a sweep, or with ``--check`` a trial's option, that cannot be.
    """
    parser = build_parser()
    with suggesting(parser):
        given = parser.parse_args(argv)
    if given.online:
        return sweep_online(given)
    check_jobs(given.jobs)
    spec = SweepSpec.read(given.file)
    if given.check:
        check_trials(LocalSweep(spec, given.runs, given.count, given.seed))
        return 0
    launcher = chosen_launcher(given.launcher, given.slurm)
    local = LocalSweep(spec, given.runs, given.count, given.seed, min_steps=given.min_steps, launcher=launcher)
    for trial in local.trials:
        check_program(local.command(trial))
    signal = local.run(given.jobs)
    print(f"comparison: {write_comparison(local.folder, spec.content, local.results())}")
    return local.conclude(signal)


def sweep_online(given: Namespace) -> int:
    """Make the sweep on W&B's server and run an agent on it.

    Returns:
        The exit code: the agent's, or 128 and the signal's number after a signal.

    Raises:
        InputError: options of local sweeps, or what :meth:`OnlineSweep.create` refuses.
    """
    defaults = build_parser().get_defaults()
    others = ("jobs", "check", "runs", "seed", "min_steps", "launcher", "slurm")
    local = [f"--{name}" for name in others if given[name] != defaults[name]]
    if local:
        raise InputError(f"--online takes --count alone, W&B does the rest; got {', '.join(local)}: leave it out")
    if given.count is not None and given.count < 1:
        raise InputError(f"--count must be at least 1; got {given.count}")
    made = OnlineSweep.create(given.file)
    print(f"sweep: {made.url} (another machine joins it with `wandb agent {made.path}`)", flush=True)
    return made.run(given.count)


def build_parser() -> ArgumentParser:
    """The options of ``physim sweep``."""
    parser = ArgumentParser(
        prog="physim sweep",
        description="Run the trials of a file in W&B's sweep format on this machine, with the commands that `wandb "
        "agent` would run; method bayes needs the extra `bayes`. The same command again runs what "
        "is left: trials that were interrupted or failed go on from their last checkpoint. Everything is under "
        "RUNS/<sweep id>/: sweep.jsonl, the logs, and report.html, which compares the trials.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("file", type=str, help="YAML file, as for `wandb sweep`.")
    parser.add_argument(
        "--online",
        action="store_true",
        help="Make the sweep on W&B's server, which chooses the trials, and run its agent here.",
    )
    parser.add_argument("--count", type=int | None, default=None, help="Trials; None: all of a grid.")
    parser.add_argument("--jobs", type=int, default=1, help="Trials at a time.")
    parser.add_argument("--check", action="store_true", help="Print the commands and check their options; run nothing.")
    parser.add_argument("--runs", type=str, default="runs", help="Folder that holds the run directories.")
    parser.add_argument("--seed", type=int, default=0, help="Of random and bayes trials.")
    parser.add_argument(
        "--min_steps",
        type=int,
        default=MIN_STEPS,
        help="Training steps before which early_terminate stops no trial: heads have to have time to emerge.",
    )
    add_launcher(parser)
    return parser


def check_trials(local: LocalSweep) -> None:
    """Print the command of every trial, and build its network, data module and trainer where it is ours.

    Raises:
        InputError: no such program, an unknown option, or a value that is refused.
    """
    for trial in local.trials:
        command = local.command(trial)
        print(shlex.join(command))
        check_program(command)
        own = _own_arguments(command)
        if own and own[0] in SUBCOMMANDS:
            try:
                check(own)
            except (InputError, argparse.ArgumentError) as error:
                raise InputError(f"trial {trial.index}: {getattr(error, 'message', error)}") from error
    print(f"{len(local.trials)} trials, their options can be used; nothing was run", file=sys.stderr)


def check_program(command: list[str]) -> None:
    """Refuse a command that nothing can run.

    Raises:
        InputError: its first word is no program of this machine.
    """
    program = next(iter(command), "")
    if shutil.which(program) is None:
        raise InputError(
            f"a trial's command must begin with a program that can be run; got {program!r}: install it, or change "
            'command, e.g. ["${interpreter}", "${program}", "${args}"]'
        )


def _own_arguments(command: list[str]) -> list[str]:
    """What follows ``physim`` or ``-m lightning_physim``."""
    for i, word in enumerate(command):
        if word == "lightning_physim" or Path(word).name == "physim":
            return command[i + 1 :]
    return []
