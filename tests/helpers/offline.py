"""What lies in the files of an offline W&B run, by wandb's own reader."""

import json
import subprocess
import sys


def read_back(run):
    """What wandb's own reader finds in all its files of a run, oldest first."""
    found = []
    for directory in sorted((run.path / "wandb").glob("offline-run-*")):
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(directory)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found += [json.loads(line) for line in text.splitlines()]
    return found


def rows(records):
    return [record["history"]["item"] for record in records if "history" in record]
