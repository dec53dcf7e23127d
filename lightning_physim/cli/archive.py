"""``physim archive RUN...``: the numbers of some runs as one file, for others."""

from pathlib import Path

from jsonargparse import ArgumentParser

from lightning_physim.archive import write_archive
from lightning_physim.archive.writing import KEPT_CHECKPOINTS
from lightning_physim.cli.chosen import chosen_runs, sweep_folder
from lightning_physim.cli.suggestions import suggesting


def archive(argv: list[str]) -> None:
    """Write the archive of the named runs.

    Raises:
        InputError: what cannot be used.
    """
    parser = ArgumentParser(
        prog="physim archive",
        exit_on_error=False,
        allow_abbrev=False,
        description="Write the numbers of some runs as one zip of tables that others read without this package: heads, "
        "steps and seeds, with the meaning and unit of every column, and what made each run. docs/archive.md has more.",
    )
    parser.add_argument(
        "run", nargs="+", help="run directory, run id, or folder of a sweep or reproduction; `last` for the newest run"
    )
    parser.add_argument("--runs", default="runs", help="folder that holds the run directories (default: %(default)s)")
    parser.add_argument(
        "--only", type=list[str], default=["*"], help="patterns of the keys to keep: [probe/*,val/*] (default: all)"
    )
    parser.add_argument(
        "--checkpoints", choices=KEPT_CHECKPOINTS, default="none", help="that go along (default: %(default)s)"
    )
    parser.add_argument(
        "--output", help="the file (default: archive.zip in the run or sweep; RUNS/archive.zip for several runs)"
    )
    with suggesting(parser):
        given = parser.parse_args(argv)
    chosen = chosen_runs(given.runs, given.run)
    folder = Path(given.runs)
    if len(given.run) == 1:
        folder = sweep_folder(given.runs, given.run[0]) or chosen[0].run.path
    path = write_archive(given.output or folder / "archive.zip", chosen, given.only, given.checkpoints)
    print(f"archive: {path}, {len(chosen)} run{'s' if len(chosen) > 1 else ''}, {path.stat().st_size / 1e6:.1f} MB")
