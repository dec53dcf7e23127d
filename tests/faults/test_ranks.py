"""Two processes train and one of them, or both, come to harm: none waits for ever, and nothing is lost."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.helpers.faults import differences
from tests.helpers.fits import TINY, only_run
from tests.helpers.processes import clean_environment

pytestmark = [pytest.mark.slow, pytest.mark.ddp]
STEPS = 24
TIMEOUT = 12.0
"""Seconds that a rank waits for one that has been stopped."""
PATIENCE = 60.0
"""Seconds that it waits where none is stopped: a busy machine is no fault."""
LIMIT = 180.0
"""Seconds that a training has to end, that of starting two processes included."""
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulated": {"trainer": {"accumulate_grad_batches": 2}},
    "bfloat16": {"trainer": {"precision": "bf16-mixed"}},
    "uneven": {"data": {"n_val": 7, "n_train": 41, "eval_batch_size": 3}},
}


class Ended(NamedTuple):
    code: int
    said: str
    seconds: float
    """From the harm to the end."""


def config(folder: Path, variant: str, timeout: float = PATIENCE) -> dict[str, Any]:
    trainer = {"devices": 2, "strategy": "ddp", "max_steps": STEPS} | VARIANTS[variant].get("trainer", {})
    data = {"batch_size": 8, "cache_dir": str(folder / variant)} | VARIANTS[variant].get("data", {})
    llc = TINY["llc"] | {"first_step": STEPS}  # after the resume, once
    changed = {"trainer": TINY["trainer"] | trainer, "data": TINY["data"] | data, "llc": llc, "rank_timeout": timeout}
    return TINY | changed


def has_come_to_harm(cwd: Path, session: int) -> bool:
    """Whether a training is about to be harmed, or has been: it has passed step 10."""
    return any(b'"step": 10,' in path.read_bytes() for path in cwd.glob("runs/*/metrics.jsonl"))


def run(cwd: Path, *words: str, command: str = "fit", harms: Callable[[Path, int], bool] = has_come_to_harm) -> Ended:
    """A command as a process of its own, whose ranks are all gone afterwards.

    Args:
        cwd: where.
        words: of the command.
        command: of ``physim``.
        harms: called with ``cwd`` and the number of the session until it says that the harm is done.
    """
    environment = clean_environment() | {"HOME": str(cwd), "OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    with (cwd / "said").open("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "lightning_physim", command, *words],
            cwd=cwd, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        harmed, is_harmed = time.monotonic(), False
        try:
            end = time.monotonic() + LIMIT
            while process.poll() is None:
                assert time.monotonic() < end, (cwd / "said").read_text()[-3000:]
                if not is_harmed:
                    is_harmed, harmed = harms(cwd, process.pid), time.monotonic()
                time.sleep(0.05)
            seconds = time.monotonic() - harmed
            until = time.monotonic() + 30.0
            while left := ranks_of(process.pid):
                assert time.monotonic() < until, f"still there: {left}"
                time.sleep(0.05)
        finally:
            for pid in ranks_of(process.pid):
                os.kill(pid, signal.SIGKILL)
    return Ended(process.returncode, (cwd / "said").read_text(), seconds)


def ranks_of(session: int) -> list[int]:
    """The processes of a session that are not through."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


@pytest.fixture(scope="module")
def baselines(tmp_path_factory) -> dict[str, Path]:
    """A run of each variant that is left alone, made when it is first asked for."""
    return Baselines(tmp_path_factory.mktemp("ranks"))


class Baselines(dict[str, Path]):
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __missing__(self, variant: str) -> Path:
        (self.folder / f"{variant}.yaml").write_text(yaml.safe_dump(config(self.folder, variant)))
        done = run(self.folder, "--config", f"{variant}.yaml", f"--runs={variant}-runs")
        assert done.code == 0, done.said[-3000:]
        (self[variant],) = (self.folder / f"{variant}-runs").iterdir()
        return self[variant]


def harmed(baselines: Baselines, variant: str, how: str, rank: int, step: int, cwd: Path) -> Ended:
    baselines[variant]
    harm = {"class_path": "tests.helpers.harm.Harm", "init_args": {"how": how, "rank": rank, "step": step}}
    content = config(baselines.folder, variant, _timeout(how))
    (cwd / "tiny.yaml").write_text(yaml.safe_dump(content | {"trainer": content["trainer"] | {"callbacks": [harm]}}))
    return run(cwd, "--config", "tiny.yaml")


