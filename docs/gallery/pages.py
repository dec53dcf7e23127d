"""The pages of the gallery, made from the runs that lie beside this file: ``python docs/gallery/pages.py FOLDER``."""

import argparse
import re
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from lightning_physim import Archive, PhysicsSimulator
from lightning_physim.claims import Training, gather
from lightning_physim.claims.across import Cell, Effects, judge, measure
from lightning_physim.cli.shipped import SHIPPED
from lightning_physim.report import write_map, write_report, write_reproduction, write_runs
from lightning_physim.tracking import RunDirectory

HERE = Path(__file__).parent
RUNS = HERE / "runs.tar.gz"
"""Runs of ``demo``, seed 0, and of ``smoke``, seeds 0 to 4, without checkpoints. Seeds 1 to 4 have no figures."""
REPRODUCTION = HERE / "reproduction.zip"
"""Of ``physim reproduce --config=smoke --claims=abc --first_seed=15 --seeds=5``, by ``physim archive``."""
MAP = HERE / "map.zip"
"""Of ``physim reproduce --across --first_seed=100``, by ``physim archive``."""
FLOORS = {
    "no_pair": {"mse@20": 0.103, "energy_error@20": 0.795},
    "ballistic": {"mse@20": 3.42, "energy_error@20": 2.67},
}
"""Errors of position and energy of the floors after 20 intervals: the page that the command left has these digits."""


def write_gallery(folder: Path) -> list[Path]:
    """Write ``demo.html``, ``smoke.html``, ``comparison.html``, ``reproduction.html`` and ``map.html``; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as unpacked, tarfile.open(RUNS) as runs:
        runs.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.4 and later have it
        runs.extractall(unpacked)
        pages = [write_report(Path(unpacked) / name, folder / f"{name}.html") for name in ("demo", "smoke")]
        seeds = [RunDirectory(path) for path in sorted(Path(unpacked).glob("smoke*"))]
        pages.append(write_runs(folder / "comparison.html", seeds))
    return [*pages, reproduction_page(folder / "reproduction.html"), map_page(folder / "map.html")]


def reproduction_page(path: Path) -> Path:
    """The page of ``physim reproduce``; the pages of its trainings, which it leads to, are not here."""
    archive = Archive(REPRODUCTION)
    trainings = [
        Training(row["role"], seed, row["state"], "", archive.curves(run), n_parameters(archive, run), FLOORS)
        for (run, seed), row in archive.runs.iterrows()
    ]
    seeds = archive.runs[archive.runs["role"] == "seed"]
    facts = [f"{len(seeds)} seeds of smoke", f"{seeds['steps'].max():,} steps"]
    return write_reproduction(path, facts=facts, findings=gather(trainings), **about(archive))


def map_page(path: Path) -> Path:
    """The page of ``physim reproduce --across``."""
    archive = Archive(MAP)
    cells: dict[Cell, list[Effects]] = {}
    for (run, _), row in archive.runs.iterrows():
        cells.setdefault(Cell(row["layers"], row["attend_self"], row["world"]), []).append(measure(archive.curves(run)))
    seeds, steps = len(archive.runs) // len(cells), archive.runs["steps"].max()
    facts = [f"{seeds} seeds of smoke in every cell", f"{steps:,} steps"]
    return write_map(path, facts=facts, cells=cells, claims=judge(cells), **about(archive))


def about(archive: Archive) -> dict[str, str]:
    """Title, configuration and origin of the page of a study."""
    first = archive.runs.index.get_level_values("run")[0]
    title = re.match(r"[a-z]+-[a-z]+-[0-9a-f]{6}", first)[0]
    origin = archive.descriptor["lightning_physim"]["origin"]
    return {"title": title, "config": (SHIPPED / "smoke.yaml").read_text(), "origin": origin}


def n_parameters(archive: Archive, run: str) -> int:
    config = yaml.safe_load(archive.file(f"runs/{run}/config.yaml"))
    network = PhysicsSimulator(**config["model"])
    return sum(parameter.numel() for parameter in network.parameters())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    print(*write_gallery(parser.parse_args().folder), sep="\n")
