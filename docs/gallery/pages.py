"""The pages of the gallery, made from the runs that lie beside this file: ``python docs/gallery/pages.py FOLDER``."""

import argparse
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from lightning_physim.report import write_report, write_runs
from lightning_physim.tracking import RunDirectory

RUNS = Path(__file__).with_name("runs.tar.gz")
"""Runs of ``demo``, seed 0, and of ``smoke``, seeds 0 to 4, without checkpoints. Seeds 1 to 4 have no figures."""


def write_gallery(folder: Path) -> list[Path]:
    """Write ``demo.html``, ``smoke.html`` and ``comparison.html``; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as unpacked, tarfile.open(RUNS) as runs:
        runs.extractall(unpacked, filter="data")
        pages = [write_report(Path(unpacked) / name, folder / f"{name}.html") for name in ("demo", "smoke")]
        seeds = [RunDirectory(path) for path in sorted(Path(unpacked).glob("smoke*"))]
        return [*pages, write_runs(folder / "comparison.html", seeds)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    print(*write_gallery(parser.parse_args().folder), sep="\n")
