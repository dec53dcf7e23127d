"""The benchmarks' own arithmetic, and that they run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import table
from benchmarks.table import Row, last, store, worse

ROOT = Path(__file__).parents[1]


def test_a_ratio_says_how_many_times_better_whatever_the_unit():
    assert Row("step", 2.0, "ms", "peer", 3.0).ratio == 1.5
    assert Row("rate", 3.0, "M particle-steps/s", "peer", 2.0).ratio == 1.5
    assert Row("alone", 3.0, "ms").ratio is None
    assert Row("step", 2.0, "ms", "peer", 3.0).line() == "| step | 2 ms | peer | 3 | **1.50** |"


def test_what_was_stored_last_is_found_and_a_fallen_ratio_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "RESULTS", tmp_path / "results")
    assert last("step") is None
    before = [Row("a", 1.0, "ms", "peer", 2.0), Row("b", 1.0, "ms", "peer", 2.0), Row("c", 1.0, "ms")]
    monkeypatch.setattr(table, "version", lambda: "0.1.0")
    path = store("step", before)
    assert "cores" in json.loads(path.read_text())["step"]["machine"]
    assert last("step") == ("0.1.0", before)
    now = [
        Row("a", 1.0, "ms", "peer", 1.9),
        Row("b", 1.0, "ms", "peer", 1.5),
        Row("c", 9.0, "ms"),
        Row("new", 1.0, "ms"),
    ]
    assert worse(now, before) == ["b: 1.50, was 2.00"]
    kept = json.loads(path.read_text())
    kept["step"]["date"] = "2000-01-01"
    path.write_text(json.dumps(kept))
    monkeypatch.setattr(table, "version", lambda: "0.2.0")
    store("step", now)
    assert last("step") == ("0.2.0", now)


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    command, own = [sys.executable, "-m", "benchmarks", *arguments], {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=os.environ | own, capture_output=True, text=True)


def test_an_unknown_benchmark_is_refused_with_the_names(tmp_path):
    done = run("speed", cwd=tmp_path)
    assert done.returncode == 2 and "a benchmark is one of step, growth, simulator" in done.stderr


@pytest.mark.slow
def test_they_run_where_no_peer_is_installed_and_keep_nothing_when_quick(tmp_path):
    kept = sorted((ROOT / "benchmarks" / "results").glob("*"))
    done = run("--quick", "growth", "simulator", "probes", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    for line in ("| layers 8 |", "| 4096 discs, and 256 |", "| 32 particles, all |"):
        assert line in done.stdout
    assert sorted((ROOT / "benchmarks" / "results").glob("*")) == kept
