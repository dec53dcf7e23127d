"""What logging costs: the time that loggers take on the training thread, as a share of the time in training batches.

Both are measured in the same process, `time/log` and `time/train` of metrics.jsonl, with W&B offline and without. In
`time/log` is the CPU time of the thread that hands rows to wandb. What wandb's own threads take from training is not:
it shows in the CPU time of the whole process during training batches. Measurements, validations and the report are in
none of them. `python benchmarks/logging_cost.py smoke demo`
"""

import argparse
import subprocess
import sys
import tempfile
from os import environ
from pathlib import Path

from lightning_physim.tracking import read_metrics


def shares(config: str, mode: str, options: list[str]) -> tuple[float, float, float, int]:
    """Seconds in loggers and in training batches, CPU seconds in those, and the steps of a fit."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "lightning_physim", "fit", "--config", config, "--runs", folder, *options]
        subprocess.run(command, env=environ | {"WANDB_MODE": mode}, check=True, capture_output=True)
        (file,) = Path(folder).glob("*/metrics.jsonl")
        curves = read_metrics(file)
    log, train, cpu = (curves[f"time/{name}"][1][-1] for name in ("log", "train", "train_cpu"))
    return log, train, cpu, int(curves["time/train"][0][-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", nargs="*", default=["smoke", "demo"])
    given, options = parser.parse_known_args()
    print("| configuration | W&B | steps | ms per step in training | of CPU | in loggers | share |")
    print("|---|---|---|---|---|---|---|")
    for config in given.configs:
        for mode in ("offline", "disabled"):
            log, train, cpu, steps = shares(config, mode, options)
            each = [f"{1e3 * seconds / steps:.2f}" for seconds in (train, cpu, log)]
            print(f"| {config} | {mode} | {steps} | {' | '.join(each)} | {100 * log / train:.1f} % |", flush=True)


if __name__ == "__main__":
    main()
