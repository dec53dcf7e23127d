"""``physim report RUN...``: write the page of a run again, or one that compares several."""

from pathlib import Path

from jsonargparse import ArgumentParser

from lightning_physim.cli.runs import chosen_run
from lightning_physim.cli.suggestions import suggesting
from lightning_physim.errors import InputError
from lightning_physim.report import RunContent, print_summary, write_comparison, write_report, write_runs
from lightning_physim.sweeps import read_trials
from lightning_physim.tracking import RunDirectory


def report(argv: list[str]) -> None:
    """Write the page of the named runs; of one run alone, print its summary too."""
    parser = ArgumentParser(
        prog="physim report",
        exit_on_error=False,
        allow_abbrev=False,
        description="Write the report of a run again and sum it up; of several runs, one page that compares them.",
    )
    parser.add_argument("run", nargs="+", help="run directory, run id, or folder of a sweep; `last` for the newest run")
    parser.add_argument("--runs", default="runs", help="folder that holds the run directories (default: %(default)s)")
    parser.add_argument(
        "--output",
        help="HTML file (default: report.html in the run or sweep; RUNS/comparison.html for several runs)",
    )
    with suggesting(parser):
        given = parser.parse_args(argv)
    sweeps = {which: folder for which in given.run if (folder := _sweep(given.runs, which))}
    if sweeps and len(given.run) == 1 and given.output is None:
        (folder,) = sweeps.values()
        print(f"comparison: {write_comparison(folder, None, read_trials(folder))}")
        return
    runs: list[RunDirectory] = []
    for which in given.run:
        if which in sweeps:
            found = [RunDirectory(sweeps[which].parent / row["run_id"]) for row in read_trials(sweeps[which])]
            runs += [run for run in found if run.metrics.is_file()]
        else:
            runs.append(chosen_run(given.runs, which))
    for run in runs:
        if not run.metrics.is_file():
            raise InputError(f"a report needs metrics.jsonl; {run.path} has none")
    if len({run.path.resolve() for run in runs}) < len(runs):
        raise InputError(f"runs are compared with others; got one twice among {' '.join(given.run)}: name each once")
    if len(runs) > 1:
        print(f"comparison: {write_runs(given.output or Path(given.runs) / 'comparison.html', runs)}")
    elif runs:
        content = RunContent(runs[0])  # read once
        print_summary(runs[0], content.metrics, write_report(content, given.output))
    else:
        raise InputError(f"a report needs a run with metrics.jsonl; got {given.run[0]}, whose trials have none yet")


def _sweep(root: str, which: str) -> Path | None:
    """The folder of a sweep that is named, if it is one."""
    return next((path for path in (Path(which), Path(root) / which) if (path / "sweep.jsonl").is_file()), None)
