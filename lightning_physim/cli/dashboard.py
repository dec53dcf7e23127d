"""``physim dashboard push``: a project's dashboard in Weights & Biases."""

import json

from jsonargparse import ArgumentParser

from lightning_physim.cli.suggestions import suggesting
from lightning_physim.tracking.wandb_dashboard import Dashboard, outline


def dashboard(argv: list[str]) -> None:
    """Push the dashboard, or print its specification."""
    parser = ArgumentParser(
        prog="physim dashboard",
        description="Make a W&B workspace and report with the panels of the HTML report. A second push updates them, "
        "and sends nothing where nothing has changed.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("action", choices=["push"], help="What to do.")
    parser.add_argument("--entity", type=str, default="", help="W&B user or team; has to be given.")
    parser.add_argument("--project", type=str, default="lightning_physim", help="Project that the runs are in.")
    parser.add_argument(
        "--dry-run",
        "--dry_run",
        action="store_true",
        help="Print the names of its panels; needs no key, no network and no extra package.",
    )
    parser.add_argument("--json", action="store_true", help="With --dry-run: print the whole of it; needs the extra.")
    with suggesting(parser):
        given = parser.parse_args(argv)
    if given.dry_run and not given.json:
        print("\n".join(outline()))
        return
    made = Dashboard(given.entity or ("ENTITY" if given.dry_run else ""), given.project)
    if given.dry_run:
        print(json.dumps(made.specification(), indent=1))
        return
    pushed = made.push()
    if pushed.refusal:
        print(f"chart of error bands: W&B did not store {made.chart}, which it may have already: {pushed.refusal}")
    print(f"workspace: {pushed.workspace}\nreport: {pushed.report}\nchanged: {', '.join(pushed.changed) or 'nothing'}")
