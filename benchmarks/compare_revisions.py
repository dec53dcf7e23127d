"""Whether two revisions compute the same: the same trainings under both, on one machine, and every value compared.

    python benchmarks/compare_revisions.py BEFORE [AFTER]

Each argument is a revision, or a folder that holds a checkout; AFTER is the working tree unless given. Both are run by
this Python and see the dependencies that it has. Compared are all rows of ``metrics.jsonl`` (but times), all tables
and arrays under ``figures/`` and all weights of the last checkpoint. Nothing is committed: rounding differs between
machines.

Exit code 0: equal to the last bit, but for keys that ``--added`` or ``--renamed`` allows; 1: something differs.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

RUNS = {
    "smoke-0": ["--config=smoke", "--seed_everything=0"],
    "smoke-1": ["--config=smoke", "--seed_everything=1"],
    "demo-0": ["--config=demo", "--trainer.max_steps=600", "--data.n_train=600"],
    "blind-0": ["--config=smoke", "--model.architecture=no_attention", "--trainer.max_steps=100"],
    "pairs-0": ["--config=smoke", "--model.architecture=interaction", "--trainer.max_steps=100"],
}
"""Options of ``physim fit``. Two networks have no heads, and revisions before the sections need a list of callbacks."""
WITHOUT_HEADS = ("blind-0", "pairs-0")
HEADLESS = {
    "trainer": {
        "callbacks": [
            {"class_path": f"lightning_physim.callbacks.{name}"}
            for name in ("TrainingClock", "LogSpacedValidation", "Snapshots", "LogSpacedCheckpoint")
        ]
    }
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", help="revision, or folder of a checkout")
    parser.add_argument("after", nargs="?", help="the same; the working tree if left out")
    parser.add_argument("--only", nargs="+", default=list(RUNS), choices=list(RUNS), help="trainings to compare")
    parser.add_argument("--work", type=Path, help="folder that keeps the runs, and reuses those that it has")
    parser.add_argument(
        "--renamed", nargs="*", default=[], metavar="OLD=NEW", help="regular expression and its new text"
    )
    parser.add_argument("--added", nargs="*", default=[], metavar="REGEX", help="keys that only AFTER has")
    given = parser.parse_args()
    work = (given.work or Path(tempfile.mkdtemp(prefix="compare-"))).resolve()
    work.mkdir(parents=True, exist_ok=True)
    root = Path(__file__).resolve().parents[1]
    sides = {
        "before": checkout(given.before, work / "before-tree", root),
        "after": root if given.after is None else checkout(given.after, work / "after-tree", root),
    }
    renames = [tuple(rename.split("=", 1)) for rename in given.renamed]
    faults = 0
    for name in given.only:
        runs = [run(tree, work / side, name) for side, tree in sides.items()]
        old, new = ({key: value for key, value in values_of(path).items()} for path in runs)
        for pattern, text in renames:
            old = {re.sub(pattern, text, key): value for key, value in old.items()}
        extra = {key for key in new.keys() - old.keys() if any(re.search(allowed, key) for allowed in given.added)}
        found = differences(old, {key: value for key, value in new.items() if key not in extra})
        told = "equal" if not found else f"{len(found)} differ"
        print(f"{name}: {len(old)} values before, {len(new)} after, {len(extra)} added as allowed: {told}")
        for line in found[:20]:
            print(f"  {line}")
        faults += len(found)
    return int(faults > 0)


def checkout(which: str, folder: Path, root: Path) -> Path:
    """A folder of the revision; a folder is taken as it is."""
    if Path(which).is_dir():
        return Path(which).resolve()
    if not folder.is_dir():
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(folder), which], cwd=root, check=True)
    return folder


def run(tree: Path, folder: Path, name: str) -> Path:
    """The run directory of a training, made unless it is there."""
    path = folder / "runs" / name
    if not (path / "report.html").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        options = list(RUNS[name])
        if name in WITHOUT_HEADS and (tree / "lightning_physim" / "keys.py").is_file():
            options.append("--llc=false")
        elif name in WITHOUT_HEADS:
            headless = folder / "headless.yaml"
            headless.write_text(json.dumps(HEADLESS))
            options.insert(1, f"--config={headless}")
        environment = os.environ | {"PYTHONPATH": str(tree), "WANDB_MODE": "disabled", "WANDB_RUN_ID": name}
        command = [sys.executable, "-m", "lightning_physim", "fit", *options]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{name} under {tree} ends with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return path


def values_of(run_dir: Path) -> dict[str, Any]:
    """Every value that a run leaves, by what and where it is; clocks are left out."""
    values: dict[str, Any] = {}
    for line in (run_dir / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        step = row.pop("step")
        for key, value in row.items():
            if key != "time" and not key.startswith("time/"):
                values[f"{key} at {step}"] = value
    for path in sorted((run_dir / "figures").rglob("*")):
        # Older revisions leave the family of a table out of the name of its file.
        name = re.sub(r"^(probe|llc|emergence|report)_", "", path.relative_to(run_dir / "figures").as_posix())
        if path.suffix == ".json":
            table = json.loads(path.read_text())
            for i, row in enumerate(table["data"]):
                for column, value in zip(table["columns"], row, strict=True):
                    values[f"{name} {column} {i}"] = value
        elif path.suffix == ".npz":
            with np.load(path) as arrays:
                values |= {f"{name} {key}": array.tobytes() for key, array in arrays.items()}
    last = max((run_dir / "checkpoints").glob("*.ckpt"))
    weights = torch.load(last, map_location="cpu", weights_only=False)["state_dict"]
    values |= {f"{last.name} {key}": tensor.numpy().tobytes() for key, tensor in weights.items()}
    return values


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What is missing, added or changed, a line each."""
    lines = [f"missing: {key}" for key in sorted(old.keys() - new.keys())]
    lines += [f"added: {key}" for key in sorted(new.keys() - old.keys())]
    for key in sorted(old.keys() & new.keys()):
        if old[key] != new[key] and not (old[key] is None and new[key] is None):
            shown = ("bytes", "bytes") if isinstance(old[key], bytes) else (old[key], new[key])
            lines.append(f"changed: {key}: {shown[0]} -> {shown[1]}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
