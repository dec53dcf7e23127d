"""``python -m tests.faults``: inject every fault, and write into ``docs/reliability.md`` what became of it.

It takes about an hour on two cores. Names of files limit it to these.
"""

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "reliability.md"
BEGIN, END = "<!-- made by python -m tests.faults -->", "<!-- end -->"

TOLD: dict[str, tuple[str, str]] = {
    "test_a_signal_at_any_row": ("SIGKILL, SIGTERM, SIGINT or SIGHUP at a random row", "sent from outside"),
    "test_a_signal_in_the_midst_of": (
        "SIGKILL, SIGTERM or SIGINT in a step, validation, probe, estimate, its burn-in, snapshot or checkpoint",
        "sent to itself in that call",
    ),
    "test_killed_while_it_writes": (
        "killed half-way through a row, a checkpoint, a replaced file; again at the resume", "patched calls",
    ),
    "test_an_exception_in_a_step": ("an error and lack of memory in a step", "raised"),
    "test_several_kills_in_one_run": ("four kills and signals in one run", "sent from outside"),
    "test_a_second_signal_ends_training_at_once": ("a signal twice", "sent to itself"),
    "test_a_run_has_one_writer": ("a second resume of a run that is alive", "second process"),
    "test_a_signal_to_any_rank_ends_all_with_a_checkpoint": (
        "two ranks: SIGTERM or SIGINT to one or both; plain, accumulated, bfloat16, uneven data",
        "sent to itself",
    ),
    "test_a_rank_that_is_lost_ends_the_run": (
        "two ranks: one killed, stopped or failed; the same four", "sent to itself, raised",
    ),
    "test_a_rank_that_is_lost_ends_an_estimate": (
        "two ranks of `physim llc`: one killed or stopped", "sent from outside",
    ),
    "test_a_bad_value_is_refused_or_taken_in_one_line": ("bad values of every option of `physim fit`", "command line"),
    "test_a_spoilt_file_of_a_run": ("a file of a run: empty, half, noise, holes, text, foreign, nested", "rewritten"),
    "test_a_checkpoint_of_something_else": ("a checkpoint that is foreign, of other shapes, of NaN", "rewritten"),
    "test_a_checkpoint_with_code_is_not_run": ("a checkpoint with code, through five commands", "pickle"),
    "test_a_row_that_is_none": ("a row of `metrics.jsonl` that is none", "inserted"),
    "test_a_run_that_is_not_as_it_was_left": ("a run directory with links, holes, foreign files", "rearranged"),
    "test_a_configuration_that_is_none": ("a configuration or sweep file that is none", "written"),
    "test_a_line_of_a_sweep_that_is_none": ("a line of `sweep.jsonl` that is none", "inserted"),
    "test_wandb_as_it_must_not_be_costs_a_line": ("W&B: wrong key, mode, address, project, tags", "environment"),
    "test_an_id_that_names_no_run_is_refused": ("`WANDB_RUN_ID` that leads elsewhere", "environment"),
    "test_any_folder_may_hold_runs_and_be_gone_on_with": ("folders with brackets, colons, 200 characters", "named"),
    "test_a_terminal_that_knows_few_letters": ("terminals in ASCII, Latin-1, code page 437", "environment"),
    "test_a_rank_without_the_others": ("`LOCAL_RANK`, `RANK`, `SLURM_PROCID` alone", "environment"),
    "test_a_report_that_fails_costs_a_line": ("a report that cannot be drawn or written", "patched call"),
    "test_a_full_disk_is_one_line_and_the_run_goes_on_elsewhere": ("disks of 4 kB to 1.5 MB for a run", "tmpfs"),
    "test_a_cache_that_does_not_fit": ("a disk too small for the data", "tmpfs"),
    "test_a_place_that_cannot_be": ("`--runs` where nothing can be", "named"),
    "test_two_that_make_the_same_data_make_it_once": ("two that make the same data", "second process"),
    "test_a_trial_that_gets_a_signal_from_outside_is_not_finished_and_goes_on": (
        "a trial of a sweep that gets SIGTERM from outside", "sent from outside",
    ),
    "test_a_trial_that_diverges_has_ended_and_is_named": ("a trial that diverges", "learning rate"),
    "test_a_trial_whose_file_cannot_be_read_does_not_end_the_sweep": ("a trial with an unreadable log", "rewritten"),
    "test_training_to_nan_ends_in_one_line_and_every_command_copes": ("training to NaN", "learning rate"),
    "test_a_reproduction_judges_the_rest_and_names_who_diverged": ("a reproduction with NaN and garbage", "rewritten"),
    "test_memory_and_handles_stay_flat": ("20 000 steps", "counted"),
    "test_a_log_of_a_million_rows_opens": ("a log of a million rows", "written"),
}  # fmt: skip
"""What each test injects, and how."""


def run(files: list[str]) -> tuple[Counter[tuple[str, str]], str]:
    """Outcomes of the tests of some files by test and outcome, and what pytest said."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-m", "slow", f"--junitxml={report}", *files],
            capture_output=True, text=True, cwd=HERE.parents[1],
        )  # fmt: skip
        found: Counter[tuple[str, str]] = Counter()
        for case in ET.parse(report).iter("testcase"):
            kinds = {child.tag for child in case}
            outcome = "lost" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "held"
            found[case.attrib["name"].split("[")[0], outcome] += 1
    return found, done.stdout


def main() -> int:
    found, said = run([str(HERE / name) for name in sys.argv[1:]] or [str(HERE)])
    lines = ["| fault | how injected | times | lost |", "|---|---|---|---|"]
    for name, (fault, how) in TOLD.items():
        held, lost, skipped = (found[name, outcome] for outcome in ("held", "lost", "skipped"))
        if held + lost + skipped:
            lost_of = f"{lost} of {held + lost}" if lost else "nothing" if held else "not tried here"
            lines.append(f"| {fault} | {how} | {held + lost} | {lost_of} |")
    untold = {name for name, _ in found} - TOLD.keys()
    assert not untold, f"say in TOLD what they inject: {untold}"
    table = "\n".join(lines)
    if len(sys.argv) == 1:
        head, rest = PAGE.read_text().split(BEGIN)
        PAGE.write_text(f"{head}{BEGIN}\n\n{table}\n\n{END}{rest.split(END)[1]}")
    print(table)
    print(*(line for line in said.splitlines() if line.startswith("FAILED")), sep="\n")
    return int(any(outcome == "lost" for _, outcome in found))


if __name__ == "__main__":
    sys.exit(main())
