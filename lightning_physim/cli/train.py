"""``physim fit|validate|test|predict``: a LightningCLI that gives every fit a run directory."""

import logging
import shutil
import sys
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any, Literal

import yaml
from jsonargparse import Namespace
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from pytorch_lightning.utilities import rank_zero_info, rank_zero_only
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from tqdm.contrib.logging import logging_redirect_tqdm

from lightning_physim.callbacks import is_ending, leave_out_unused_hooks
from lightning_physim.checkpoints import check_fits, statistics
from lightning_physim.cli.announcement import announce
from lightning_physim.cli.arguments import HELP, Arguments, expand
from lightning_physim.cli.arithmetic import check_precision, set_arithmetic
from lightning_physim.cli.changes import changes, limits
from lightning_physim.cli.evaluation import evaluate, run_of
from lightning_physim.cli.evaluation import predict as predict_rollouts
from lightning_physim.cli.help import help_text
from lightning_physim.cli.loggers import brings_wandb, make_loggers
from lightning_physim.cli.measurements import MEASUREMENTS, add_sections, refuse_second, split_enabled, supported
from lightning_physim.cli.noise import UNSYNCED
from lightning_physim.cli.own_network import require_prediction
from lightning_physim.cli.ranks import (
    add_rank_timeout,
    ending_ranks,
    is_lightnings,
    limit_waiting,
    rank_timeout,
    refused,
)
from lightning_physim.cli.suggestions import suggesting
from lightning_physim.data import ParticleDataModule
from lightning_physim.errors import InputError
from lightning_physim.files import replace_file
from lightning_physim.loggers import log_configuration, run_loggers
from lightning_physim.module import PhysicsSimulator
from lightning_physim.ranges import check_counts, check_not_negative
from lightning_physim.report import LiveReport, print_summary, try_report
from lightning_physim.tracking import (
    RunDirectory,
    RunState,
    checkpoint_step,
    how_to_go_on,
    new_loggers,
    new_run,
    only_writer,
    read_state,
    state_after,
    write_origin,
    write_state,
)
from lightning_physim.tracking.provenance import provenance

SPEAKING = ("pytorch_lightning", "lightning_physim")
"""Loggers that may say something while a bar is drawn."""
SUBCOMMANDS = tuple(LightningCLI.subcommands())


class RunConfig(SaveConfigCallback):
    """Puts the complete configuration into the run directory and into every logger. Rank zero only, no collective."""

    def __init__(self, parser: LightningArgumentParser, config: Namespace, run: RunDirectory, step: int) -> None:
        super().__init__(parser, config, save_to_log_dir=False)
        self.run, self.step = run, step

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        text = self.parser.dump(self.config, skip_none=False)
        replace_file(self.run.config, text.encode(), durable=True)
        write_state(self.run, RunState("running", self.step))
        found = provenance(trainer)
        write_origin(self.run, found["provenance"])
        log_configuration(trainer.loggers, yaml.safe_load(text) | found)
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        for taker in run_loggers(trainer.loggers):
            taker.log_data({name: spec.directory(data.cache_dir) for name, spec in data.specs.items()})


