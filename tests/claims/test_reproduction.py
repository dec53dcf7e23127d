"""``physim reproduce``: what it trains, that it goes on where it was, and a page that tells what the runs say."""

import copy
import json
import os
import signal
from pathlib import Path

import pytest
import yaml

from lightning_physim.claims import undecidable
from lightning_physim.errors import InputError
from lightning_physim.sweeps import Reproduction
from tests.helpers.fits import TINY, physim
from tests.helpers.processes import start, until


def tiny(folder: Path, **trainer) -> Path:
    config = copy.deepcopy(TINY)
    config["trainer"] |= trainer
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_every_training_is_a_fit_of_its_own(tmp_path):
    options = ("--model.lr=1e-3", "--trainer.max_steps=30")
    plan = Reproduction(tiny(tmp_path), n_seeds=2, options=options, runs=str(tmp_path / "runs"))
    commands = {trial.run_id.removeprefix(plan.id() + "-"): plan.command(trial) for trial in plan.trials()}
    names = ["permuted-0", "seed-0", "seed-1", "permuted-1", "interaction-0", "no-attention-0"]
    assert list(commands) == names
    assert [(trial.job_type, trial.tags) for trial in plan.trials()[2:]] == [
        ("seed", ()), ("permuted", ("control",)), ("interaction", ("peer",)), ("no_attention", ("control",)),
    ]  # fmt: skip
    seed = commands["seed-1"]
    assert seed[2:4] == ["lightning_physim", "fit"] and seed[-1] == "--seed_everything=1"
    assert seed[-2] == "--trainer.max_steps=30"
    # The caller's options win over the constant rate, and the role's over both.
    assert seed.index("--model.lr=2e-3") < seed.index("--model.lr=1e-3")
    for name in ("interaction-0", "no-attention-0"):
        assert f"--model.architecture={name[:-2].replace('-', '_')}" in commands[name]
    assert all(
        ("--llc=false" in words) == (not name.startswith(("seed", "permuted"))) for name, words in commands.items()
    )
    assert all(
        ("--geometry.steps_per_decade=8" in words) == name.startswith("seed") for name, words in commands.items()
    )
    assert (
        commands["permuted-1"][-1] == "--seed_everything=1" and "--data.permute_targets=true" in commands["permuted-1"]
    )
    later = Reproduction(tiny(tmp_path), n_seeds=2, first_seed=5)
    assert [trial.run_id.removeprefix(later.id() + "-") for trial in later.trials()] == [
        "permuted-5", "seed-5", "seed-6", "permuted-6", "interaction-5", "no-attention-5"
    ]  # fmt: skip


def test_gradient_flow_is_trained_where_claim_c_is_asked_for(tmp_path):
    options = ("--model.lr=1e-3", "--trainer.max_steps=30")
    usual, flow, both = (
        Reproduction(tiny(tmp_path), n_seeds=2, options=options, claims=claims) for claims in ("ab", "c", "abc")
    )
    assert usual.id() == flow.id() == both.id()
    commands = {trial.run_id.removeprefix(flow.id() + "-"): flow.command(trial) for trial in flow.trials()}
    assert list(commands) == ["flow-fine-0", "flow-0", "flow-fine-1", "flow-1"]
    assert {trial.run_id for trial in both.trials()} == {trial.run_id for trial in (*usual.trials(), *flow.trials())}
    words = commands["flow-1"]
    assert words.index("--model.lr=1e-3") < words.index("--model.lr=0.25") and "--model.optimizer=rkc" in words
    assert "--trainer.max_steps=538" in words and "--trainer.max_steps=282" in commands["flow-fine-0"]


def test_a_training_is_long_enough_to_learn_collisions_unless_it_is_told_otherwise(tmp_path):
    lengths = {steps: Reproduction(tiny(tmp_path, max_steps=steps)).max_steps for steps in (30, 2999, 3000, 10_000)}
    assert lengths == {30: 3000, 2999: 3000, 3000: 3000, 10_000: 10_000}
    assert Reproduction(tiny(tmp_path), options=("--trainer.max_steps=40",)).max_steps == 40
    words = {
        trial.run_id[-5:]: plan.command(trial) for plan in [Reproduction(tiny(tmp_path))] for trial in plan.trials()
    }
    assert "--trainer.max_steps=3000" in words["eed-0"] and "--trainer.max_steps=3000" in words["ted-0"]


def test_what_few_seeds_cannot_decide_is_said(tmp_path):
    assert undecidable(2, "ab") == (
        "2 seeds cannot decide claim (a), which takes 3, nor (b), which takes 5: --seeds=5 or more"
    )
    assert undecidable(4, "ab") == "4 seeds cannot decide claim (b), which takes 5: --seeds=5 or more"
    assert undecidable(4, "c") == "4 seeds cannot decide claim (c), which takes 5: --seeds=5 or more"
    assert undecidable(5, "abc") == ""


