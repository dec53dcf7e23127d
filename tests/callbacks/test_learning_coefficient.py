"""The callback: when it measures, that training does not notice, and that ranks share the work."""

import json
import warnings
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger
from torch import nn

from lightning_physim import PhysicsTransformer
from lightning_physim.callbacks import LearningCoefficient
from lightning_physim.callbacks.learning_coefficient import default_regions
from lightning_physim.errors import InputError
from lightning_physim.llc import SGLDConfig
from tests.helpers.plain import Diary, Plain, data, everything, loss_fn, train

QUICK = SGLDConfig(n_beta=50.0, localization=20.0, n_chains=4, n_draws=12, n_burn_in=4, batch_size=16)
MODEL = {"model": None, "first": {"net.0.weight": None, "net.0.bias": None}}


def make(**kwargs) -> LearningCoefficient:
    return LearningCoefficient(**({"sgld": QUICK, "loss_fn": loss_fn, "data": data(), "regions": MODEL} | kwargs))


def test_training_is_bit_identical_with_and_without_it(tmp_path):
    diary, other = Diary(), Diary()
    expected = everything(*train([diary], tmp_path))
    llc = make(first_step=1, steps_per_decade=10)
    got = everything(*train([llc, other], tmp_path))
    assert set(llc.results) == {1, 2, 3, 4, 5, 6, 8, 10, 12}
    assert got.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(got[name], tensor), name
    assert other.pages == diary.pages


def test_it_measures_on_its_schedule_only_and_logs_every_promised_key(tmp_path):
    llc = make(steps=[2, 7])
    train([llc], tmp_path, logger=CSVLogger(tmp_path, name="", version=""))
    assert sorted(llc.results) == [2, 7]
    header, *lines = (tmp_path / "metrics.csv").read_text().splitlines()
    for quantity in ("mean", "mcse", "rhat", "ess", "step_stability", "noise_ratio", "n_dead", "converged"):
        assert f"llc/model/{quantity}" in header.split(",") and f"llc/first/{quantity}" in header.split(",")
    assert "time/llc" in header.split(",")
    assert len(lines) == 2
    late = make(first_step=5, steps_per_decade=4)
    train([late], tmp_path)
    assert sorted(late.results) == [6, 10, 12]


def test_a_budget_thins_the_schedule(tmp_path, monkeypatch):
    clock = iter(range(10**6))
    # A clock that ticks once at each look makes a training step one second and an estimate a few.
    monkeypatch.setattr("lightning_physim.stopwatch.time.perf_counter", lambda: float(next(clock)))
    counts = {}
    for overhead in (0.2, 0.6, 1e6):
        llc = make(first_step=1, steps_per_decade=10, max_overhead=overhead)
        train([llc], tmp_path, steps=40)
        counts[overhead] = len(llc.results)
        assert 40 in llc.results
        assert llc.seconds <= overhead * llc.training.seconds + 2 * llc.seconds / llc.n_estimates
    assert counts[0.2] < counts[0.6] < counts[1e6] == 14


@pytest.mark.parametrize("training, affordable", [(6.01, True), (5.99, False)])
def test_the_budget_pays_for_what_there_was_and_one_more(training, affordable):
    llc = make(first_step=1, steps_per_decade=1, max_overhead=0.5)
    llc.stopwatch.seconds, llc.n_estimates, llc.training.seconds = 10.0, 2, training
    # Ten steps of a hundred are half of the decades: half of 100 steps' time, halved, against 15 s for three estimates.
    trainer = SimpleNamespace(
        global_step=10, estimated_stepping_batches=100, strategy=SimpleNamespace(broadcast=lambda value: value)
    )
    assert llc.due(trainer, final=False) == affordable


def test_estimates_go_on_where_they_were_after_a_resume(tmp_path):
    llc = make(first_step=1, steps_per_decade=3)
    pl.seed_everything(1, verbose=False)
    trainer, _ = train([llc], tmp_path, steps=5)
    trainer.save_checkpoint(tmp_path / "step-5.ckpt")
    resumed = make(first_step=1, steps_per_decade=3)
    resumed.load_state_dict(json.loads(json.dumps(llc.state_dict())))
    assert resumed.seconds == llc.seconds and resumed.n_estimates == llc.n_estimates == 3
    assert resumed.n_regions == llc.n_regions == 6 and resumed.n_failed == llc.n_failed
    assert resumed.training.seconds == llc.training.seconds
    assert resumed.last_step == 5


