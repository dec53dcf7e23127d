"""When what measures is called, what it may do, and where the time goes."""

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from lightning_physim.callbacks import Observer, TrainingClock
from lightning_physim.errors import Diverged
from tests.helpers.kept import Kept


class Times:
    """Clocks that stand still unless somebody moves them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall = self.cpu = 0.0
        monkeypatch.setattr("time.perf_counter", lambda: self.wall)
        monkeypatch.setattr("time.process_time", lambda: self.cpu)

    def take(self, wall: float, cpu: float) -> None:
        self.wall += wall
        self.cpu += cpu


class Network(pl.LightningModule):
    def __init__(self, times: Times | None = None) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.times = times

    def training_step(self, batch, batch_idx):
        if self.times:
            self.times.take(2.0, 3.0)
        return self.layer(batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)


class Measures(Observer):
    name = "probe"

    def __init__(self, steps_per_decade: int = 2, times: Times | None = None, diverges_at: int = -1) -> None:
        super().__init__(steps_per_decade)
        self.times, self.diverges_at = times, diverges_at
        self.calls: list[tuple[int, bool]] = []

    def measure(self, trainer, module, final):
        assert not module.training and not module.layer.training
        self.calls.append((trainer.global_step, final))
        if self.times:
            self.times.take(5.0, 7.0)
        if trainer.global_step == self.diverges_at:
            raise Diverged("no number")
        return {"a": 1.0}


class Stop(pl.Callback):
    """Ends training after four steps, as a limit of time would."""

    def on_train_batch_end(self, trainer: pl.Trainer, *_) -> None:
        trainer.should_stop = trainer.global_step == 4


def fit(*callbacks: pl.Callback, module: pl.LightningModule | None = None, **options) -> Kept:
    logger = Kept()
    trainer = pl.Trainer(**{
        "max_steps": 12, "accelerator": "cpu", "callbacks": [*callbacks], "logger": [logger],
        "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False,
    } | options)  # fmt: skip
    trainer.fit(module or Network(), DataLoader(torch.ones(8, 1)))
    return logger


@pytest.mark.parametrize(
    "options, expected",
    [
        ({}, [(0, False), (1, False), (3, False), (10, False), (12, True)]),
        ({"accumulate_grad_batches": 2}, [(0, False), (1, False), (3, False), (10, False), (12, True)]),
        ({"max_steps": 10}, [(0, False), (1, False), (3, False), (10, True)]),
        ({"max_steps": -1, "max_epochs": 1}, [(0, False), (1, False), (3, False), (8, True)]),
        ({"callbacks": [Stop()]}, [(0, False), (1, False), (3, False), (4, True)]),
    ],
)
def test_it_measures_before_training_on_its_schedule_and_at_the_end_once_each(options, expected):
    measures = Measures()
    logger = fit(**options | {"callbacks": [*options.get("callbacks", []), measures]})
    assert measures.calls == expected
    assert [step for step, row in logger.rows if "a" in row] == [step for step, _ in expected]


def test_a_network_that_turns_out_not_to_be_finite_has_no_row():
    measures = Measures(diverges_at=3)
    logger = fit(measures)
    assert [step for step, _ in measures.calls] == [0, 1, 3, 10, 12]
    assert [step for step, row in logger.rows if "a" in row] == [0, 1, 10, 12]


def test_seconds_of_training_and_of_measurements_are_told_apart(monkeypatch):
    times = Times(monkeypatch)
    clock, measures = TrainingClock(2), Measures(times=times)
    monkeypatch.setattr(Kept, "seconds", 11.0)
    logger = fit(clock, measures, module=Network(times))
    rows: dict[int, dict[str, float]] = {}
    for step, row in logger.rows:
        rows[step] = rows.get(step, {}) | row
    for number, step in enumerate((0, 1, 3, 10, 12), 1):
        assert rows[step]["time/train"] == 2.0 * step and rows[step]["time/train_cpu"] == 3.0 * step
        assert rows[step]["time/probe"] == 5.0 * number and rows[step]["time/log"] == 11.0


def test_clocks_go_on_after_a_resume_those_of_older_checkpoints_from_nothing(monkeypatch):
    times = Times(monkeypatch)
    clock = TrainingClock()
    fit(clock, module=Network(times))
    resumed = TrainingClock()
    resumed.load_state_dict(clock.state_dict())
    assert (resumed.seconds, resumed.cpu.seconds, resumed.last_step) == (24.0, 36.0, 12)
    older = {name: value for name, value in clock.state_dict().items() if name not in ("cpu_seconds", "given_up")}
    resumed.load_state_dict(older)
    assert (resumed.seconds, resumed.cpu.seconds, resumed.given_up) == (24.0, 0.0, -1)
