"""``state.json`` and the lock of a run."""

import json

import pytest

from lightning_physim.errors import InputError
from lightning_physim.tracking import RunDirectory
from lightning_physim.tracking.state import RunState, how_to_go_on, only_writer, read_state, write_state


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    (tmp_path / "r").mkdir()
    return RunDirectory(tmp_path / "r")


def test_a_state_comes_back_as_it_was_written(run):
    assert read_state(run) is None
    state = RunState("interrupted", 12, "SIGTERM")
    write_state(run, state)
    assert read_state(run) == state
    assert json.loads(run.state.read_text()) == {"state": "interrupted", "step": 12, "reason": "SIGTERM"}
    assert [path.name for path in run.path.iterdir()] == ["state.json"]


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", "{", '{"state": "running"}', '{"state": 1, "step": [], "reason": 0}',
        '{"state": "running", "step": Infinity, "reason": ""}',
    ],
)  # fmt: skip
def test_what_is_no_state_says_nothing(run, content):
    run.state.write_text(content)
    assert read_state(run) is None


def test_what_can_go_on_says_how(run):
    interrupted = RunState("interrupted", 3, "SIGINT")
    assert how_to_go_on(run, interrupted) == ""  # from nothing
    run.checkpoints.mkdir()
    (run.checkpoints / "step-00000003.ckpt").touch()
    words = f"; to go on: physim fit --ckpt_path {run.path}"
    assert how_to_go_on(run, interrupted) == words == how_to_go_on(run, RunState("failed", 3, "an error"))
    assert how_to_go_on(run, RunState("diverged", 3)) == "" == how_to_go_on(run, RunState("finished", 3))


def test_a_run_has_one_writer_who_removes_what_a_killed_one_left(run):
    (run.figures / "probe_snapshots").mkdir(parents=True)
    run.checkpoints.mkdir()
    halves = [
        run.path / "config.yaml.123.new", run.checkpoints / "a.ckpt.1.new", run.figures / "t.json.1.new",
        run.figures / "probe_snapshots" / "step-00000001.npz.9.new",
    ]  # fmt: skip
    others = [run.path / "notes.new", run.path / "config.yaml", run.figures / "a.1.new.json"]
    for path in (*halves, *others):
        path.touch()
    with only_writer(run):
        assert not any(path.exists() for path in halves) and all(path.exists() for path in others)
        with pytest.raises(InputError, match="got another at work in"), only_writer(run):
            pass
    with only_writer(run):  # and when it is through, the next one may
        pass
