"""``physim attention RUN``: what the heads of a run look at, as a file, and what is seen inside them, as a table."""

import io
from pathlib import Path

import numpy as np
import torch
from jsonargparse import ArgumentParser

from lightning_physim import Run, keys
from lightning_physim.cli.arithmetic import set_arithmetic
from lightning_physim.cli.runs import chosen_run
from lightning_physim.cli.suggestions import suggesting
from lightning_physim.errors import InputError
from lightning_physim.files import replace_file
from lightning_physim.inside import look_inside_run
from lightning_physim.inside.views import N_STATES, held_out_states
from lightning_physim.probes import attention_patterns
from lightning_physim.report import print_inside, try_report
from lightning_physim.tracking import JsonlLogger, only_writer

DESCRIPTION = """patterns: float32 [layers, states, heads, query, key], attention; rows sum to 1
states: float32 [states, particles, 4], x, y, v_x, v_y: held-out states, in units of the simulation
contacts: bool [states, particles, particles], pairs that touch in the interval that follows
contact_distance: float32 [particles, particles], sums of radii
interval: time between two states
step: optimizer steps that the network had taken
"""
"""Of the arrays in the file, one a line."""


def attention(argv: list[str]) -> None:
    """Write the patterns, leave the views in the run, write its report again and print the table.

    Raises:
        InputError: no such run or step, more states than there are, a network without attention, or a run that is
            being trained.
    """
    parser = build_parser()
    with suggesting(parser):
        given = parser.parse_args(argv)
    run = Run(chosen_run(given.runs, given.run).path)
    module = run.model(given.checkpoint)
    step = max(run.checkpoints) if given.checkpoint is None else given.checkpoint
    output = Path(given.output) if given.output else run.directory.path / f"attention-{step:08d}.npz"
    if not output.parent.is_dir():
        raise InputError(f"--output is a file in a folder that is there; got {output}: make {output.parent} first")
    set_arithmetic(run.config.get("threads"))
    data = run.data
    states, contacts = held_out_states(data, given.states)
    with torch.no_grad():
        patterns = attention_patterns(module, states)
    views = look_inside_run(module, data, given.states)
    content = io.BytesIO()
    np.savez_compressed(
        content,
        description=np.array(DESCRIPTION),
        patterns=patterns.float().numpy(),
        states=states.numpy(),
        contacts=contacts.numpy(),
        contact_distance=data.contact_distance.numpy(),
        interval=np.array(data.system.interval),
        step=np.array(step),
    )
    with only_writer(run.directory):
        replace_file(output, content.getvalue())
        JsonlLogger(run.directory.metrics, fatal=True).log_arrays(keys.INSIDE, views.arrays(), step)
        try_report(run.directory)
    n_heads = len(patterns) * patterns.shape[2]
    print(f"{run.directory.id}, step {step:,}: {n_heads} heads on {len(states)} held-out states")
    print_inside(views)
    print(f"patterns: {output}")
    if run.directory.report.is_file():
        print(f"report: {run.directory.report}")


def build_parser() -> ArgumentParser:
    """The options of ``physim attention``."""
    parser = ArgumentParser(
        prog="physim attention",
        exit_on_error=False,
        allow_abbrev=False,
        description="Write the attention patterns of a run's network on held-out states to a file, look inside its "
        "heads, and write its report again. docs/inside.md says what each view is.",
    )
    parser.add_argument("run", help="run directory or run id; `last` for the newest run")
    parser.add_argument("--runs", default="runs", help="folder that holds the run directories (default: %(default)s)")
    parser.add_argument("--checkpoint", type=int, help="step of one of the run's checkpoints (default: the last)")
    parser.add_argument(
        "--states", type=int, help=f"held-out states to look at (default: {N_STATES}, or as many as there are)"
    )
    parser.add_argument("--output", help="file of the patterns (default: attention-<step>.npz in the run)")
    return parser