def test_more_seeds_are_added_to_the_same_reproduction_and_other_options_make_another(tmp_path):
    few, more = (Reproduction(tiny(tmp_path), n_seeds=n) for n in (2, 4))
    assert few.id() == more.id()
    assert {t.run_id for t in few.trials()} < {t.run_id for t in more.trials()}
    assert Reproduction(tiny(tmp_path), options=("--artifacts=[checkpoints]",)).trials()
    assert Reproduction(tiny(tmp_path), options=("--model.lr=1e-3",)).id() != few.id()
    assert Reproduction(tiny(tmp_path, max_steps=31)).id() != few.id()


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"n_seeds": 0}, "--seeds must be at least 1; got 0"),
        ({"first_seed": -1}, "--first_seed must be at least 0; got -1"),
        ({"options": ("--ckpt_path=last",)}, "spelled --trainer.max_steps=1000; got --ckpt_path=last"),
        ({"options": ("--model.lr", "1")}, "got --model.lr"),
        ({"options": ("--trainer.max_steps=-1",)}, "trainings need an end"),
    ],
)
def test_bad_options_are_refused(tmp_path, options, rule):
    with pytest.raises(InputError, match=rule):
        Reproduction(tiny(tmp_path), **options)


def test_every_command_of_a_shipped_configuration_is_valid(tmp_path):
    said = physim("reproduce", "--config=smoke", "--seeds=2", "--check", cwd=tmp_path).stdout
    assert said.count("lightning_physim fit") == 6 and said.count("--seed_everything=0") == 4
    refused = physim("reproduce", "--check", "--seeds=1", "--model.lr=fast", cwd=tmp_path, code=2).stderr
    assert refused.count("\n") == 1 and "model.lr" in refused
    for more in ((), ("--across",)):
        refused = physim("reproduce", "--check", "--jobs=0", *more, cwd=tmp_path, code=2).stderr
        assert refused == "physim: --jobs must be at least 1; got 0\n"
    refused = physim("reproduce", "--seeds=two", cwd=tmp_path, code=2).stderr
    assert refused.count("\n") == 1 and "two" in refused


@pytest.mark.slow
def test_a_reproduction_that_is_killed_goes_on_and_its_page_tells_what_the_runs_say(tmp_path):
    tiny(tmp_path, max_steps=60)
    argv = ("--config=tiny.yaml", "--seeds=3", "--runs=out", "--threads=1", "--trainer.max_steps=60")
    killed = start(*argv, cwd=tmp_path, command="reproduce")
    until(lambda: list(tmp_path.glob("out/*-permuted-0/metrics.jsonl")), 240)
    children = Path(f"/proc/{killed.pid}/task/{killed.pid}/children").read_text().split()
    for pid in (killed.pid, *map(int, children)):
        os.kill(pid, signal.SIGKILL)
    killed.communicate()

    done = physim("reproduce", *argv, "--launcher=submitit-local", cwd=tmp_path)
    assert "8 trainings of tiny, of 60 steps for every seed\n3 seeds cannot decide claim (b)" in done.stdout
    assert done.stdout.count(" is job ") == 8 - done.stdout.count("are finished")
    (folder,) = tmp_path.glob("out/reproduce-tiny-??????")
    rows = [json.loads(line) for line in (folder / "sweep.jsonl").read_text().splitlines()]
    assert {row["run_id"] for row in rows if row["state"] == "finished"} == {row["run_id"] for row in rows}
    assert len({row["run_id"] for row in rows}) == 8

    # The verdicts of so short trainings are no; the numbers are those of the runs, by other code.
    claims = json.loads((folder / "claims.json").read_text())
    assert [claim["verdict"] for claim in claims] == ["not supported", "undecided", "undecided"]
    assert claims[0]["numbers"]["seeds"] == 3 and claims[0]["numbers"]["heads"] == 12
    untrained = []
    for seed in range(3):
        lines = (tmp_path / "out" / f"{folder.name}-seed-{seed}" / "metrics.jsonl").read_text().splitlines()
        first = next(row for row in map(json.loads, lines) if "probe/best_enrichment" in row)
        assert first["step"] == 0
        untrained.append(first["probe/best_enrichment"])
    assert claims[0]["numbers"]["highest enrichment, untrained"] == pytest.approx(max(untrained))

    page = (folder / "claims.html").read_text()
    for name in ("permuted-0", "interaction-0", "no-attention-0", "seed-2"):
        assert f'href="../{folder.name}-{name}/report.html"' in page
    for words in ("no-pair oracle", "free flight", "interaction network", "(c) Collision heads emerge as down one"):
        assert words in page
    table = json.loads((tmp_path / "out" / f"{folder.name}-seed-0" / "figures" / "rollout_floors.json").read_text())
    (oracle,) = (dict(zip(table["columns"], row, strict=True)) for row in table["data"] if row[0] == "no_pair")
    row = page[page.index("<td>no-pair oracle") :].split("</tr>")[0]
    longest = max(int(name.partition("@")[2]) for name in oracle if "@" in name)
    assert all(f">{oracle[f'{name}@{longest}']:.3g}<" in row for name in ("mse", "energy_error")), row
    for claim in claims:
        for part in claim["reason"].split("; "):
            assert part[1:] in page.replace("&#x27;", "'")
    again = physim("reproduce", *argv, cwd=tmp_path)
    assert "8 of 8 trials are finished" in again.stdout
