"""The directory of one run: where it is, how it is made, and how a later command finds it again."""

import os
import re
import secrets
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lightning_physim.errors import InputError
from lightning_physim.files import stats


@dataclass(frozen=True)
class RunDirectory:
    """``runs/<id>/`` and the names of what lies in it; nothing is created by looking.

    Args:
        path: the directory. Its name is the run's id, here and in Weights & Biases.
    """

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def is_there(self) -> bool:
        """Whether a training has left anything in the directory."""
        return self.config.is_file() or self.metrics.is_file() or self.checkpoints.is_dir()

    @property
    def config(self) -> Path:
        """``config.yaml``, everything that made the run."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """``metrics.jsonl``, one row per :class:`JsonlLogger` call."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def report(self) -> Path:
        """``report.html``, one file that needs nothing else."""
        return self.path / "report.html"

    @property
    def state(self) -> Path:
        """``state.json``, whether it runs, and how it has ended."""
        return self.path / "state.json"

    @property
    def provenance(self) -> Path:
        """``provenance.json``, the code, data and machine behind it."""
        return self.path / "provenance.json"

    @property
    def figures(self) -> Path:
        """Data of figures that are no single number per step."""
        return self.path / "figures"


def new_run(root: str | Path = "runs", name: str | None = None) -> RunDirectory:
    """Make the directory of a new run under ``root``, on rank zero alone.

    The id is ``WANDB_RUN_ID`` where a sweep agent has set it. Otherwise it is UTC time, ``name`` and four random
    characters (``20261123-235001-demo-x7k2``). So ids sort by age, two runs never share one, and Weights & Biases takes
    it. Ranks that rank zero launches as its children inherit the id. Ranks launched from outside (``torchrun``, SLURM)
    get a path of their own. Nothing may write to it, as nothing but rank zero writes to a run directory.

    Args:
        root: directory of all runs.
        name: what the run is, for example the name of its configuration.

    Raises:
        InputError: the id that ``WANDB_RUN_ID`` asks for is no name that W&B takes, or is taken: appending a second
            run's rows to the first one's would spoil both.
    """
    from pytorch_lightning.utilities import rank_zero_only  # here: finding a run takes no Lightning

    root = Path(root)
    agent_id = os.environ.get("WANDB_RUN_ID")
    if agent_id and (agent_id in (".", "..") or not re.fullmatch(r"[^:;,#?/'\\\s]{1,128}", agent_id)):
        raise InputError(
            f"WANDB_RUN_ID names the directory of a run, without :;,#?/'\\ and spaces, in 128 characters at most; "
            f"got {agent_id[:140]}: set another one, or unset it"
        )
    rank = rank_zero_only.rank  # type: ignore[attr-defined]
    if rank > 0:
        return RunDirectory(root / (agent_id or os.environ.get("PHYSIM_RUN_ID") or f"rank-{rank}"))
    path = root / (agent_id or _new_id(name))
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        raise InputError(
            f"a new run needs a directory of its own, but {path} exists; resume it with --ckpt_path {path}"
            + (", or unset WANDB_RUN_ID" if agent_id else "")
        ) from None
    os.environ["PHYSIM_RUN_ID"] = path.name  # for the ranks that Lightning is about to launch
    return RunDirectory(path)


def find_run(root: str | Path, which: str | Path) -> RunDirectory:
    """An existing run.

    Args:
        root: directory of all runs.
        which: ``"last"`` for the run under ``root`` whose newest checkpoint is the newest of all, a path, or an id.

    Raises:
        InputError: no such run.
    """
    root = Path(root)
    if str(which) == "last":
        found = stats(root.glob("*/checkpoints/*.ckpt"))
        for checkpoint in sorted(found, key=lambda path: found[path].st_mtime, reverse=True):
            if _is_whole(checkpoint):
                return RunDirectory(checkpoint.parent.parent)
        raise InputError(f"'last' needs a run with a checkpoint, found no {root}/*/checkpoints/*.ckpt; name a run")
    for path in (Path(which), root / which):
        run = RunDirectory(path)
        if run.is_there:
            return run
    raise InputError(
        f"a run is a directory with config.yaml, metrics.jsonl or checkpoints/, got {str(which)!r}; "
        f"found none at {which} nor at {root / which}, type 'last' or one of `ls {root}`"
    )


def last_checkpoint(run: RunDirectory) -> Path:
    """The whole checkpoint with the highest step in its name (``step-00001200.ckpt``).

    Files without a step in their name (``last.ckpt``) count only where no other does, newest first. A torn file is
    passed over: a machine that dies, or a disk that fails, can leave one under the final name.

    Raises:
        InputError: there is none.
    """
    found = stats(run.checkpoints.glob("*.ckpt"))

    def age(checkpoint: Path) -> tuple[int, float]:
        step = checkpoint_step(checkpoint)
        return (-1 if step is None else step, found[checkpoint].st_mtime)

    candidates = sorted(found, key=age, reverse=True)
    for checkpoint in candidates:
        if _is_whole(checkpoint):
            return checkpoint
    torn = f", only unreadable {', '.join(path.name for path in candidates)}" if candidates else ""
    raise InputError(f"resuming needs a checkpoint, found none at {run.checkpoints}/*.ckpt{torn}; start a new run")


def checkpoints_by_step(run: RunDirectory) -> dict[int, Path]:
    """The checkpoints that have a step in their name, by step and in ascending order."""
    steps = {path: checkpoint_step(path) for path in run.checkpoints.glob("*.ckpt")}
    return dict(sorted((step, path) for path, step in steps.items() if step is not None))


def checkpoint_step(checkpoint: str | Path) -> int | None:
    """The step in a checkpoint's name: 1200 for ``step-00001200.ckpt`` and Lightning's ``epoch=1-step=1200.ckpt``."""
    step = re.search(r"step[-=](\d+)", Path(checkpoint).name)
    return int(step[1]) if step else None


def _new_id(name: str | None) -> str:
    readable = re.sub(r"[^a-z0-9]+", "-", (name or "").lower()).strip("-")[:40]
    suffix = "".join(secrets.choice("abcdefghijkmnpqrstuvwxyz23456789") for _ in range(4))
    return "-".join(part for part in (datetime.now(UTC).strftime("%Y%m%d-%H%M%S"), readable, suffix) if part)


def _is_whole(checkpoint: Path) -> bool:
    """Whether every byte of the zip archive that ``torch.save`` writes is there and has its checksum."""
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False
