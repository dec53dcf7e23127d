"""Where a run comes from, on disk and at the end of a page."""

import json

from lightning_physim.report import write_report
from lightning_physim.tracking import RunDirectory, origin_line, read_origin, write_origin


def make_run(path, **found) -> RunDirectory:
    run = RunDirectory(path)
    path.mkdir()
    run.metrics.write_text(
        '{"step": 0, "time": 1.0, "val/loss": 1.0}\n{"step": 9, "time": 90.0, "val/loss": 0.5}\n{"ste'
    )
    write_origin(run, {"version": "0.1.0", "torch": "2.9", "device": "cpu", "data": {"train": "train-ab"}} | found)
    return run


def test_the_first_date_stays_and_the_rest_is_new(tmp_path):
    run = make_run(tmp_path / "a")
    content = json.loads(run.provenance.read_text())
    run.provenance.write_text(json.dumps(content | {"date": "2026-01-02T03:04:05+00:00"}))
    write_origin(run, {"version": "0.2.0"})
    assert read_origin(run) == {"version": "0.2.0", "date": "2026-01-02T03:04:05+00:00"}


def test_every_page_says_where_its_numbers_come_from(tmp_path):
    run = make_run(tmp_path / "a", commit="0123456789abcdef", dirty=True)
    line = origin_line([run])
    assert line.startswith("lightning_physim 0.1.0 · commit 0123456789, changed · torch 2.9 · cpu · data train-ab · 20")
    assert line.endswith(" · 1.5 min")
    assert line in write_report(run.path).read_text()


def test_of_several_runs_each_fact_stands_once(tmp_path):
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b", device="A GPU", world_size=2)]
    line = origin_line([*runs, RunDirectory(tmp_path / "none")])
    assert line.count("torch 2.9") == 1 and "cpu, 2 × A GPU" in line and line.endswith("3.0 min")


def test_an_older_run_has_none(tmp_path):
    run = RunDirectory(tmp_path)
    assert origin_line([run]) == ""
    for content in ("[1", "[1]", '{"data": [1]}'):
        run.provenance.write_text(content)
        assert read_origin(run) == {} and origin_line([run]) == ""
