"""``physim reproduce``: train seeds, controls and peers, and judge the paper's three claims."""

import argparse
import json
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lightning_physim.claims import (
    Claim,
    Metrics,
    Study,
    collision_heads_exist,
    final,
    growth_is_power_law,
    growth_of_heads,
    growth_of_loss,
    llc_rises_with_score,
)
from lightning_physim.claims.plan import ROLES, SEED
from lightning_physim.cli.configs import resolve_config
from lightning_physim.cli.llc import data_module
from lightning_physim.cli.train import check
from lightning_physim.data import ParticleDataModule, floor_rollouts
from lightning_physim.module import PhysicsSimulator
from lightning_physim.report import Findings, Peer, write_reproduction
from lightning_physim.sweeps import LocalSweep, Reproduction
from lightning_physim.tracking import RunDirectory, last_checkpoint, read_metrics

LOSSES = ("val/loss", "val/loss_colliding", "val/loss_free")


def reproduce(argv: list[str]) -> int:
    """Run what is left of a reproduction and write its page, or check it.

    Returns:
        The exit code: 0, 1 where a training failed, 128 and the signal's number after a signal.

    Raises:
        InputError, argparse.ArgumentError: an option that cannot be.
    """
    given, options = build_parser().parse_known_args(argv)
    plan = Reproduction(resolve_config(given.config), given.seeds, tuple(options), given.runs)
    sweep = LocalSweep(plan, given.runs, None, 0)
    if given.check:
        for trial in sweep.trials:
            command = sweep.command(trial)
            print(shlex.join(command))
            check(command[3:])
        return 0
    signal = sweep.run(given.jobs)
    findings = gather(plan, {row["run_id"]: row["state"] for row in sweep.results()})
    page = write_reproduction(
        sweep.folder / "claims.html",
        title=plan.id(),
        facts=[f"{len(findings.seeds)} seeds of {plan.config.stem}", f"{plan.max_steps:,} steps", *options],
        findings=findings,
        config=plan.text,
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
        description="Train a configuration on several seeds at a constant learning rate (2e-3), the same under plain "
        "SGD, on permuted outcomes and without attention, and an interaction network; then judge the claims of "
        "Hitchcock et al. 2025 by the rules of docs/claims.md. The same command again runs what is left and writes the "
        "page again; with more seeds it adds them. Everything is under RUNS/<id>/: sweep.jsonl, the logs, claims.json "
        "and claims.html.",
        epilog="Options of `physim fit`, spelled --trainer.max_steps=2000 or --model.lr=1e-3, go to every training.",
        allow_abbrev=False,
        exit_on_error=False,
    )
    parser.add_argument("--config", default="demo", help="shipped configuration, or a YAML file (default: demo)")
    parser.add_argument("--seeds", type=int, default=5, help="trainings that differ in their seed alone (default: 5)")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time (default: 2)")
    parser.add_argument("--check", action="store_true", help="print the commands and check their options; run nothing")
    parser.add_argument("--runs", default="runs", help="folder that holds the run directories (default: runs)")
    return parser


def gather(plan: Reproduction, states: dict[str, str]) -> Findings:
    """Judge the claims by the trainings that have finished.

    Args:
        plan: what was to be trained.
        states: of the trainings, by run id.
    """
    seeds: dict[str, Metrics] = {}
    others: dict[str, Metrics] = {}
    done: dict[str, RunDirectory] = {}
    told = []
    for trial in plan.trials():
        role = trial.parameters["role"]
        name = f"seed {trial.parameters['seed']}" if role == SEED else ROLES[role].label
        run = RunDirectory(Path(plan.runs) / trial.run_id)
        state = states.get(trial.run_id, "not started")
        told.append((name, state, f"../{run.id}/report.html" if run.report.is_file() else ""))
        if state == "finished":
            done[name] = run
            (seeds if role == SEED else others)[name] = read_metrics(run.metrics)
    study = Study(seeds, *(others.get(ROLES[role].label) for role in ("sgd", "permuted", "no_attention")))
    growth = [row for name, metrics in seeds.items() for row in growth_of_heads(name, metrics)]
    losses = [row for name, metrics in seeds.items() for row in growth_of_loss(name, metrics)]
    sgd = growth_of_heads(ROLES["sgd"].label, study.sgd) if study.sgd else []
    claims = (collision_heads_exist(study), llc_rises_with_score(study), growth_is_power_law(growth, losses, sgd))
    horizon = max(
        (int(key.split("@")[1]) for m in seeds.values() for key in m if key.startswith("rollout/mse@")), default=1
    )
    return Findings(seeds, others, claims, growth, losses, sgd, _peers(seeds, others, done, horizon), horizon, told)


def write_claims(path: Path, claims: Sequence[Claim]) -> None:
    """Write verdicts and numbers as JSON; ``null`` for what was not measured."""
    rows = [
        vars(claim) | {"numbers": {key: x if math.isfinite(x) else None for key, x in claim.numbers.items()}}
        for claim in claims
    ]
    path.write_text(json.dumps(rows, indent=1, allow_nan=False) + "\n")


def _peers(
    seeds: dict[str, Metrics], others: dict[str, Metrics], done: dict[str, RunDirectory], horizon: int
) -> list[Peer]:
    rows = []
    if seeds:
        each = [_peer(name, metrics, done[name], horizon) for name, metrics in seeds.items()]
        rows.append(_median("transformer", each))
    for role in ("interaction", "no_attention", "sgd", "permuted"):
        name = ROLES[role].label
        if name in others:
            rows.append(_peer(ROLES[role].network, others[name], done[name], horizon))
    if done:
        name, run = next(iter(done.items()))
        metrics = {**seeds, **others}[name]
        rollouts = floor_rollouts(_data_of(run), horizon)
        for floor, called in (("no_pair", "no-pair oracle"), ("ballistic", "free flight")):
            losses = [_value(metrics, f"val/floor_{floor}{group}") for group in ("", "_colliding", "_free")]
            rows.append(Peer(called, losses, rollouts[floor]))
    return rows


def _peer(name: str, metrics: Metrics, run: RunDirectory, horizon: int) -> Peer:
    return Peer(
        name,
        [_value(metrics, key) for key in LOSSES],
        [_value(metrics, f"rollout/{error}@{horizon}") for error in ("mse", "energy_error")],
        _n_parameters(run),
        _value(metrics, "time/train_cpu", n=1),
    )


def _value(metrics: Metrics, key: str, n: int = 3) -> float:
    return final(metrics[key], n) if key in metrics else math.nan


def _median(name: str, peers: list[Peer]) -> Peer:
    def middle(field: str) -> Any:
        return np.median([getattr(peer, field) for peer in peers], axis=0)

    return Peer(
        name,
        tuple(middle("losses")),
        tuple(middle("rollout")),
        middle("n_parameters"),
        middle("cpu_seconds"),
        len(peers),
    )


def _n_parameters(run: RunDirectory) -> int:
    module = PhysicsSimulator.load_from_checkpoint(last_checkpoint(run), map_location="cpu", weights_only=True)
    return sum(parameter.numel() for parameter in module.parameters())


def _data_of(run: RunDirectory) -> ParticleDataModule:
    data = data_module(yaml.safe_load(run.config.read_text())["data"])
    data.prepare_data()
    data.setup("fit")
    return data
