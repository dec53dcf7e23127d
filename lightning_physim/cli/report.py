"""``physim report RUN...``: write the page of a run again, or one that compares several."""

from pathlib import Path

from jsonargparse import ArgumentParser

from lightning_physim.cli.chosen import chosen_runs, sweep_folder
from lightning_physim.cli.suggestions import suggesting
from lightning_physim.report import RunContent, print_summary, write_comparison, write_report, write_runs
from lightning_physim.sweeps import read_trials


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
    folder = sweep_folder(given.runs, given.run[0])
    if folder and len(given.run) == 1 and given.output is None:
        print(f"comparison: {write_comparison(folder, None, read_trials(folder))}")
        return
    runs = [chosen.run for chosen in chosen_runs(given.runs, given.run)]
    if len(runs) > 1:
        print(f"comparison: {write_runs(given.output or Path(given.runs) / 'comparison.html', runs)}")
    else:
        content = RunContent(runs[0])  # read once
        print_summary(runs[0], content.metrics, write_report(content, given.output))
