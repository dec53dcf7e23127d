"""The callback: when it measures, that training does not notice, and that ranks share the work."""

import json
import math
import warnings
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger
from torch import nn

from lightning_physim import PhysicsTransformer
from lightning_physim.callbacks import Geometry, LearningCoefficient, LogSchedule, Safeguard, learning_coefficient
from lightning_physim.callbacks.learning_coefficient import default_regions, own_loss, own_residuals
from lightning_physim.errors import GivenUp, InputError
from lightning_physim.llc import LLCResult, SGLDConfig
from tests.helpers.kept import Kept
from tests.helpers.plain import Diary, Plain, data, everything, loss_fn, train

QUICK = SGLDConfig(n_beta=50.0, localization=20.0, n_chains=4, n_draws=12, n_burn_in=4, batch_size=16)
MODEL = {"model": None, "first": {"net.0.weight": None, "net.0.bias": None}}


def make(**kwargs) -> LearningCoefficient:
    return LearningCoefficient(**({"sgld": QUICK, "loss_fn": loss_fn, "data": data(), "regions": MODEL} | kwargs))


def test_training_is_bit_identical_with_and_without_it(tmp_path):
    diary, other = Diary(), Diary()
    expected = everything(*train([diary], tmp_path))
    llc = make(first_step=1, steps_per_decade=3)
    got = everything(*train([llc, other], tmp_path))
    assert set(llc.results) == {1, 2, 5, 10, 12}
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


def test_none_comes_before_the_first_step_and_one_after_the_last_in_any_case(tmp_path, estimates):
    late = make(first_step=5, steps_per_decade=4)
    train([late], tmp_path)
    assert sorted(late.results) == [6, 10, 12]


@pytest.mark.parametrize(
    "step, planned, seconds",
    [
        (100, 1000, 6.0),  # half of the decades from 10 on: half of 1000 steps' time, halved, against 15 s
        (100, math.inf, 30.0),  # without an end, half of what there was
        (10, 10, 30.0),  # and where the first is the last
    ],
)
def test_the_budget_pays_for_what_there_was_and_one_more(step, planned, seconds):
    llc = make(first_step=10, steps_per_decade=1, max_overhead=0.5)
    llc.stopwatch.seconds, llc.n_estimates = 10.0, 2  # three would take 15 s
    trainer = SimpleNamespace(
        global_step=step, estimated_stepping_batches=planned, strategy=SimpleNamespace(broadcast=lambda value: value)
    )
    for share, affordable in ((0.999, False), (1.001, True)):
        llc.training.seconds = share * seconds
        assert llc.due(trainer, final=False) == affordable and llc.due(trainer, final=True)


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


def test_older_checkpoints_count_no_regions():
    state = make().state_dict() | {"n_estimates": 3, "n_failed": 0}
    del state["n_regions"]
    llc = make()
    llc.load_state_dict(state)
    assert (llc.n_estimates, llc.n_regions, llc.n_failed) == (3, 0, 0)


class Region(SimpleNamespace):
    """As much of an estimate as the callback looks at."""

    def __init__(self, converged: bool) -> None:
        failures = {} if converged else {"rhat": "R-hat 2 above 1.1"}
        trace = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
        super().__init__(converged=converged, failures=failures, trace=trace)


@pytest.fixture
def estimates(monkeypatch) -> list[dict]:
    """What the callback asks for, in place of estimates: of two regions, the second fails."""
    asked: list[dict] = []

    def estimate(module, loss_fn, data, regions, sgld, **options):
        asked.append(options | {"loss_fn": loss_fn, "regions": regions})
        result = LLCResult(model=Region(True), first=Region(False))
        result.note, result.metrics = "one after the other", lambda: {"llc/model/mean": 1.0}
        return result

    monkeypatch.setattr(learning_coefficient, "estimate_llc", estimate)
    return asked


def test_a_budget_thins_the_schedule(tmp_path, monkeypatch, estimates):
    now = [0.0]
    monkeypatch.setattr("lightning_physim.stopwatch.time.perf_counter", lambda: now[0])

    class Slow(pl.Callback):
        """A training step takes one second."""

        def on_after_backward(self, trainer, pl_module):
            now[0] += 1.0

    def slow_estimate(*given, **options):
        now[0] += 3.0
        return estimate(*given, **options)

    estimate = learning_coefficient.estimate_llc
    monkeypatch.setattr(learning_coefficient, "estimate_llc", slow_estimate)
    for overhead, counted in ((0.2, 3), (0.6, 8), (1e6, 14)):
        llc = make(first_step=1, steps_per_decade=10, max_overhead=overhead)
        train([llc, Slow()], tmp_path, steps=40)
        assert llc.training.seconds == 40.0 and llc.seconds == 3.0 * len(llc.results)
        expected = [1]  # the first is made in any case, as is the last; others where one more is in the budget so far
        for step in LogSchedule(10).steps(40)[1:]:
            if step == 40 or 3.0 * (len(expected) + 1) <= overhead * 40.0 * math.log(step) / math.log(40):
                expected.append(step)
        assert sorted(llc.results) == expected and len(expected) == counted


