"""Long runs and long logs: memory and handles stay flat, and a page still opens."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.processes import clean_environment, start

pytestmark = [pytest.mark.slow, pytest.mark.faults]


def test_memory_and_handles_stay_flat(tmp_path):
    words = ("--config", "smoke", "--trainer.max_steps=20000", "--llc=false", "--data.n_train=200", "--data.n_test=20")
    process = start(*words, cwd=tmp_path, command="fit")
    seen: dict[int, tuple[int, int]] = {}
    while process.poll() is None:
        for metrics in tmp_path.glob("runs/*/metrics.jsonl"):
            rows = metrics.read_bytes().splitlines()
            step = json.loads(rows[-1])["step"] if rows and rows[-1].endswith(b"}") else 0
            try:
                pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
                seen[step // 1000] = pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir(f"/proc/{process.pid}/fd"))
            except OSError:
                break
        try:
            process.wait(1.0)
        except subprocess.TimeoutExpired:
            pass
    said, wrong = process.communicate()
    assert process.returncode == 0, wrong[-1500:]
    early, late = ([seen[k] for k in seen if low <= k < high] for low, high in ((2, 6), (14, 20)))
    print({k: (round(m / 1e6), n) for k, (m, n) in sorted(seen.items())})
    assert max(memory for memory, _ in late) < 1.1 * max(memory for memory, _ in early)
    assert max(handles for _, handles in late) <= max(handles for _, handles in early) + 2


MEASURED = """
import resource, sys, time
from lightning_physim.cli import main
code = main(["report", sys.argv[1]])
print("measured", code, time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_a_log_of_a_million_rows_opens(tmp_path):
    run, rng = tmp_path / "run", random.Random(0)
    run.mkdir()
    scores = ("collision_score", "partner_score", "enrichment", "auroc", "average_precision")
    with (run / "metrics.jsonl").open("w") as file:
        for step in range(1, 10**6 + 1):
            row = {"step": step, "time": step / 100, "train/loss": rng.random()}
            file.write(json.dumps(row | {f"k{i}": rng.random() for i in range(5)}) + "\n")
            if step % 2000 == 0:
                row = {f"probe/{score}/L{i}H{j}": rng.random() for score in scores for i in range(2) for j in range(4)}
                file.write(json.dumps({"step": step, "time": step / 100} | row) + "\n")
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(run)], capture_output=True, text=True, env=clean_environment(), timeout=300
    )
    code, seconds, kilobytes = done.stdout.splitlines()[-1].split()[1:]
    print(seconds, kilobytes)
    assert code == "0" and (run / "report.html").is_file()
    assert int(kilobytes) < 500_000  # the seconds are for whoever runs it with -s
