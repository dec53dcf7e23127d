"""``physim llc RUN``: learning coefficients of a run's checkpoints, or of the settings that they depend on."""

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from pytorch_lightning import LightningModule

from lightning_physim import keys
from lightning_physim.callbacks import NETWORK_SGLD
from lightning_physim.callbacks.learning_coefficient import default_regions, log_traces, own_loss, own_residuals
from lightning_physim.checkpoints import UnusableCheckpoint, load_network
from lightning_physim.cli.arithmetic import set_arithmetic
from lightning_physim.cli.configs import read_config
from lightning_physim.cli.measurements import normalised
from lightning_physim.cli.ranks import add_rank_timeout, ending_ranks, rank_timeout, refused
from lightning_physim.cli.runs import chosen_checkpoints, chosen_run
from lightning_physim.cli.suggestions import suggesting
from lightning_physim.data import data_module
from lightning_physim.errors import Diverged, InputError
from lightning_physim.llc import Calibration, SGLDConfig, calibrate, estimate_llc
from lightning_physim.protocols import HasEstimationLoss, HasResiduals, offers, require
from lightning_physim.ranges import check_counts
from lightning_physim.report import print_summary, write_report
from lightning_physim.tracking import JsonlLogger, RunDirectory, only_writer


def llc(argv: list[str]) -> None:
    """Estimate at the checkpoints of a run and add rows to its ``metrics.jsonl``, or calibrate at one of them.

    Raises:
        InputError: no such run, step or region, or a value out of its range.
    """
    parser = build_parser()
    if not argv or argv[0].startswith("-"):
        if {"-h", "--help"} & set(argv):
            parser.print_help()
            return
        raise InputError(f"physim llc begins with a run; got {' '.join(argv) or 'nothing'}: type physim llc last")
    with suggesting(parser):
        run = chosen_run(parser.parse_args(argv).runs, argv[0])
    config = normalised(read_config(run.config), str(run.config)) if run.config.is_file() else {}
    if "data" not in config:
        raise InputError(f"physim llc needs the run's config.yaml with its data; {run.path} has none")
    parser.set_defaults(_settings_of(config))
    given = parser.instantiate(parser.parse_args(argv))
    checkpoints = chosen_checkpoints(run, given.steps)
    if given.calibrate:
        checkpoints = dict([max(checkpoints.items())])
    set_arithmetic(given.threads)
    timeout = rank_timeout(given.rank_timeout)
    strategy = DDPStrategy(timeout=timeout) if given.devices > 1 else "auto"
    check_counts(devices=given.devices)
    try:
        fabric = Fabric(accelerator=given.accelerator, devices=given.devices, strategy=strategy)
    except Exception as error:  # Lightning checks by whatever comes first
        raise refused(error) from error
    fabric.launch()
    # A row of a training that goes on could be lost where the log is opened.
    with (
        ending_ranks(fabric.strategy, given.rank_timeout),
        only_writer(run) if fabric.is_global_zero else nullcontext(),
    ):
        _measure(fabric, run, config, checkpoints, given)
        if fabric.is_global_zero:
            write_report(run.path)
            print_summary(run)


def build_parser() -> ArgumentParser:
    """The options of ``physim llc``."""
    parser = ArgumentParser(
        prog="physim llc",
        description="Estimate local learning coefficients at the checkpoints of a run, and write its report again. "
        "Settings are those of the run's section llc unless given.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("run", type=str, help="Run directory or run id; `last` for the newest.")
    parser.add_argument("--runs", type=str, default="runs", help="Folder that holds the run directories.")
    parser.add_argument(
        "--steps", type=list[int] | None, default=None, help="Steps with a checkpoint, [100, 1000]; all."
    )
    parser.add_argument("--regions", type=list[str] | None, default=None, help="Regions, [model, L0H1]; all.")
    parser.add_argument("--n_samples", type=int, default=512, help="Largest size of the estimation set.")
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="At the last of the checkpoints: estimates over a grid of step sizes, n_beta and localization, each a "
        "third, one and three times its value.",
    )
    parser.add_argument("--devices", type=int, default=1, help="Processes that share the chains.")
    parser.add_argument("--accelerator", type=str, default="auto", help="As of the Trainer: auto, cpu, gpu.")
    add_rank_timeout(parser)
    parser.add_argument("--threads", type=int | None, default=None, help="CPU threads that torch computes with.")
    parser.add_class_arguments(SGLDConfig, "sgld")
    parser.set_defaults({f"sgld.{name}": value for name, value in asdict(NETWORK_SGLD).items()})
    return parser