def _timeout(how: str) -> float:
    return TIMEOUT if how == "SIGSTOP" else PATIENCE


def goes_on_to(baselines: Baselines, variant: str, cwd: Path) -> list[str]:
    """What differs after a resume without the harm."""
    (cwd / "tiny.yaml").write_text(yaml.safe_dump(config(baselines.folder, variant)))
    done = run(cwd, "--config", "tiny.yaml", "--ckpt_path", "last")
    return differences(baselines[variant], only_run(cwd)) if done.code == 0 else [done.said[-2000:]]


SIGNALLED = [
    (variant, how, rank, step)
    for variant in VARIANTS
    for how, step in (("SIGTERM", 11), ("SIGINT", 15))
    for rank in (0, 1, -1)
]


@pytest.mark.parametrize("variant, how, rank, step", SIGNALLED)
def test_a_signal_to_any_rank_ends_all_with_a_checkpoint(baselines, tmp_path, variant, how, rank, step):
    ended = harmed(baselines, variant, how, rank, step, tmp_path)
    assert ended.code == -getattr(signal, how), ended.said[-3000:]
    assert ended.seconds < 20.0
    state = json.loads((only_run(tmp_path) / "state.json").read_text())
    assert state == {"state": "interrupted", "step": step + 1, "reason": how}
    assert (only_run(tmp_path) / "checkpoints" / f"step-{step + 1:08d}.ckpt").is_file()
    assert "Traceback" not in ended.said
    assert goes_on_to(baselines, variant, tmp_path) == []


KILLED = [
    (variant, how, rank, 13)
    for variant in VARIANTS
    for how in ("SIGKILL", "raise", "SIGSTOP")
    for rank in (0, 1)
    if (how, rank) != ("SIGSTOP", 0)  # a stopped process ends nothing; the other rank does end
]


@pytest.mark.parametrize("variant, how, rank, step", KILLED)
def test_a_rank_that_is_lost_ends_the_run(baselines, tmp_path, variant, how, rank, step):
    ended = harmed(baselines, variant, how, rank, step, tmp_path)
    assert ended.code not in (0, None), ended.said[-3000:]
    assert ended.seconds < 20.0 + TIMEOUT
    if how == "raise":
        first = re.search(r"^(?:\[rank\d\]: )?(?:\w+Error|physim): .*", ended.said, re.M)
        assert first and f"injected on rank {rank}" in first[0], ended.said[-3000:]
    if rank == 1:
        (line,) = [line for line in ended.said.splitlines() if line.startswith("physim: ")]
        what = {"SIGKILL": "with exit code -9", "raise": "with exit code 1", "SIGSTOP": "without an answer"}[how]
        assert line.endswith(f"--rank_timeout={_timeout(how):g} s: rank 1 {what}"), ended.said[-3000:]
    assert goes_on_to(baselines, variant, tmp_path) == []


@pytest.mark.parametrize("how", ["SIGKILL", "SIGSTOP"])
def test_a_rank_that_is_lost_ends_an_estimate(baselines, tmp_path, how):
    def harms(cwd: Path, session: int) -> bool:
        if not re.search(r"^step \d+: ", (cwd / "said").read_text(), re.M):
            return False
        (rank_one,) = (
            pid
            for pid in ranks_of(session)
            if b"LOCAL_RANK=1" in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        )
        os.kill(rank_one, getattr(signal, how))
        return True

    copied = tmp_path / "runs" / "copied"
    shutil.copytree(baselines["plain"], copied)
    ended = run(
        tmp_path, str(copied), "--devices=2", "--accelerator=cpu", "--sgld.n_draws=1000",
        f"--rank_timeout={_timeout(how)}", command="llc", harms=harms,
    )  # fmt: skip
    assert ended.code == 1 and ended.seconds < 20.0 + TIMEOUT, ended.said[-3000:]
    (line,) = [line for line in ended.said.splitlines() if line.startswith("physim: ")]
    what = {"SIGKILL": "with exit code -9", "SIGSTOP": "without an answer"}[how]
    assert line.endswith(f"--rank_timeout={_timeout(how):g} s: rank 1 {what}"), ended.said[-3000:]
