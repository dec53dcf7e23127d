"""The map of ``physim reproduce --across``: effects of a training, rules over cells, and the page."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import yaml
from scipy.stats import ttest_1samp

from lightning_physim.claims.across import CELLS, Effects, judge, measure
from lightning_physim.cli.configs import resolve_config
from lightning_physim.sweeps import Across
from lightning_physim.sweeps.state import SweepState
from tests.helpers.fits import TINY, physim
from tests.helpers.studies import STEPS, a_run

HOLDS = Effects(used=2.0, enrichment=8.0, step=500.0, loss=0.4, directions=math.nan)


def test_the_effects_of_a_run_are_those_that_it_was_made_with():
    metrics = a_run(np.random.default_rng(0), ends=(0.9, 0.7, 0.12, 0.1), n_directions=60.0)
    for name in ("L0H0", "L0H1"):
        steps, values = metrics[f"geometry/{name}/d_eff/c0p1"]
        metrics[f"geometry/{name}/d_eff/c0p1"] = (steps, values / 4)
    metrics["val/floor_no_pair_colliding"] = (STEPS[1:], np.full(len(STEPS) - 1, 0.8))
    effects = measure(metrics)
    enrichment = metrics["probe/enrichment/L0H0"], metrics["probe/enrichment/L0H1"]
    assert effects.used == 2 and effects.loss == pytest.approx(0.25)
    assert effects.enrichment == pytest.approx(enrichment[0][1][-3:].mean())
    assert effects.step == min(steps[values >= 5][0] for steps, values in enrichment)
    assert effects.directions == pytest.approx(-np.log10(4), abs=0.03)


def test_a_network_without_collision_heads_has_no_step_and_no_ratio():
    effects = measure(a_run(np.random.default_rng(0), ends=(0.12,) * 4))
    assert effects.used == 0 and np.isnan([effects.step, effects.directions, effects.loss]).all()


@pytest.mark.parametrize(
    "without, verdict",
    [
        (0, "supported"),
        (7, "supported"),  # 29 of 36, no cell empty
        (8, "undecided"),
        (28, "undecided"),
        (29, "not supported"),  # 7 of 36
    ],
)
def test_heads_are_judged_over_all_trainings(without, verdict):
    every = [replace(HOLDS, used=float(i >= without)) for i in range(36)]
    cells = {cell: every[i::12] for i, cell in enumerate(CELLS)}  # one of each cell in turn
    claim, _ = judge(cells)
    assert (claim.verdict, claim.numbers["with a head"]) == (verdict, 36 - without)


def test_a_cell_without_any_head_keeps_the_map_from_holding():
    cells = {cell: [HOLDS] * 3 for cell in CELLS} | {CELLS[3]: [replace(HOLDS, used=0.0)] * 3}
    claim, _ = judge(cells)
    assert claim.verdict == "undecided" and claim.reason.endswith("cells without any: " + CELLS[3].label)
    del cells[CELLS[3]]
    assert judge(cells)[0].verdict == "undecided"  # a map with a hole says nothing of the whole


@pytest.mark.parametrize("shift, verdict", [(-0.3, "supported"), (0.3, "not supported"), (0.0, "undecided")])
def test_directions_are_judged_by_t_over_cells(shift, verdict):
    rng = np.random.default_rng(1)
    table = shift + rng.normal(0, 0.2, (12, 3))
    cells = {
        cell: [replace(HOLDS, directions=x) for x in row] + [replace(HOLDS, directions=np.nan)]
        for cell, row in zip(CELLS, table, strict=True)
    }
    _, claim = judge(cells)
    by_scipy = ttest_1samp(table.mean(1), 0.0)
    assert claim.verdict == verdict and claim.numbers["cells"] == 12
    assert claim.numbers["p"] == pytest.approx(by_scipy.pvalue) and claim.numbers["decades"] == pytest.approx(
        table.mean()
    )


def test_a_map_that_has_just_begun_has_no_p():
    _, claim = judge({cell: [replace(HOLDS, directions=0.1)] for cell in CELLS[:3]})
    assert claim.verdict == "undecided" and claim.reason.endswith("measured in 3 cells, and it takes 5")


def test_a_seed_of_every_cell_comes_before_the_next_seed(tmp_path):
    plan = Across(resolve_config("smoke"), first_seed=100)
    trials = plan.trials()
    assert len(trials) == 36 == len({trial.run_id for trial in trials})
    assert [trial.parameters["seed"] for trial in trials] == [100] * 12 + [101] * 12 + [102] * 12
    assert [plan.cell(trial) for trial in trials[:12]] == [*CELLS]
    words = plan.command(trials[13])
    assert {"--model.n_layers=1", "--model.attend_self=false", "--data.system.radius=0.035"} < {*words}
    assert words[-2:] == ["--trainer.max_steps=3000", "--seed_everything=101"]
    assert Across(resolve_config("smoke"), n_seeds=5).id() == plan.id()


@pytest.mark.slow
def test_the_commands_are_valid(tmp_path):
    said = physim("reproduce", "--across", "--seeds=1", "--check", cwd=tmp_path).stdout
    assert said.count("--config=") == 12 and said.count("--model.attend_self=true") == 6


def test_one_claim_alone_is_refused(tmp_path):
    refused = physim("reproduce", "--across", "--claims=c", cwd=tmp_path, code=2).stderr
    assert "got --claims=c: leave it out" in refused


def test_the_page_tells_every_cell_and_what_is_missing(tmp_path):
    """Of trainings that are there already, so that none is run."""
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    plan = Across(tmp_path / "tiny.yaml", n_seeds=1, runs=str(tmp_path / "runs"))
    state = SweepState(plan.folder)
    plan.folder.mkdir(parents=True)
    for trial in plan.trials():
        metrics = a_run(np.random.default_rng(trial.index), ends=(0.9, 0.12, 0.1, 0.1))
        metrics |= {
            key: (STEPS[1:], np.full(len(STEPS) - 1, 0.8)) for key in ("val/loss", "val/floor_no_pair_colliding")
        }
        run = tmp_path / "runs" / trial.run_id
        run.mkdir()
        steps = sorted({int(step) for steps, _ in metrics.values() for step in steps})
        known = {key: dict(zip(map(int, steps), values, strict=True)) for key, (steps, values) in metrics.items()}
        rows = [{"step": step} | {key: at[step] for key, at in known.items() if step in at} for step in steps]
        (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        state.record(trial, "finished", 0, 0.2)
    torn = tmp_path / "runs" / plan.trials()[5].run_id / "metrics.jsonl"
    torn.write_text("nothing\n" * 2)
    done = physim("reproduce", "--across", "--config=tiny.yaml", "--seeds=1", cwd=tmp_path)
    assert f"left out: {torn.parent.name}: " in done.stdout and "12 of 12 trials are finished" in done.stdout
    assert "11 of 11 trainings have a collision head that is used" in done.stdout
    page = (plan.folder / "map.html").read_text()
    for cell in CELLS:
        assert (f"<td>{cell.label}</td>" in page) == (cell != CELLS[5])
    assert "0.25" in page and "as many as others" in page
