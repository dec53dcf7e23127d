"""Files that are torn, foreign or hostile: one line, no traceback, no code of theirs is run, and the rest goes on."""

import json
import os
import pickle
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from tests.helpers.faults import forked, trouble
from tests.helpers.fits import TINY, only_run, physim

pytestmark = pytest.mark.slow
NESTED = b"[" * 100_000


class Code:
    """What a pickle runs when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch executed",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    data = TINY["data"] | {"cache_dir": "data", "n_train": 8, "n_val": 4, "n_test": 2, "batch_size": 8}
    llc = TINY["llc"] | {"first_step": 3}
    trainer = TINY["trainer"] | {"max_steps": 8, "log_every_n_steps": 2}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY | {"data": data, "llc": llc, "trainer": trainer}))
    physim("fit", "--config", "tiny.yaml", cwd=folder)
    return folder


@pytest.fixture
def copy(folder, tmp_path) -> Path:
    """The run, to be damaged; its data beside it."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True, symlinks=True)
    return only_run(tmp_path)


def damages(content: bytes) -> dict[str, bytes]:
    """A file, spoilt without knowing what it is."""
    rng = random.Random(0)
    middle = len(content) // 2
    return {
        "empty": b"",
        "half": content[:middle],
        "noise": rng.randbytes(4000),
        "noise at its end": content[:-100] + rng.randbytes(100),
        "a hole": content[:middle] + bytes(min(500, middle)) + content[middle + 500 :],
        "text": b"nothing that anybody wrote here",
        "nested": NESTED,
        "latin": "Größe: 3".encode("latin-1"),
        "utf-16": "model: {}".encode("utf-16"),
        "a list": b"[1, 2, 3]",
        "a number": b"3",
        "nulls": b"null\n" * 3,
        "a pickle with code": pickle.dumps(Code()),
    }


COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "fit": lambda run: ["fit", "--ckpt_path", str(run), "--trainer.max_steps=10"],
    "test": lambda run: ["test", "--ckpt_path", str(run)],
    "llc": lambda run: ["llc", str(run), "--sgld.n_draws=6", "--regions=[L0H0]"],
    "report": lambda run: ["report", str(run)],
    "last": lambda run: ["report", "last"],
}
FILES = (
    "config.yaml", "metrics.jsonl", "state.json", "checkpoints/step-00000008.ckpt", "figures/llc_trace.json",
    "figures/probe_attention_distance.json", "figures/emergence_heads.json",
    "figures/probe_snapshots/step-00000008.npz",
)  # fmt: skip


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", damages(b"x" * 1000))
@pytest.mark.parametrize("command", COMMANDS)
def test_a_spoilt_file_of_a_run(copy, tmp_path, file, damage, command):
    (copy / file).write_bytes(damages((copy / file).read_bytes())[damage])
    outcome = forked(*COMMANDS[command](copy), cwd=tmp_path)
    assert not trouble(outcome, []), outcome.said[-1500:]
    assert not list(tmp_path.glob("**/executed"))
    if command in ("report", "last") and file.startswith(("figures", "state", "config")):
        assert outcome.code == 0, outcome.said[-1500:]  # the numbers are there, and a page of them


def rewritten(run: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = max((run / "checkpoints").iterdir())
    content = torch.load(path, weights_only=True)
    torch.save(change(content), path)


CHECKPOINTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "weights alone": lambda content: content["state_dict"],
    "no loops": lambda content: {key: value for key, value in content.items() if key != "loops"},
    "other shapes": lambda content: (
        content | {"state_dict": {name: tensor.flatten()[:1] for name, tensor in content["state_dict"].items()}}
    ),
    "another network": lambda content: content | {"state_dict": {"weight": torch.zeros(3)}},
    "other options": lambda content: content | {"hyper_parameters": {"n_layerz": 3}},
    "a tensor": lambda content: torch.zeros(3),
    "NaN": lambda content: (
        content | {"state_dict": {name: tensor * float("nan") for name, tensor in content["state_dict"].items()}}
    ),
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
@pytest.mark.parametrize("command", ["fit", "test", "llc"])
def test_a_checkpoint_of_something_else(copy, tmp_path, kind, command):
    rewritten(copy, CHECKPOINTS[kind])
    outcome = forked(*COMMANDS[command](copy), cwd=tmp_path)
    assert not trouble(outcome, []), outcome.said[-1500:]
    if command == "llc":  # of the other checkpoints there are learning coefficients
        assert outcome.code == 0 and "step 8: left out" in outcome.said and "step 3: 1 regions" in outcome.said


def test_a_checkpoint_with_code_is_not_run(copy, tmp_path):
    path = max((copy / "checkpoints").iterdir())
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Code()))
        archive.writestr("archive/version", b"3")
    for name, command in COMMANDS.items():
        outcome = forked(*command(copy), cwd=tmp_path, TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD="1" if name == "test" else "0")
        assert not trouble(outcome, []), outcome.said[-1500:]
    assert not list(tmp_path.glob("**/executed"))