class PhysimCLI(LightningCLI):
    """Lightning's CLI over :class:`PhysicsSimulator` and :class:`ParticleDataModule`.

    Args:
        arguments: the command line.
        at_end: what is to be done when the command ends, however it does.
    """

    command = ""
    """What the command is called; empty for the name that Lightning has for it."""
    usage = "[--config NAME_OR_PATH] [--ckpt_path last|RUN] [--OPTION=VALUE ...]"
    """The words after it."""

    def __init__(self, arguments: Arguments, at_end: ExitStack) -> None:
        self.arguments = arguments
        self.at_end = at_end
        self.resumed = arguments.resumed
        self.run: RunDirectory | None = None
        self.kept = self.resumed is not None
        """Whether the run has become one: a step was taken."""
        self.first_step = 0
        self.before: RunState | None = None
        # Abbreviations would be taken for whatever they happen to begin.
        quiet = {"exit_on_error": False, "allow_abbrev": False}
        own = arguments.own_network
        if not own:
            warnings.filterwarnings("ignore", UNSYNCED)  # until the command ends, which puts all filters back
        super().__init__(
            LightningModule if own else PhysicsSimulator,
            ParticleDataModule,
            subclass_mode_model=own,  # only then: it would take our own options out of the help
            save_config_callback=None,
            seed_everything_default=0,
            parser_kwargs={**quiet, **{subcommand: dict(quiet) for subcommand in SUBCOMMANDS}},
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--runs", type=str, default="runs", help="Folder that holds the run directories.")
        parser.add_argument(
            "--artifacts",
            type=list[Literal["checkpoints", "data"]],
            default=[],
            help="What W&B gets whole: [checkpoints], [data] or [checkpoints, data]. The report, and what the data are "
            "made of, it gets in any case.",
        )
        parser.add_argument(
            "--wandb",
            type=bool,
            default=True,
            help="Whether W&B gets the run. --trainer.logger=... adds loggers; --trainer.logger=false means none.",
        )
        parser.add_argument(
            "--threads",
            type=int | None,
            default=None,
            help="CPU threads that torch computes with; None: its own choice. Small networks gain nothing from more "
            "than two, and rounding depends on the number.",
        )
        add_rank_timeout(parser)
        add_sections(parser)
        if HELP & set(self.arguments.words):
            # Help shows the values that will be used. Otherwise they come as a configuration, which can be refused.
            parser.set_defaults(_flat(self.arguments.config))

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        command, *words = self.arguments.words
        asked = next((i for i, word in enumerate(words) if word in HELP), None)
        if asked is not None:
            topic = next((word for word in words[asked + 1 :] if not word.startswith("-")), None)
            print(help_text(self.command or command, topic, self._parser(command), self.usage), end="")
            raise SystemExit(0)
        with suggesting(self._parser(command)):
            super().parse_arguments(parser, args)

    def _parse_ckpt_path(self) -> None:
        # Lightning takes the options of the network from the checkpoint. Of one of the user's own it needs the class
        # too; that stands in the configuration of the run, with them.
        if self.arguments.own_network:
            return
        command = self.config.subcommand
        given = self.config[command].model.clone()
        super()._parse_ckpt_path()
        model, checkpoint = self.config[command].model, self.config[command].get("ckpt_path")
        for word in self.arguments.words if checkpoint is not None else ():
            name = word.partition("=")[0].removeprefix("--model.")
            if word.startswith("--model.") and name in given and model[name] != given[name]:
                raise InputError(
                    f"the network is that of the checkpoint; got model.{name}={given[name]}, which is {model[name]} "
                    f"in {checkpoint}: leave it out, or train another network"
                )

    def _set_seed(self) -> None:
        seed = self._get(self.config, "seed_everything")
        if type(seed) is int and not 0 <= seed < 2**32:
            raise InputError(f"seed_everything must be 0 to {2**32 - 1}; got {seed}")
        super()._set_seed()

    def before_instantiate_classes(self) -> None:
        rank_timeout(self._get(self.config, "rank_timeout"))
        set_arithmetic(self._get(self.config, "threads"))

    def instantiate_classes(self) -> None:
        """What LightningCLI does, with the measurements that are on and that the network supports."""
        config = self.config.clone()
        enabled = split_enabled(config[self.subcommand])
        self.wanted_loggers = config[self.subcommand].trainer.pop("logger")  # made once they can be told the run
        try:
            self.config_init = self.parser.instantiate(config)
        except ValueError as error:
            # A callback's refusal arrives inside the parser's long account of every type that it tried.
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, InputError):
                cause = cause.__cause__
            raise cause or error from error
        self.datamodule, self.model = self._get(self.config_init, "data"), self._get(self.config_init, "model")
        checkpoint = self._get(self.config, "ckpt_path")
        if self.subcommand != "fit" and checkpoint is not None and not self.arguments.own_network:
            self.datamodule.standardize_as(statistics(checkpoint))
        listed = self._get(self.config_init, "trainer").get("callbacks") or []
        refuse_second(listed if isinstance(listed, list) else [listed])
        chosen, left_out = supported(enabled, self.model, self.arguments.asked_for)
        for line in left_out if self.subcommand == "fit" else ():
            rank_zero_info(line)
        self._parser(self.subcommand).callback_keys = chosen
        self.trainer = self.instantiate_trainer()

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        checkpoint = self._get(self.config, "ckpt_path")
        if checkpoint is not None:
            check_fits(checkpoint, self.model)
        if self.subcommand != "fit":
            self.given_loggers = make_loggers(self.wanted_loggers, run_of(checkpoint), trained=True)
            # Lightning would log numbers of ours at step 0, under names that some loggers refuse.
            own = self.given_loggers if self.arguments.own_network else []
            return self._trainer(**kwargs, logger=own or False)
        self.run = self.resumed or new_run(self._get(self.config, "runs"), self.arguments.name)
        if self.resumed is None and rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            self.at_end.callback(self._forget)
            self.at_end.enter_context(only_writer(self.run))
        if self.resumed is not None:
            self.first_step = checkpoint_step(checkpoint) or 0
            self.before = read_state(self.resumed)
            for change in self.changes(self.resumed, "seed_everything", "data"):
                rank_zero_only(print)(f"the run goes on with {change}", file=sys.stderr)
        self.save_config_callback = RunConfig
        self.save_config_kwargs = {"run": self.run, "step": self.first_step}
        given = make_loggers(self.wanted_loggers, self.run)
        wandb = self._get(self.config, "wandb") and self.wanted_loggers is not False and not brings_wandb(given)
        resumed_from = checkpoint if self.resumed else None
        logger = [*new_loggers(self.run, resumed_from, self._get(self.config, "artifacts"), wandb), *given]
        trainer = self._trainer(**kwargs, logger=logger, default_root_dir=str(self.run.path))
        limit_waiting(trainer, self._get(self.config, "rank_timeout"))
        trainer.callbacks.append(LiveReport(self.run))  # type: ignore[attr-defined]  # last: what others log is in it
        return trainer

    def changes(self, run: RunDirectory, *sections: str) -> list[str]:
        """Options in some sections that are not those of a run."""
        config = {name: self._get(self.config, name) for name in sections}
        return changes(run, Namespace(config).as_dict())

    def _trainer(self, **kwargs: Any) -> Trainer:
        """Lightning's, whose refusals are the user's to read."""
        given = self._get(self.config_init, "trainer")
        # What Lightning takes, to divide by it later or to pass it over.
        check_counts(accumulate_grad_batches=given["accumulate_grad_batches"])
        check_counts(0, log_every_n_steps=given["log_every_n_steps"] or 0)
        check_not_negative(gradient_clip_val=given["gradient_clip_val"] or 0.0)
        if not self.arguments.own_network:
            check_precision(given["precision"])
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except InputError:
            raise
        except Exception as error:  # Lightning checks by whatever comes first: wrong types, missing devices, asserts
            raise refused(error) from error
        if trainer.world_size == 1 and rank_zero_only.rank > 0:  # type: ignore[attr-defined]
            raise InputError(
                f"a single process has rank 0; got {rank_zero_only.rank} from the environment: "  # type: ignore[attr-defined]
                "unset LOCAL_RANK, RANK and SLURM_PROCID"
            )
        return trainer

    def fit(self, **kwargs: Any) -> None:
        leave_out_unused_hooks(self.trainer, self.model)
        self._announce()
        with ending_ranks(self.trainer.strategy, self._get(self.config, "rank_timeout")):
            try:
                # What is said meanwhile stands above the bar, and does not run into it.
                with logging_redirect_tqdm([logging.getLogger(name) for name in SPEAKING]):
                    self.trainer.fit(**kwargs)
            except BaseException as error:
                if is_ending(self.trainer) and self.trainer.global_rank > 0:
                    return  # rank zero tells what has ended them all
                state = state_after(error, max(self.trainer.global_step, self.first_step))
                if self.before is not None and isinstance(error, InputError):
                    # What was refused has not gone on.
                    state = self.before if self.trainer.global_step <= self.first_step else state
                self._end(state)
                raise
        self._end(RunState("finished", self.trainer.global_step))

    @rank_zero_only
    def _announce(self) -> None:
        assert self.run is not None
        seed, shipped = self._get(self.config, "seed_everything"), self.arguments.as_shipped and self.resumed is None
        name = self.arguments.name
        announce(self.trainer, self.model, self.datamodule, self.run, name, seed, self.first_step, shipped)

    @rank_zero_only
    def _end(self, state: RunState) -> None:
        """Leave the run as what it has become. No collective: other ranks may be gone."""
        assert self.run is not None
        for logger in run_loggers(self.trainer.loggers):
            logger.finish()
        self.kept = (state.state == "finished" or state.step > 0) and not self.trainer.fast_dev_run  # type: ignore[attr-defined]
        if self.kept:
            write_state(self.run, state)
        if self.kept and state.state != "finished":
            try_report(self.run)  # which no longer waits for more
        if self.kept and state.state in ("interrupted", "diverged"):
            print(f"{state.state} at step {state.step}: {self.run.path}{how_to_go_on(self.run, state)}")

    def _forget(self) -> None:
        """Remove the directory of a new run that never took a step: it is no run."""
        if self.run is not None and not self.kept:
            shutil.rmtree(self.run.path, ignore_errors=True)

    def validate(self, **kwargs: Any) -> None:
        self._evaluate(self.trainer.validate, kwargs, stays=False)

    def test(self, **kwargs: Any) -> None:
        self._evaluate(self.trainer.test, kwargs, stays=True)

    def _evaluate(self, evaluation: Callable[..., Any], kwargs: dict[str, Any], stays: bool) -> None:
        # Numbers of an own network have names of their own, which Lightning's table shows, and its loggers have them.
        own = self.arguments.own_network
        evaluating = partial(evaluation, **kwargs | {"verbose": own})
        loggers = [] if own else self.given_loggers
        others: list[str] = []
        if stays:
            others = limits(self._get(self.config, "trainer")) + self.changes(run_of(self._checkpoint), "data")
        evaluate(self.trainer, evaluating, self._checkpoint, stays, others, loggers, table=not own)

    def predict(self, **kwargs: Any) -> None:
        if self.arguments.own_network:
            require_prediction(self.model)
        prediction = partial(self.trainer.predict, **kwargs | {"return_predictions": True})
        predict_rollouts(self.trainer, prediction, lambda: self.datamodule.split("test").states, self._checkpoint)

    @property
    def _checkpoint(self) -> str:
        return str(self._get(self.config, "ckpt_path"))

    @rank_zero_only
    def after_fit(self) -> None:
        assert self.run is not None
        if self.run.metrics.is_file():
            print_summary(self.run)


