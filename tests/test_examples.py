"""The examples run, and leave what their text says."""

import importlib.util
import json
import re
import runpy
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import pandas
import pytest
import torch

from lightning_physim import Run
from lightning_physim.errors import InputError
from tests.helpers.processes import clean_environment

ROOT = Path(__file__).parents[1]
INDUCTION_HEADS = ROOT / "examples" / "induction_heads.py"


@pytest.fixture
def example(tmp_path, monkeypatch) -> ModuleType:
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location("induction_heads", INDUCTION_HEADS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_comes_after_the_earlier_copy_is_the_next_token(example):
    tokens, after = example.sequences(50, seed=3)
    known = after >= 0
    assert known.sum() == 50 * (example.COPY - 1)
    following = torch.roll(tokens, -1, dims=1)
    assert torch.equal(tokens.gather(1, after.clamp(min=0))[known], following[known])


@pytest.mark.filterwarnings("ignore")
def test_a_foreign_project_gets_the_whole_product(example):
    # In a process of its own, as wandb keeps the mode that it was set up with for all that come later.
    words = f"import runpy; print(runpy.run_path({str(INDUCTION_HEADS)!r})['main'](steps=10, quick=True))"
    environment = clean_environment() | {"WANDB_MODE": "disabled"}
    done = subprocess.run([sys.executable, "-c", words], env=environment, check=True, capture_output=True, text=True)
    path = Path(done.stdout.splitlines()[-1])
    run = Run(path)
    metrics = run.metrics
    for region in ("L0H0", "L0H1", "L1H0", "L1H1"):
        assert {f"probe/induction/{region}", f"llc/{region}/mean", f"geometry/{region}/trace"} <= {*metrics.columns}
    chance = metrics["probe/induction/L1H0"].iloc[0]
    assert 0.02 < chance < 0.2
    page = run.directory.report.read_text()
    assert all(heading in page for heading in ("learning coefficient", "Gauss")) and list(run.checkpoints)[-1] == 10
    mine = Run(path, network=example.SequenceModel)  # nothing else in the run says what it is
    tokens, _ = example.sequences(3, seed=1)
    patterns = mine.attention(tokens)
    assert patterns.shape == (2, 3, 2, tokens.shape[1], tokens.shape[1])
    assert torch.allclose(patterns.sum(-1), torch.ones(patterns.shape[:-1]))
    with pytest.raises(InputError, match=r"is of no PhysicsSimulator .*; Run\(..., network=CLASS\) opens one"):
        run.model()


def test_the_page_counts_the_lines_of_glue(example):
    page = (ROOT / "docs" / "own.md").read_text()
    text = INDUCTION_HEADS.read_text()
    marked = len(re.findall("# glue", text))
    probe = re.search(r"class InductionProbe.*?(?=\n\n\ndef _places)", text, re.S)[0].splitlines()
    assert f"{marked} marked places" in page and f"{len(probe)} lines: a probe of its own" in page


@pytest.mark.slow
def test_the_notebook_runs_and_its_head_is_used(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = json.loads((ROOT / "examples" / "first_head.ipynb").read_text())
    names: dict = {"__name__": "__main__"}
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), "first_head", "exec"), names)
    best = names["best"]
    assert names["final"][best] > 5, "a collision head"
    assert names["by_near"][best] > 0.2 * names["loss"] > 5 * abs(names["by_far"][best])
    assert names["estimates"][f"L0H{best}"].mean > 1


def test_many_seeds_are_one_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with tarfile.open(ROOT / "docs" / "gallery" / "runs.tar.gz") as runs:
        runs.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.4 and later have it
        runs.extractall("runs")
    script = runpy.run_path(str(ROOT / "examples" / "many_seeds.py"))
    heads = script["main"](["--runs", *map(str, sorted(Path("runs").glob("smoke*")))])
    assert heads.index.names == ["run", "seed", "head", "step"] and heads.index.is_unique
    assert set(heads.index.get_level_values("seed")) == {0, 1, 2, 3, 4}
    assert heads.loc["smoke", 0, "L0H2", 1000]["probe/enrichment"] == pytest.approx(7.5, abs=0.05)
    assert len(pandas.read_csv("heads.csv")) == len(heads)
