"""``physim measure RUN``: the measurements of a training, with other settings, at the checkpoints of a run."""

import sys
from itertools import count
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.cli import LightningArgumentParser
from pytorch_lightning.utilities import rank_zero_only

from lightning_physim.callbacks import Observer, observers
from lightning_physim.checkpoints import UnusableCheckpoint, check_fits
from lightning_physim.cli.evaluation import run_of
from lightning_physim.cli.loggers import make_loggers
from lightning_physim.cli.measurements import MEASUREMENTS
from lightning_physim.cli.ranks import ending_ranks, limit_waiting
from lightning_physim.cli.runs import chosen_checkpoints
from lightning_physim.cli.train import PhysimCLI, RunConfig, run_cli
from lightning_physim.errors import InputError
from lightning_physim.report import print_summary, try_report
from lightning_physim.stopwatch import Stopwatch
from lightning_physim.tracking import RunDirectory, RunState, new_loggers, only_writer, state_after, write_state

MEASURING = [name for name, measurement in MEASUREMENTS.items() if measurement.of_network]
"""The sections that a checkpoint can be measured by; the others are about training."""


class AtCheckpoint(pl.Callback):
    """After each validation: every :class:`Observer` of the trainer, in full, as after the last step of a training."""

    def __init__(self) -> None:
        self.observers: list[Observer] | None = None

    def on_validation_end(self, trainer: Trainer, pl_module: pl.LightningModule) -> None:
        if self.observers is None:
            self.observers = observers(trainer)
            for observer in self.observers:
                observer.setup(trainer, pl_module, "fit")
        with torch.enable_grad():  # an evaluation takes none
            for observer in self.observers:
                observer.observe(trainer, pl_module, final=True)


class MeasureCLI(PhysimCLI):
    """Validates every checkpoint of a run, and measures there what the command line names.

    Lightning's ``validate`` brings the network, the data, the processes and ``val/loss``; the state of its training
    loop, taken from the checkpoint, says at which step that is.
    """

    command = "measure"
    usage = "RUN --SECTION.OPTION=VALUE ... [--steps=[100,1000]] [--output=FOLDER]"

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        super().add_arguments_to_parser(parser)
        parser.add_argument(
            "--steps", type=list[int] | None, default=None, help="Steps with a checkpoint, [100, 1000]; None: all."
        )
        parser.add_argument(
            "--output",
            type=str | None,
            default=None,
            help="A new folder for what is measured, a run directory without a training; None: measured-1, -2 and so "
            "on inside the run.",
        )

    def before_instantiate_classes(self) -> None:
        super().before_instantiate_classes()
        if not self.arguments.asked_for.intersection(MEASURING):
            raise InputError(
                f"physim measure needs the name of a measurement, {', '.join(MEASURING)}; got none: "
                "type --probe=true, or one of its options such as --probe.radius=1.2"
            )
        for name in MEASUREMENTS:
            self._get(self.config, name).enabled = name in MEASURING and name in self.arguments.asked_for

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        measured = run_of(self._checkpoint)
        self.checkpoints = chosen_checkpoints(measured, self._get(self.config, "steps"))
        self.run = _new_directory(measured, self._get(self.config, "output"))
        if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            self.at_end.callback(self._forget)
            self.at_end.enter_context(only_writer(self.run))
        self.save_config_callback = RunConfig
        self.save_config_kwargs = {"run": self.run, "step": 0}
        given = make_loggers(self.wanted_loggers, self.run)
        loggers = [*new_loggers(self.run, wandb=False), *given]
        trainer = self._trainer(
            **kwargs,
            logger=loggers,
            default_root_dir=str(self.run.path),
            inference_mode=False,  # tensors made in it take no part in gradients, which learning coefficients need
            enable_progress_bar=False,
        )
        trainer.callbacks.append(AtCheckpoint())  # type: ignore[attr-defined]
        limit_waiting(trainer, self._get(self.config, "rank_timeout"))
        # What Lightning starts its other processes with: the run names the checkpoint.
        options = (word for word in self.arguments.words[1:] if not word.startswith("--ckpt_path="))
        sys.argv = [sys.argv[0], "measure", str(measured.path), *options]
        return trainer

    def validate(self, **_: Any) -> None:
        measured: list[int] = []
        try:
            with ending_ranks(self.trainer.strategy, self._get(self.config, "rank_timeout")):
                for step, path in self.checkpoints.items():
                    self._measure(step, path, measured)
        except BaseException as error:
            if measured:  # what was measured stays
                self._leave(state_after(error, measured[-1]))
            raise
        if not measured:
            raise InputError(f"measurements need a checkpoint that can be read; got none of {len(self.checkpoints)}")
        self._leave(RunState("finished", measured[-1]))

    def _measure(self, step: int, path: Path, measured: list[int]) -> None:
        """Measure one checkpoint, and add its step to those that are."""
        # Every rank reads the same file and finds the same fault. One checkpoint does not end the others.
        try:
            content = check_fits(path, self.model)
        except UnusableCheckpoint as error:
            rank_zero_only(print)(f"step {step}: left out: {error}")
            return
        # Not by `ckpt_path`: Lightning would give the observers back what they knew when they trained.
        self.model.load_state_dict(content["state_dict"])
        _stand_at(self.trainer, step, content["loops"]["fit_loop"])
        watch = Stopwatch()
        with watch:
            self.trainer.validate(self.model, datamodule=self.datamodule, verbose=False)
        rank_zero_only(print)(f"step {step}: {watch.seconds:.1f} s")
        measured.append(step)

    @rank_zero_only
    def _leave(self, state: RunState) -> None:
        assert self.run is not None
        self.kept = True
        write_state(self.run, state)
        try_report(self.run)
        if state.state == "finished":
            print_summary(self.run)
        else:
            print(f"{state.state} at step {state.step}: {self.run.path} has what was measured until then")


def measure(argv: list[str]) -> None:
    """``physim measure`` with the words that follow it, the run first.

    Raises:
        InputError: no such run or step, no measurement named, or a value out of its range.
    """
    if {"-h", "--help"} & {*argv}:
        run_cli(MeasureCLI, ["validate", *argv])
        return
    if not argv or argv[0].startswith("-"):
        raise InputError(
            f"physim measure begins with a run; got {' '.join(argv) or 'nothing'}: "
            "type physim measure last --probe=true"
        )
    if again := [word for word in argv[1:] if word.partition("=")[0] == "--ckpt_path"]:
        raise InputError(f"physim measure takes its run as the first word, {argv[0]}; got {again[0]} too: leave it out")
    run_cli(MeasureCLI, ["validate", f"--ckpt_path={argv[0]}", *argv[1:]])


def _stand_at(trainer: Trainer, step: int, state: dict[str, Any]) -> None:
    """Let a trainer that validates say the step of a checkpoint, at which numbers are logged; it would say 0.

    Args:
        trainer: of the validation.
        step: of the checkpoint.
        state: of the training loop, from the checkpoint, which is made before the loop counts its step as logged.
    """
    counted = state["epoch_loop.state_dict"] | {"_batches_that_stepped": step}
    trainer.fit_loop.load_state_dict(state | {"epoch_loop.state_dict": counted})


def _new_directory(measured: RunDirectory, output: str | None) -> RunDirectory:
    """The folder of a measurement, made by rank zero alone.

    Raises:
        InputError: it exists.
    """
    free = (path for i in count(1) if not (path := measured.path / f"measured-{i}").exists())
    path = Path(output) if output else next(free)
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            raise InputError(
                f"--output is a folder that is to be made; got {path}, which exists: name another"
            ) from None
    return RunDirectory(path)
