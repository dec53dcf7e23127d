"""``physim report RUN``: write the report of a run again."""

import argparse

from lightning_physim.errors import InputError
from lightning_physim.report import print_summary, write_report
from lightning_physim.tracking import find_run


def report(argv: list[str]) -> None:
    """Write ``report.html`` of the named run and print its summary."""
    parser = argparse.ArgumentParser("physim report", description="Write the report of a run again, and sum it up.")
    parser.add_argument("run", help="run directory or run id; `last` for the newest")
    parser.add_argument("--runs", default="runs", help="folder that holds the run directories")
    given = parser.parse_args(argv)
    run = find_run(given.runs, given.run)
    if not run.metrics.is_file():
        raise InputError(f"a report needs metrics.jsonl; {run.path} has none")
    write_report(run.path)
    print_summary(run)