@pytest.mark.parametrize("failed, warned", [(2, False), (3, True)])
def test_it_warns_where_more_than_a_fifth_of_the_estimates_fail(tmp_path, failed, warned):
    llc = make(steps=[])
    trainer, module = train([llc], tmp_path, steps=1)
    llc.n_regions, llc.n_failed = 10, failed
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        llc.on_train_end(trainer, module)
    assert any(f"LLC: {failed} of 10 estimates fail" in str(each.message) for each in told) == warned


def test_heads_are_measured_and_the_model_where_it_is_asked_for_or_there_are_none():
    network = PhysicsTransformer(1, 2, 8, 16, d_embedding=8)
    assert list(default_regions(network, whole_model=False)) == ["L0H0", "L0H1"]
    assert list(default_regions(network, whole_model=True)) == ["model", "L0H0", "L0H1"]
    assert list(default_regions(nn.Linear(2, 2), whole_model=False)) == ["model"]


def test_two_processes_train_alike_with_and_without_it_and_share_the_chains(tmp_path, on_ranks):
    results = on_ranks(_ddp_fit, str(tmp_path))
    for with_llc, without, _ in results:
        assert with_llc.keys() == without.keys()
        for name in without:
            assert torch.equal(with_llc[name], without[name]), name
    # One process with the same weights and all four chains gives the same rows.
    (_, _, traces), (_, _, others) = results
    assert traces.keys() == others.keys()
    for name in traces:
        assert torch.equal(traces[name], others[name]), name
    alone = estimate_alone(results[0][0])
    for name, trace in traces.items():
        assert trace.shape == (4, 12)
        torch.testing.assert_close(trace, alone[name], rtol=1e-4, atol=1e-4)


def estimate_alone(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    from lightning_physim.llc import estimate_llc

    model = Plain()
    model.load_state_dict({k.removeprefix("weights/"): v for k, v in state.items() if k.startswith("weights/")})
    return {name: r.trace for name, r in estimate_llc(model, loss_fn, data(), MODEL, QUICK).items()}


def _ddp_fit(rank: int, world: int, folder: str) -> tuple:
    """Training by hand in a process group: what the callback does is the same, and no launcher is needed."""
    found = []
    for measured in (True, False):
        torch.manual_seed(3)
        model = Plain()
        wrapped = nn.parallel.DistributedDataParallel(model)
        optimizer = torch.optim.AdamW(wrapped.parameters(), 1e-2)
        traces = {}
        x, y = (tensor[rank::world] for tensor in data())
        for step in range(6):
            optimizer.zero_grad()
            loss_fn(wrapped, (x, y)).backward()
            optimizer.step()
            if measured and step == 5:
                llc = make()
                trainer = type("Trainer", (), {"global_step": 6, "loggers": []})()
                llc.measure(trainer, model, final=True)
                traces = {name: r.trace for name, r in llc.results[6].items()}
        state = {f"weights/{name}": tensor.clone() for name, tensor in model.state_dict().items()}
        # Rank-dependent: dropout of each rank has its own stream, batch statistics their own values.
        found.append((state | {"torch": torch.get_rng_state()}, traces))
    (with_llc, traces), (without, _) = found
    return with_llc, without, traces


def test_where_nothing_is_to_be_found_it_says_what_to_give(tmp_path):
    for missing, words in (("loss_fn", "give loss_fn="), ("data", "give data=")):
        with pytest.raises(InputError, match=words):
            train([make(**{missing: None})], tmp_path)


def test_it_refuses_to_measure_under_inference_mode():
    model = Plain()
    llc = make()
    trainer = type("Trainer", (), {"global_step": 1, "loggers": []})()
    with torch.inference_mode(), pytest.raises(InputError, match="inference_mode forbids.*inference_mode=False"):
        llc.measure(trainer, model, final=False)


@pytest.mark.parametrize(
    "arguments, words",
    [({"max_overhead": 0.0}, "max_overhead must be positive"), ({"n_samples": 0}, "n_samples must be at least 1")],
)
def test_bad_values_get_one_line(arguments, words):
    with pytest.raises(InputError, match=words):
        make(**arguments)
