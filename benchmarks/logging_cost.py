"""What logging costs: the time that loggers take on the training thread, as a share of the time in training batches.

Both are measured in the same process, `time/log` and `time/train` of metrics.jsonl, with W&B offline. Measurements,
validations and the report are not in either. `python benchmarks/logging_cost.py smoke demo`
"""

import argparse
import subprocess
import sys
import tempfile
from os import environ
from pathlib import Path

from lightning_physim.tracking import read_metrics


def shares(config: str, mode: str, options: list[str]) -> tuple[float, float, int]:
    """Seconds in loggers and in training batches, and the steps of a fit."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "lightning_physim", "fit", "--config", config, "--runs", folder, *options]
        subprocess.run(command, env=environ | {"WANDB_MODE": mode}, check=True, capture_output=True)
        (file,) = Path(folder).glob("*/metrics.jsonl")
        curves = read_metrics(file)
    return curves["time/log"][1][-1], curves["time/train"][1][-1], int(curves["time/train"][0][-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", nargs="*", default=["smoke", "demo"])
    given, options = parser.parse_known_args()
    print("| configuration | W&B | steps | ms per step in training | in loggers | share |\n|---|---|---|---|---|---|")
    for config in given.configs:
        for mode in ("offline", "disabled"):
            log, train, steps = shares(config, mode, options)
            each = f"{1e3 * train / steps:.2f} | {1e3 * log / steps:.3f} | {100 * log / train:.1f} %"
            print(f"| {config} | {mode} | {steps} | {each} |", flush=True)


if __name__ == "__main__":
    main()