class DryCLI(PhysimCLI):
    """Builds everything that the options of a fit name, and runs nothing: a wrong option is found in a second."""

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        return self._trainer(**kwargs, logger=False)

    def fit(self, **kwargs: Any) -> None:
        """Nothing."""

    after_fit = validate = test = predict = fit


def fit(argv: list[str]) -> None:
    """``physim fit`` with the words that follow it."""
    run_cli(PhysimCLI, ["fit", *argv])


def validate(argv: list[str]) -> None:
    """``physim validate`` with the words that follow it."""
    run_cli(PhysimCLI, ["validate", *argv])


def test(argv: list[str]) -> None:
    """``physim test`` with the words that follow it."""
    run_cli(PhysimCLI, ["test", *argv])


def predict(argv: list[str]) -> None:
    """``physim predict`` with the words that follow it."""
    run_cli(PhysimCLI, ["predict", *argv])


def check(argv: list[str]) -> None:
    """Check the arguments of a training or evaluation, its command first; leaves nothing on disk.

    Raises:
        InputError, argparse.ArgumentError: what the command would refuse, as far as options alone can tell.
    """
    logging.disable(logging.INFO)  # what Lightning tells of seeds and devices
    try:
        run_cli(DryCLI, argv)
    finally:
        logging.disable(logging.NOTSET)


def run_cli(cli: type[PhysimCLI], argv: list[str]) -> None:
    """One command of Lightning's, with the words that follow it; what Lightning refuses is the user's to read."""
    typed = sys.argv
    try:
        with ExitStack() as at_end:

            def claim(run: RunDirectory) -> None:
                if cli is not DryCLI and rank_zero_only.rank == 0:  # type: ignore[attr-defined]
                    at_end.enter_context(only_writer(run))

            arguments = expand(argv, claim)
            # LightningCLI reads sys.argv, and so do the processes that a distributed strategy starts.
            sys.argv = [typed[0], *arguments.words]
            cli(arguments, at_end)
    except (ValueError, TypeError, MisconfigurationException) as error:
        if is_lightnings(error):
            raise refused(error) from error
        raise
    finally:
        sys.argv = typed


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration by the parser's own options: ``{"model.lr": ..., "data.system": ...}``."""
    flat: dict[str, Any] = {}
    for section, content in config.items():
        if section in ("model", "data", "trainer", *MEASUREMENTS):
            flat |= {f"{section}.{key}": value for key, value in content.items()}
        else:
            flat[section] = content
    return flat
