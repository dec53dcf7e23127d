"""Many seeds of one configuration, and the scores of all their heads in one table: a row per run, head and step.

python examples/many_seeds.py --seeds 3                 # trains, a minute per seed of smoke, and writes heads.csv
python examples/many_seeds.py --runs runs/ID runs/ID    # only reads runs that are there
"""

import argparse
import subprocess
import sys
from pathlib import Path

import pandas

from lightning_physim import Run


def train(config: str, seed: int, options: list[str]) -> Path:
    """Train one seed by ``physim fit``, in a process of its own; its run directory."""
    command = [
        sys.executable,
        "-m",
        "lightning_physim",
        "fit",
        "--config",
        config,
        f"--seed_everything={seed}",
        *options,
    ]
    subprocess.run(command, check=True)
    return Run("last").directory.path


def table(runs: list[Path]) -> pandas.DataFrame:
    """Everything that was measured of the heads of some runs, with the index ``(run, seed, head, step)``."""
    opened = [Run(run) for run in runs]
    heads = {(run.directory.path.name, run.config["seed_everything"]): run.heads for run in opened}
    return pandas.concat(heads, names=["run", "seed"])


def main(arguments: list[str] | None = None) -> pandas.DataFrame:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="smoke", help="shipped configuration or a file (default: smoke)")
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ... (default: 3)")
    parser.add_argument("--runs", nargs="*", type=Path, help="read these in place of training")
    parser.add_argument("--output", type=Path, default=Path("heads.csv"))
    given, options = parser.parse_known_args(arguments)  # all other options go to physim fit
    runs = given.runs or [train(given.config, seed, options) for seed in range(given.seeds)]
    heads = table(runs)
    heads.to_csv(given.output)
    enrichment = heads["probe/enrichment"].dropna()
    last = enrichment.groupby(["run", "seed", "head"]).last().unstack("head")
    print(f"{len(heads)} rows in {given.output}; enrichment at the last step:\n{last.round(1)}")
    onset = enrichment[enrichment >= 3].reset_index("step").groupby("run")["step"].min()
    print(f"first head at 3 times uniform attention, by run: {onset.to_dict()}")
    return heads


if __name__ == "__main__":
    main()
