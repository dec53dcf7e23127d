"""What loggers that show the report are told beside it."""

from types import SimpleNamespace

import numpy as np
import pytest

from lightning_physim.loggers import RunLogger
from lightning_physim.report import LiveReport, live
from lightning_physim.report.summary import outcome
from lightning_physim.tracking import JsonlLogger, RunDirectory

ROWS = {
    1: {"probe/enrichment/L0H0": 1.0, "probe/enrichment/L0H1": 1.0, "probe/best_enrichment": 1.0},
    10: {"probe/enrichment/L0H0": 12.0, "probe/enrichment/L0H1": 1.0, "probe/best_enrichment": 12.0},
    20: {
        "probe/enrichment/L0H0": 7.0, "probe/enrichment/L0H1": 8.0, "probe/best_enrichment": 8.0,
        "llc/L0H0/mean": 2.0, "llc/L0H1/mean": 3.0, "val/loss_colliding": 0.5, "val/floor_ballistic_colliding": 2.0,
    },
    30: {"probe/enrichment/L0H0": 7.0, "probe/enrichment/L0H1": 20.0, "probe/best_enrichment": 20.0},
}  # fmt: skip


class Told(RunLogger):
    """Remembers what it is told."""

    shows_report = True

    def __init__(self) -> None:
        self.summaries: list[dict] = []
        self.alerts: list[tuple[str, str]] = []

    def log_summary(self, outcome):
        self.summaries.append(outcome)

    def alert(self, title, text):
        self.alerts.append((title, text))


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    return RunDirectory(tmp_path / "run")


def reported(run: RunDirectory, logger: Told, steps: list[int], resumed: bool = False) -> Told:
    """A training that measures and reports at some steps."""
    report, rows = LiveReport(run), JsonlLogger(run.metrics)
    trainer = SimpleNamespace(global_step=5 if resumed else 0, max_steps=-1, loggers=[logger])
    report.on_train_start(trainer)
    for step in steps:
        trainer.global_step = step
        rows.log_metrics(ROWS[step], step)
        report._write(trainer)
    return logger


def test_the_first_head_is_told_once_and_the_outcome_each_time(run):
    told = reported(run, Told(), [1, 10, 20, 30])
    ((title, text),) = told.alerts
    # What a head scores is the mean of its last measurements.
    assert title == "The first head has emerged" and text.startswith("run, step 10: 1 of 2 attention heads has learned")
    assert [summary["n_heads_5x"] for summary in told.summaries] == [0, 1, 1, 2]
    assert told.summaries[0] == {"n_heads_5x": 0.0, "best_enrichment": 1.0}
    step = told.summaries[-1].pop("first_step_5x")
    assert 1 < step <= 10
    wanted = {"n_heads_5x": 2.0, "best_enrichment": 20.0, "llc_best_head": 3.0, "loss_share": 0.25}
    assert told.summaries[-1] == wanted


def test_a_run_that_goes_on_does_not_tell_again(run):
    assert reported(run, Told(), [1, 10]).alerts
    assert reported(run, Told(), [20, 30], resumed=True).alerts == []


def test_the_viewer_goes_out_as_a_page_or_as_figures(run):
    class Pages(Told):
        takes_pages = True
        log_figures = log_page = lambda self, *given: vars(self).setdefault("given", []).append(given)

    class Figures(Told):
        log_figures = Pages.log_figures

    scene = {"states": np.zeros((1, 2, 4)), "touching": np.zeros((1, 2, 2), bool), "radii": np.full(2, 0.1)}
    scene |= {"box": np.ones(2), "interval": np.float32(0.1), "near": np.float32(1.5)}
    arrays = scene | {"attention": np.full((1, 1, 2, 2, 2), 127, np.uint8)}
    JsonlLogger(run.metrics).log_arrays("probe/snapshots", arrays, 1)
    figures, page = reported(run, Pages(), [1]).given
    assert page[0] == "report/viewer" and page[2] == 1 and "report/attention_map" not in figures[0]
    assert page[1].startswith("<!doctype html>") and 'id="viewer-data"' in page[1] and 'id="plotly"' not in page[1]
    ((drawn, step),) = reported(run, Figures(), [10]).given
    assert step == 10 and {"report/attention_map", "report/scores"} <= drawn.keys() and "report/viewer" not in drawn


def test_the_page_reads_itself_again_until_the_end_and_its_address_is_told(run, monkeypatch):
    said = []
    monkeypatch.setattr(live, "rank_zero_info", said.append)
    report, rows = LiveReport(run), JsonlLogger(run.metrics)
    trainer = SimpleNamespace(global_step=0, max_steps=100, loggers=[])
    report.on_train_start(trainer)
    assert said == [f"report, which reloads itself from step 10 on: {run.report.resolve().as_uri()}"]
    rows.log_metrics(ROWS[10], 10)
    trainer.global_step = 10
    report.stopwatch.seconds = 0.0
    report.on_train_batch_end(trainer)
    assert "location.reload()" in run.report.read_text()
    report.on_train_end(trainer)  # stopped at the step of the last report
    assert "location.reload()" not in run.report.read_text()


def test_nothing_is_made_up():
    assert outcome({}) == {}
    only_loss = {"val/loss_colliding": (np.array([1]), np.array([0.5]))}
    assert outcome(only_loss) == {}
