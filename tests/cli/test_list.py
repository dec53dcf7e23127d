"""The list of the runs of a folder, whatever lies in it."""

import errno
import json
import os
import time
from pathlib import Path

import pytest
from filelock import FileLock

from lightning_physim.cli import main
from lightning_physim.cli.list import age
from lightning_physim.tracking import RunDirectory, RunState, write_state


def make_run(path, state: str, rows: list[dict], seconds_ago: float) -> RunDirectory:
    run = RunDirectory(path)
    run.checkpoints.mkdir(parents=True)
    (run.checkpoints / "step-00000100.ckpt").write_bytes(b"x" * 1_500_000)
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_state(run, RunState(state, 100))
    for file in (run.checkpoints / "step-00000100.ckpt", run.metrics, run.state):
        os.utime(file, (time.time() - seconds_ago,) * 2)
    return run


def test_runs_stand_newest_first_and_what_is_none_is_named(tmp_path, capsys):
    scores = [
        {"step": step, "probe/enrichment/L0H1": x, "probe/best_enrichment": x}
        for step, x in ((10, 1.0), (40, 7.25), (100, 7.25), (120, 7.25), (140, 7.25), (160, 7.25))
    ]
    make_run(tmp_path / "older", "finished", scores, 7200)
    killed = make_run(tmp_path / "newer", "running", [{"step": 3, "val/loss": 1.0}], 30)
    (tmp_path / "notes").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "metrics.jsonl").write_text("{bad\n{}\n")
    assert main(["list", str(tmp_path)]) == 0
    title, *rows, others = capsys.readouterr().out.splitlines()
    assert title.split()[:5] == ["run", "age", "state", "steps", "size"] and others == "no runs: notes"
    assert [row.split()[0] for row in rows] == ["broken", "newer", "older"]
    assert "unreadable: " in rows[0]
    assert rows[1].split()[1:7] == ["30", "s", "killed", "100", "1.5", "MB"]
    assert " ".join(rows[2].split()) == "older 2 h finished 160 1.5 MB 7.2 × uniform, 5 × at 40"
    with FileLock(killed.path / ".lock"):  # as the process that trains it has it
        main(["list", str(tmp_path)])
    assert "running" in capsys.readouterr().out


def test_a_folder_that_cannot_be_read_is_named_beside_the_list(tmp_path, capsys, monkeypatch):
    make_run(tmp_path / "open", "finished", [{"step": 1, "val/loss": 1.0}], 30)
    (tmp_path / "secret").mkdir()
    is_file = Path.is_file

    def locked(path: Path) -> bool:
        if path.parent.name == "secret":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", locked)
    assert main(["list", str(tmp_path)]) == 0
    _, row, last = capsys.readouterr().out.splitlines()
    assert row.startswith("open ") and last == "cannot be read: secret (Permission denied)"


def test_a_folder_without_runs_and_none_at_all(tmp_path, capsys):
    assert main(["list", str(tmp_path)]) == 0
    assert "no run in" in capsys.readouterr().out
    assert main(["list", str(tmp_path / "none")]) == 2
    assert "which is none" in capsys.readouterr().err


@pytest.mark.parametrize(
    "seconds, text", [(0, "0 s"), (59, "59 s"), (90, "2 min"), (7200, "2 h"), (86400 * 40, "40 d")]
)
def test_ages_have_their_largest_unit(seconds, text):
    assert age(seconds) == text
