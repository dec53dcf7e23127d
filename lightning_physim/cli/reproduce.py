"""``physim reproduce``: train seeds, controls and peers, and judge the paper's three claims."""

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path

from lightning_physim import keys
from lightning_physim.claims import Claim, Training, gather, undecidable
from lightning_physim.claims.across import CELLS, SEEDS_PER_CELL
from lightning_physim.claims.plan import MIN_STEPS, OF_FLOW, OF_TRAINED
from lightning_physim.cli.across import MAPPED, across, check_all
from lightning_physim.cli.configs import read_config, resolve_config
from lightning_physim.cli.launching import add_launcher, chosen_launcher
from lightning_physim.cli.runs import logged, unreadable
from lightning_physim.cli.shipped import DEFAULT
from lightning_physim.cli.suggestions import near_options
from lightning_physim.errors import InputError
from lightning_physim.files import replace_file
from lightning_physim.module import PhysicsSimulator
from lightning_physim.report import write_reproduction
from lightning_physim.sweeps import LocalSweep, Reproduction, check_jobs
from lightning_physim.tracking import RunDirectory, origin_line, read_table


def reproduce(argv: list[str]) -> int:
    """Run what is left of a reproduction and write its page, or check it.

    Returns:
        The exit code: 0, 1 where a training failed, 128 and the signal's number after a signal.

    Raises:
        InputError, argparse.ArgumentError: an option that cannot be.
    """
    parser = build_parser()
    given, options = parser.parse_known_args(argv)
    for word in options:
        if "." not in word and (near := near_options(word, parser)):
            raise InputError(f"no such option: {word}: type {near[0]}")
    check_jobs(given.jobs)
    read_config(resolve_config(given.config or DEFAULT))  # refuses what is none
    if given.across:
        return across(given, tuple(options))
    claims, seeds = given.claims or OF_TRAINED, 5 if given.seeds is None else given.seeds
    plan = Reproduction(
        resolve_config(given.config or DEFAULT), seeds, tuple(options), given.runs, given.first_seed, claims=claims
    )
    if given.check:
        return check_all(LocalSweep(plan, given.runs, None, 0))
    sweep = LocalSweep(plan, given.runs, None, 0, launcher=chosen_launcher(given.launcher, given.slurm))
    print(f"{len(sweep.trials)} trainings of {plan.config.stem}, of {plan.max_steps:,} steps for every seed")
    if few := undecidable(seeds, claims):
        print(few)
    signal = sweep.run(given.jobs)
    done = trainings(plan, {row["run_id"]: row["state"] for row in sweep.results()})
    findings = gather(done)
    n_seeds = len({training.seed for training in done if training.metrics is not None})
    page = write_reproduction(
        sweep.folder / "claims.html",
        title=plan.id(),
        facts=[f"{n_seeds} seeds of {plan.config.stem}", f"{plan.max_steps:,} steps", *options],
        findings=findings,
        config=plan.text,
        origin=origin_line(RunDirectory(Path(plan.runs) / trial.run_id) for trial in plan.trials()),
    )
    write_claims(sweep.folder / "claims.json", findings.claims)
    for letter, claim in zip("abc", findings.claims, strict=True):
        print(f"({letter}) {claim.statement}: {claim.verdict}. {claim.reason}")
    print(f"report: {page}")
    return sweep.conclude(signal)


def build_parser() -> argparse.ArgumentParser:
    """The options of ``physim reproduce``; what it does not know are options of ``physim fit``."""
    parser = argparse.ArgumentParser(
        prog="physim reproduce",
        description="Train a configuration on several seeds at a constant learning rate (2e-3), every seed on permuted "
        "outcomes as well, the same without attention, and an interaction network; then judge the claims of Hitchcock "
        "et al. 2025 by the rules of docs/claims.md. The same command again runs what is left and "
        "writes the page again; with more seeds it adds them. Everything is under RUNS/<id>/: sweep.jsonl, the logs, "
        "claims.json and claims.html.",
        epilog="Options of `physim fit`, spelled --trainer.max_steps=2000 or --model.lr=1e-3, go to every training. "
        f"Without --trainer.max_steps a seed takes the steps of the configuration, and at least {MIN_STEPS}.",
        allow_abbrev=False,
        exit_on_error=False,
    )
    parser.add_argument(
        "--config", help=f"shipped configuration, or a YAML file (default: {DEFAULT}; {MAPPED} with --across)"
    )
    parser.add_argument(
        "--across",
        action="store_true",
        help=f"train a map of where the claims hold instead: {len(CELLS)} settings of depth, attention to oneself and "
        "how often particles collide; nothing is said of a single one (docs/claims.md)",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        help=f"trainings that differ in their seed alone (default: 5; {SEEDS_PER_CELL} of each setting with --across)",
    )
    parser.add_argument("--first_seed", type=int, default=0, help="the lowest of them (default: 0)")
    parser.add_argument(
        "--claims",
        choices=[OF_TRAINED, OF_FLOW, OF_TRAINED + OF_FLOW],
        help="claims whose trainings are made: c takes two of every seed in gradient flow (default: ab)",
    )
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time (default: 2)")
    add_launcher(parser)
    parser.add_argument("--check", action="store_true", help="print the commands and check their options; run nothing")
    parser.add_argument("--runs", default="runs", help="folder that holds the run directories (default: runs)")
    return parser


def trainings(plan: Reproduction, states: dict[str, str]) -> list[Training]:
    """What has become of every training.

    Args:
        plan: what was to be trained.
        states: of the trainings, by run id.
    """
    rows = []
    for trial in plan.trials():
        run = RunDirectory(Path(plan.runs) / trial.run_id)
        size, floors = math.nan, dict[str, dict[str, float]]()
        state, metrics = logged(run, states.get(trial.run_id, "not started"))
        if metrics is not None:
            try:
                size, floors = n_parameters(run), errors_of_floors(run)
            except (InputError, OSError, KeyError, TypeError, ValueError) as error:
                state, metrics = unreadable(run, error)
        rows.append(
            Training(
                role=trial.parameters["role"],
                seed=trial.parameters["seed"],
                state=state,
                report=f"../{run.id}/report.html" if run.report.is_file() else "",
                metrics=metrics,
                n_parameters=size,
                floors=floors,
            )
        )
    return rows


def write_claims(path: Path, claims: Sequence[Claim]) -> None:
    """Write verdicts and numbers as JSON; ``null`` for what was not measured."""
    rows = [
        {"statement": claim.statement, "verdict": claim.verdict, "reason": claim.reason}
        | {"numbers": {key: x if math.isfinite(x) else None for key, x in claim.numbers.items()}}
        for claim in claims
    ]
    replace_file(path, (json.dumps(rows, indent=1, allow_nan=False) + "\n").encode())


def n_parameters(run: RunDirectory) -> int:
    """Of the network that a run's configuration makes."""
    module = PhysicsSimulator(**read_config(run.config)["model"])
    return sum(parameter.numel() for parameter in module.parameters())


def errors_of_floors(run: RunDirectory) -> dict[str, dict[str, float]]:
    """Of the floors as simulators, as a run has logged them."""
    table = read_table(run.figures, keys.ROLLOUT_FLOORS) or {"columns": (), "data": ()}
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    return {row.pop("floor"): row for row in rows}
