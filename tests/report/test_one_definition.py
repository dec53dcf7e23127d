"""Every page counts the same collision heads, and shows every score that has a column."""

import json
import re

import numpy as np

from lightning_physim import keys
from lightning_physim.claims import Study, collision_heads_exist
from lightning_physim.curves import collision_heads
from lightning_physim.keys import Column, Key
from lightning_physim.report import head_table, headline, write_report, write_runs
from lightning_physim.tracking import JsonlLogger, RunDirectory, read_metrics


def write_run(path, enrichment: list[float]) -> RunDirectory:
    run = RunDirectory(path)
    logger = JsonlLogger(run.metrics)
    for step, value in enumerate(enrichment):
        row = {"probe/enrichment/L0H0": value, "probe/partner_score/L0H0": value / 10, "probe/best_enrichment": value}
        logger.log_metrics(row | {"val/loss_colliding": 1.0}, step=100 + 10 * step)
    run.config.write_text(json.dumps({"seed_everything": 0}))
    return run


def counts(run: RunDirectory, tmp_path) -> list[int]:
    """Collision heads as the run's page, the comparison and the claims count them."""
    metrics = read_metrics(run.metrics)
    page = write_report(run.path).read_text()
    bold = len(re.findall(r'<tr class="found">', page))
    compared = write_runs(tmp_path / "comparison.html", [run, run]).read_text()
    (of_run, _) = re.findall(r"<td>(\d) of 1</td>", compared)
    claim = collision_heads_exist(Study({"seed 0": metrics}))
    said = int(not headline(metrics).startswith("None of"))
    return [len(collision_heads(metrics)), bold, said, int(of_run), int(claim.numbers["collision heads"])]


def test_all_pages_count_the_same_collision_heads(tmp_path):
    assert counts(write_run(tmp_path / "once", [1.0, 3.0, 3.1, 6.0]), tmp_path) == [0] * 5
    assert counts(write_run(tmp_path / "for-good", [1.0, 5.5, 4.8, 6.0]), tmp_path) == [1] * 5
    assert np.isclose(np.mean([5.5, 4.8, 6.0]), 5.43, atol=0.01)


def test_no_headline_calls_a_head_weak_by_a_number_that_is_strong(tmp_path):
    run = write_run(tmp_path / "once", [1.0, 3.0, 3.1, 6.0])
    assert "None of 1 heads puts 5 times" in headline(read_metrics(run.metrics))
    assert "the highest, L0H0, puts 4.0 times" in headline(read_metrics(run.metrics))
    compared = write_runs(tmp_path / "comparison.html", [run, run]).read_text()
    assert "emerged in 0 of 2 runs" in compared


def test_a_head_that_rose_between_two_checkpoints_is_a_collision_head(tmp_path):
    """Checkpoints lie decades apart: the mean over them is no value of the trained network."""
    run = RunDirectory(tmp_path / "measured")
    for step, value in ((100, 1.2), (1000, 7.5)):
        JsonlLogger(run.metrics).log_metrics({"probe/enrichment/L0H0": value}, step)
    metrics = read_metrics(run.metrics)
    assert collision_heads(metrics) == ["L0H0"] and headline(metrics).startswith("1 of 1 attention heads has learned")


def test_a_score_is_in_the_table_of_heads_by_its_row_alone(tmp_path, monkeypatch):
    row = Key("probe/self_score/{head}", "a score", "1", column=Column("on itself", note="A note."))
    monkeypatch.setitem(keys.PROBE, row.quantity, row)
    run = write_run(tmp_path / "run", [1.0, 2.0])
    JsonlLogger(run.metrics).log_metrics({"probe/self_score/L0H0": 0.25}, step=10)
    page = write_report(run.path).read_text()
    assert "<th>on itself</th>" in page and "<td>0.250</td>" in page and "A note." in page
    assert head_table(read_metrics(run.metrics))[0]["self_score"] == 0.25
