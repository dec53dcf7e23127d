"""Runs that a command is given by name."""

import pytest

from lightning_physim.cli.runs import chosen_run
from lightning_physim.tracking import RunDirectory


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    run = RunDirectory(tmp_path / "a-run")
    run.path.mkdir()
    run.metrics.write_text("")
    return run


def test_last_is_told_and_a_name_is_not(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("lightning_physim.cli.runs.find_run", lambda root, which: run)
    assert chosen_run(tmp_path, "last") == run
    assert capsys.readouterr().err == f"last: {run.path}\n"
    assert chosen_run(tmp_path, "a-run") == run
    monkeypatch.setenv("LOCAL_RANK", "1")
    chosen_run(tmp_path, "last")
    assert capsys.readouterr().err == ""
