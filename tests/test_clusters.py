"""The lines of docs/clusters.md, as far as one machine can execute them.

The script of an array of agents is run in tests/tracking/test_wandb_online.py, the jobs of submitit in
tests/sweeps/test_jobs.py.
"""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lightning_physim.cli.launching import chosen_launcher
from lightning_physim.cli.reproduce import build_parser as reproduce_parser
from lightning_physim.cli.sweep import build_parser as sweep_parser
from lightning_physim.cli.train import check
from lightning_physim.sweeps import SweepSpec
from tests.helpers.fits import only_run, values, without
from tests.helpers.processes import clean_environment

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"^```bash\n(.*?)\n```$", (ROOT / "docs" / "clusters.md").read_text(), re.M | re.S)
LINES = [line for block in BLOCKS for line in block.splitlines() if line[0] not in "#e"]


def test_every_command_of_ours_is_one_that_we_take():
    taken = []
    for words in map(shlex.split, LINES):
        start = next((i for i, word in enumerate(words) if word in ("sweep", "reproduce", "fit")), None)
        if start is None:
            continue
        name, *given = words[start:]
        taken.append(name)
        if name == "sweep":
            parsed = sweep_parser().parse_args(given)
            assert SweepSpec.read(ROOT / parsed.file).parameters
            chosen_launcher(parsed.launcher, parsed.slurm)
        elif name == "reproduce":
            parsed, options = reproduce_parser().parse_known_args(given)
            assert options == []
            chosen_launcher(parsed.launcher, parsed.slurm)
        elif "--ckpt_path" not in given:
            check([name, *given, "--trainer.accelerator=cpu"])
    assert sorted(taken) == ["fit"] * 5 + ["reproduce"] + ["sweep"] * 2


def test_scripts_are_scripts_and_the_image_is_run_as_its_file_says():
    for block in BLOCKS:
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)
    head = (ROOT / "Dockerfile").read_text()
    for line in ("docker build -t physim .", next(line for line in LINES if "docker run" in line)):
        assert f"#   {line}\n" in head and line in LINES


@pytest.mark.slow
@pytest.mark.ddp
def test_two_torchruns_train_and_go_on_as_one_process_with_two_ranks(tmp_path):
    tiny = without("llc", "geometry", "snapshots", "emergence")
    tiny["model"] = tiny["model"] | {"schedule": "constant"}  # the same whatever the number of steps
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    environment = clean_environment() | {
        "HOME": str(tmp_path), "OMP_NUM_THREADS": "1", "HEAD": "127.0.0.1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join(sys.path),
    }  # fmt: skip
    (typed,) = [line for line in LINES if line.startswith("torchrun")]
    for what, steps in (("--config tiny.yaml", 2), ("--ckpt_path last", 4)):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        line = typed
        for said, here in (("=4", "=1"), ("29500", str(port)), ("--config demo", what)):
            assert said in line
            line = line.replace(said, here)
        nodes = [
            subprocess.Popen(
                ["bash", "-c", f"exec {line} --trainer.max_steps={steps}"], cwd=tmp_path, text=True,
                env=environment | {"NODE": str(node)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )
            for node in range(2)
        ]  # fmt: skip
        said = [node.communicate(timeout=300)[0] for node in nodes]
        assert [node.returncode for node in nodes] == [0, 0], said
    run = only_run(tmp_path)
    assert json.loads((run / "state.json").read_text())["state"] == "finished"
    options = ("--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.accelerator=cpu", "--runs=here")
    subprocess.run(
        [sys.executable, "-m", "lightning_physim", "fit", "--config", "tiny.yaml", "--trainer.max_steps=4", *options],
        cwd=tmp_path, env=environment, check=True, capture_output=True,
    )  # fmt: skip
    (here,) = (tmp_path / "here").iterdir()
    whole, found = values(here), values(run)
    assert (4, "val/loss") in found and {key: found[key] for key in whole} == pytest.approx(whole)