def _settings_of(config: dict[str, Any]) -> dict[str, Any]:
    """Defaults from the run: its threads, and what it estimated with while it trained."""
    section = config.get("llc") or {}
    settings = {f"sgld.{name}": value for name, value in (section.get("sgld") or {}).items()}
    if "n_samples" in section:
        settings["n_samples"] = section["n_samples"]
    return settings | {"threads": config.get("threads")}


def _measure(
    fabric: Fabric, run: RunDirectory, config: dict[str, Any], checkpoints: dict[int, Path], given: Namespace
) -> None:
    data = data_module(config["data"])
    if fabric.is_global_zero:
        data.prepare_data()
    fabric.barrier()
    data.setup()
    samples = tuple(tensor.to(fabric.device) for tensor in data.estimation_set(given.n_samples))
    logger = JsonlLogger(run.metrics, fatal=True)
    measured = False
    for step, path in checkpoints.items():
        # Every rank reads the same file and finds the same fault. One checkpoint does not end the others.
        try:
            module = load_network(path, fabric.device, config.get("model"))
            regions = _regions(module, given.regions)
            said = _measure_one(fabric, module, samples, regions, given, logger, step)
            measured = True
        except (UnusableCheckpoint, Diverged) as error:
            said = f"left out: {error}"
        if fabric.is_global_zero:
            print(f"step {step}: {said}")
    if not measured:
        raise InputError(f"learning coefficients need a checkpoint with finite weights; {run.path} has none, see above")


def _measure_one(
    fabric: Fabric,
    module: LightningModule,
    samples: tuple[Any, ...],
    regions: dict[str, Any],
    given: Namespace,
    logger: JsonlLogger,
    step: int,
) -> str:
    """Measure one network and log it; what there is to say. Collective: ranks share the chains."""
    require(module, HasEstimationLoss, "physim llc", "network", "give it one")
    residuals = own_residuals if offers(module, HasResiduals) else None
    if given.calibrate:
        grid = calibrate(module, own_loss, samples, regions, given.sgld, distributed=True, residual_fn=residuals)
        if fabric.is_global_zero:
            columns, rows = grid.table()
            logger.log_table(keys.LLC_CALIBRATION, columns, rows, step=step)
        return _recommendation(grid)
    result = estimate_llc(module, own_loss, samples, regions, given.sgld, distributed=True, residual_fn=residuals)
    if fabric.is_global_zero:
        logger.log_metrics(result.metrics(), step=step)
        log_traces([logger], result, step)
    failed = "; ".join(f"{name}: {', '.join(r.failures.values())}" for name, r in result.items() if r.failures)
    return f"{len(result)} regions in {result.seconds:.1f} s{f' ({failed})' if failed else ''}"


def _regions(module: LightningModule, names: list[str] | None) -> dict[str, Any]:
    regions = default_regions(module, whole_model=True)
    unknown = sorted(set(names or ()) - regions.keys())
    if unknown:
        raise InputError(f"--regions are {', '.join(regions)}; got {', '.join(unknown)}")
    return {name: regions[name] for name in names or regions}


def _recommendation(grid: Calibration) -> str:
    settings = grid.settings()
    if not settings:
        return "no setting passes its diagnostics; give more --sgld.n_draws or a larger --sgld.batch_size"
    words = (f"{name} {value:.3g}" for name, value in settings.items())
    return f"widest plateau at {', '.join(words)} (step_factor: times the automatic step size)"
