import numpy as np
import pytest
import torch
from sklearn.metrics import mean_squared_error

from lightning_physim.metrics import OneStepError, RolloutError
from lightning_physim.target import free_flight


def one_step(systems: int = 6) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    prediction, target, no_pair = torch.randn(3, systems, 2, 5, 4, generator=generator)
    colliding = torch.rand(systems, 2, 5, generator=generator) < 0.3
    return prediction, target, no_pair, colliding


def test_one_step_errors_are_those_of_scikit_learn():
    prediction, target, no_pair, colliding = one_step()
    metric = OneStepError()
    for part in (slice(0, 2), slice(2, 6)):
        metric.update(prediction[part], target[part], no_pair[part], colliding[part])
    values = metric.compute()
    touched = colliding.numpy()
    guesses = {"loss": prediction, "floor_ballistic": torch.zeros_like(target), "floor_no_pair": no_pair}
    for name, guess in guesses.items():
        for suffix, rows in (("", slice(None)), ("_colliding", touched), ("_free", ~touched)):
            truth, guessed = target.numpy()[rows].reshape(-1, 4), guess.numpy()[rows].reshape(-1, 4)
            assert values[name + suffix].item() == pytest.approx(mean_squared_error(truth, guessed)), name + suffix


def test_no_collisions_at_all_gives_nan_for_the_colliding():
    prediction, target, no_pair, colliding = one_step()
    metric = OneStepError()
    metric.update(prediction, target, no_pair, torch.zeros_like(colliding))
    assert metric.compute()["loss_colliding"].isnan()
    assert metric.compute()["loss"] == metric.compute()["loss_free"]


def test_free_flight_has_no_rollout_error_and_a_lifted_one_exactly_its_own():
    start = torch.rand(3, 4, 4, dtype=torch.float64)
    true = torch.stack([free_flight(start, 0.1 * k, 2.0) for k in range(6)], dim=1)
    masses, gravity = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor(2.0)
    metric = RolloutError((1, 5))
    metric.update(true, true, masses, gravity)
    assert all(value == 0 for value in metric.compute().values())

    lifted = true.clone()
    lifted[:, 5, :, 1] += 0.3  # potential energy m g h more, on every particle
    metric = RolloutError((1, 5))
    metric.update(lifted, true, masses, gravity)
    values = metric.compute()
    energy = (
        0.5 * masses.numpy() * (true[:, 5, :, 2:].numpy() ** 2).sum(-1)
        + masses.numpy() * 2.0 * true[:, 5, :, 1].numpy()
    ).sum(-1)
    assert values["mse@5"].item() == pytest.approx(0.3**2 / 2)
    assert values["energy_error@5"].item() == pytest.approx(10 * 2.0 * 0.3 / energy.mean())
    assert values["momentum_error@5"].item() == 0
    assert values["mse@1"].item() == 0


def test_momentum_error_is_the_length_of_the_missing_momentum():
    true = torch.rand(2, 2, 3, 4, dtype=torch.float64)
    pushed = true.clone()
    pushed[:, 1, 0, 2] += 0.3
    pushed[:, 1, 1, 3] += 0.4
    masses = torch.ones(3)
    metric = RolloutError((1,))
    metric.update(pushed, true, masses, torch.tensor(0.0))
    total = np.linalg.norm(true[:, 1, :, 2:].numpy(), axis=-1).sum(-1).mean()
    assert metric.compute()["momentum_error@1"].item() == pytest.approx(0.5 / total)


def test_a_rollout_that_diverges_shows():
    true = torch.rand(1, 3, 2, 4)
    metric = RolloutError((2,))
    metric.update(torch.full_like(true, torch.inf), true, torch.ones(2), torch.tensor(1.0))
    assert not any(torch.isfinite(value) for value in metric.compute().values())


def _shard(rank: int, world: int, systems: int) -> dict[str, float]:
    prediction, target, no_pair, colliding = (part[rank::world] for part in one_step(systems))
    steps, rollouts = OneStepError(), RolloutError((1,))
    steps.update(prediction, target, no_pair, colliding)
    rollouts.update(prediction, target, torch.ones(5), torch.tensor(1.0))
    return {k: v.item() for k, v in (steps.compute() | rollouts.compute()).items()}


@pytest.mark.ddp
@pytest.mark.parametrize("systems", [1, pytest.param(5, marks=pytest.mark.slow)])  # with one, rank 1 has none
def test_two_ranks_give_what_one_gives(on_ranks, systems):
    one = _shard(0, 1, systems)
    for two in on_ranks(_shard, systems):
        assert two == pytest.approx(one, rel=1e-12, nan_ok=True)