def test_draws_are_shown_at_first_once_a_decade_and_at_the_end_and_failures_counted(estimates):
    llc, logger = make(), Kept()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for step in (18, 32, 56, 100, 178, 200):
            llc.measure(SimpleNamespace(global_step=step, loggers=[logger]), None, final=step == 200)
    assert [str(each.message) for each in told] == ["one after the other"]  # the first time only
    columns, rows = ["draw", "model/0", "model/1", "first/0", "first/1"], [[0, 1, 4, 1, 4], [1, 2, 5, 2, 5]]
    rows.append([2, 3, 6, 3, 6])
    assert logger.tables == [("llc/trace", step, columns, rows) for step in (18, 100, 200)]
    assert (llc.n_estimates, llc.n_regions, llc.n_failed) == (6, 12, 6) and len(llc.results) == 6
    llc.last_step = 200
    with pytest.warns(UserWarning, match=r"LLC: 6 of 12 estimates fail their diagnostics \(rhat\)"):
        llc.on_train_end(SimpleNamespace(global_step=200, loggers=[logger]), None)
    ((title, text),) = logger.alerts
    assert title == "Learning coefficients fail their diagnostics" and text.startswith("LLC: 6 of 12")
    resumed = make()
    resumed.load_state_dict(llc.state_dict())
    with pytest.warns(UserWarning, match=r"LLC: 6 of 12 estimates fail their diagnostics \(rhat\)"):
        resumed.on_train_end(SimpleNamespace(global_step=200, loggers=[logger]), None)


class Brings(Plain):
    def estimation_loss(self, batch):
        return loss_fn(self, batch)


class BringsBoth(Brings):
    def estimation_residuals(self, batch):
        return self(batch[0]) - batch[1]


def theirs(module, batch):
    raise NotImplementedError


@pytest.mark.parametrize(
    "module, given, loss, residuals",
    [
        (Plain, {"loss_fn": theirs}, theirs, None),
        (BringsBoth, {"loss_fn": theirs}, theirs, None),  # of another loss than the given one
        (BringsBoth, {"loss_fn": theirs, "residual_fn": theirs}, theirs, theirs),
        (Brings, {}, own_loss, None),
        (BringsBoth, {}, own_loss, own_residuals),
        (BringsBoth, {"residual_fn": theirs}, own_loss, theirs),
        (Brings, {"residual_fn": theirs}, own_loss, theirs),
    ],
)
def test_what_is_given_goes_before_what_the_module_brings_along(module, given, loss, residuals):
    llc = make(**{"loss_fn": None, "regions": None} | given)
    llc.setup(SimpleNamespace(), module(), "fit")
    assert (llc.subject.loss_fn, llc.subject.residual_fn) == (loss, residuals)
    assert llc.subject.regions == {"model": None}
    untouched = make(loss_fn=None, data=None)
    untouched.setup(SimpleNamespace(), module(), "test")  # only a fit needs any of it
    assert untouched.subject.loss_fn is None and untouched.subject.data is None


@pytest.mark.parametrize("kind", [LearningCoefficient, Geometry])
def test_every_fit_is_measured_on_its_own_module_and_data(kind):
    callback = kind()
    for number, module in enumerate((BringsBoth(), PhysicsTransformer(1, 2, 8, 16, d_embedding=8))):
        module.estimation_residuals = module.estimation_loss = None  # looked up, and not called
        callback.setup(
            SimpleNamespace(datamodule=SimpleNamespace(estimation_set=lambda n, at=number: at)), module, "fit"
        )
        assert callback.subject.data == number
        assert ("L0H0" in callback.subject.regions) == bool(number)
    with pytest.raises(InputError, match="give "):
        callback.setup(SimpleNamespace(datamodule=None), Plain(), "fit")


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


@pytest.mark.slow
def test_two_processes_train_alike_with_and_without_it_and_share_the_chains(tmp_path, on_ranks):
    results = on_ranks(_ddp_fit, str(tmp_path))
    for with_llc, without, _, given_up in results:
        assert given_up == ["LearningCoefficient", "Geometry"]  # though the signal came to one rank alone
        assert with_llc.keys() == without.keys()
        for name in without:
            assert torch.equal(with_llc[name], without[name]), name
    # One process with the same weights and all four chains gives the same rows.
    (_, _, traces, _), (_, _, others, _) = results
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
    guard, given_up = Safeguard(), []
    guard.received = 15 if rank == 1 else None
    trainer = SimpleNamespace(global_step=6, loggers=[], callbacks=[guard])
    geometry = Geometry(residual_fn=lambda module, batch: module(batch[0]) - batch[1], data=data(), regions=MODEL)
    for callback in (make(), geometry):
        try:
            callback.measure(trainer, model, final=False)
        except GivenUp:
            given_up.append(type(callback).__name__)
    return with_llc, without, traces, given_up


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
    [
        ({"max_overhead": 0.0}, "max_overhead must be positive"),
        ({"n_samples": 0}, "n_samples must be at least 1"),
        ({"steps": [10, -1]}, "steps must not be negative; got -1"),
    ],
)
def test_bad_values_get_one_line(arguments, words):
    with pytest.raises(InputError, match=words):
        make(**arguments)