ROWS = (
    '{"step": 9, "time": 1.0, "val/loss": "abc"}', '{"step": 9, "val/loss": [1]}', '{"step": 9, "val/loss": null}',
    '{"step": 9, "val/loss": {"a": 1}}', '{"step": 9, "val/loss": 1' + "0" * 400 + "}", '{"step": "9"}',
    '{"step": 1.5}', '{"step": true}', '{"step": 1e3}', '{"step": 99999999999999999999}', '{"val/loss": 1}', "[]", "{",
    '"text"',
    "[" * 1000, '{"step": -5, "val/loss": 1}', '{"step": 9, "probe/enrichment/<script>": 1}', "\x00\x01",
    '{"step": 9, "val/loss": "NaN"}', '{"step": 9, "val/loss": "Infinity", "probe/enrichment/L0H0": "-Infinity"}',
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
@pytest.mark.parametrize("command", ["report", "fit"])
def test_a_row_that_is_none(copy, tmp_path, row, command):
    lines = (copy / "metrics.jsonl").read_text().splitlines()
    (copy / "metrics.jsonl").write_text("\n".join([*lines[:3], row, *lines[3:], ""]))
    outcome = forked(*COMMANDS[command](copy), cwd=tmp_path)
    assert not trouble(outcome, []), outcome.said[-1500:]
    if outcome.code == 2:
        assert "in line 4; remove that line" in outcome.lines[0]


PLACES: dict[str, Callable[[Path], object]] = {
    "a dangling link among checkpoints": lambda run: (run / "checkpoints" / "step-00000099.ckpt").symlink_to("nowhere"),
    "a directory among checkpoints": lambda run: (run / "checkpoints" / "step-00000099.ckpt").mkdir(),
    "a snapshot without a step": lambda run: (run / "figures/probe_snapshots/step-abc.npz").write_bytes(b"x"),
    "report.html is a directory": lambda run: (run / "report.html").unlink() or (run / "report.html").mkdir(),
    "figures is a file": lambda run: shutil.rmtree(run / "figures") or (run / "figures").write_text(""),
    "no checkpoints": lambda run: shutil.rmtree(run / "checkpoints"),
    "no metrics": lambda run: (run / "metrics.jsonl").unlink(),
    "no configuration": lambda run: (run / "config.yaml").unlink(),
    "a snapshot with a pickle": lambda run: np.savez(
        run / "figures/probe_snapshots/step-00000008.npz", attention=np.array([Code()])
    ),
    "a foreign table": lambda run: (run / "figures/llc_trace.json").write_text(
        json.dumps({"step": "<script>", "columns": ["a", 3], "data": [[1, None]]})
    ),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_run_that_is_not_as_it_was_left(copy, tmp_path, place, command):
    PLACES[place](copy)
    outcome = forked(*COMMANDS[command](copy), cwd=tmp_path)
    assert not trouble(outcome, []), outcome.said[-1500:]
    assert not list(tmp_path.glob("**/executed"))
    if command == "fit" and place in ("report.html is a directory", "figures is a file", "a foreign table"):
        assert outcome.code == 0, outcome.said[-1500:]  # extras are worth a line, not the training


CONFIGS = damages(yaml.safe_dump(TINY).encode()) | {
    "an unknown section": b"modell: {lr: 1}",
    "an unknown option": b"model: {lrr: 1}",
    "text for a section": b"model: text\n",
    "a list for a section": b"data: [1, 2]\n",
    "a number for a system": b"data: {system: 3}\n",
    "callbacks": b"trainer: {callbacks: [3]}\n",
    "a tag with code": b"model: !!python/object/apply:os.system ['touch executed']\n",
    "an anchor": b"a: &a {b: *a}\n",
    "tabs": b"model:\n\t lr: 3\n",
    "steps in words": b"trainer: {max_steps: many}\n",
    "a section twice": b"model: {lr: 1}\nmodel: {lr: 2}\n",
}
CONFIG_COMMANDS = {
    "fit": ["fit", "--config", "bad.yaml", "--trainer.max_steps=1", "--llc=false"],
    "simulate": ["simulate", "--config", "bad.yaml", "--data.n_train=2", "--data.n_val=2", "--data.n_test=2"],
    "reproduce": ["reproduce", "--config", "bad.yaml", "--check"],
    "sweep": ["sweep", "bad.yaml", "--check"],
}


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("command", CONFIG_COMMANDS)
def test_a_configuration_that_is_none(tmp_path, kind, command):
    (tmp_path / "bad.yaml").write_bytes(CONFIGS[kind])
    outcome = forked(*CONFIG_COMMANDS[command], cwd=tmp_path)
    assert not trouble(outcome, tmp_path.glob("runs/*")), outcome.said[-1500:]
    assert not list(tmp_path.glob("**/executed"))


SWEEP_LINES = ("garbage", "[]", '{"a": 1}', "null", "[" * 1000, "\x00", '{"trial": "x", "run_id": [], "state": 1}')


@pytest.mark.parametrize("line", SWEEP_LINES, ids=range(len(SWEEP_LINES)))
def test_a_line_of_a_sweep_that_is_none(tmp_path, line):
    sweep = {"method": "grid", "metric": {"name": "val/loss"}, "program": "true", "command": ["true"]}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(sweep | {"parameters": {"a": {"values": [1, 2]}}}))
    assert forked("sweep", "s.yaml", cwd=tmp_path).code == 0
    (state,) = tmp_path.glob("runs/*/sweep.jsonl")
    lines = state.read_text().splitlines()
    state.write_text("\n".join([lines[0], line, *lines[1:], ""]))
    for command in (["sweep", "s.yaml"], ["report", str(state.parent)]):
        outcome = forked(*command, cwd=tmp_path)
        assert outcome.code == 2 and not trouble(outcome, []), outcome.said[-1500:]
        assert "in line 2: remove that line" in outcome.lines[0]
