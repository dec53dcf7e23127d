"""Control variates: what minibatches err by, taken at a reference."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from lightning_physim.llc import SGLDConfig, estimate_llc
from lightning_physim.llc.gradients import ControlVariate, PlainGradient, Rise
from lightning_physim.llc.minibatches import Minibatches
from lightning_physim.llc.objective import Group, Objective
from lightning_physim.llc.regions import Region


class Bowls(nn.Module):
    """Samples ``[rows, 2, 3]`` with a curvature and a minimum for each of three directions."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.full((3,), start))

    def loss(self, batch: tuple[torch.Tensor]) -> torch.Tensor:
        curvature, minimum = batch[0].unbind(1)
        away = self.w - minimum
        return (curvature * away.square() / 2 + away**4 / 20).sum(1).mean()


def samples(n: int, spread: float) -> tuple[torch.Tensor]:
    drawn = torch.randn(n, 2, 3, generator=torch.Generator().manual_seed(2))
    drawn = spread * (drawn - drawn.mean(0))
    return (drawn + torch.tensor([1.0, 0.0])[:, None],)


@pytest.fixture
def controlled() -> tuple[ControlVariate, Minibatches]:
    """For two jobs of one region."""
    objective = Objective(Bowls(0.3), Bowls.loss, samples(64, 0.5))
    group = Group(objective, [Region("all", None, objective.frozen)], 16)
    minibatches = Minibatches(objective, ["w"], 8, 0)
    plain = PlainGradient(group, torch.zeros(2, dtype=torch.long), torch.tensor([[0.1, 0.0, -0.2], [0.0, 0.3, 0.0]]))
    return ControlVariate.at_anchor(plain, minibatches.whole), minibatches


REFERENCE = torch.tensor([[0.5, -0.4, 0.2], [-0.3, 0.1, 0.6]])
ROW = torch.tensor([0, 1])


def of_every(
    estimator: ControlVariate, minibatches: Minibatches, where: torch.Tensor
) -> list[tuple[Rise, torch.Tensor]]:
    return [estimator.rise_and_gradient(where, ROW, minibatch) for minibatch in minibatches.different(8)]


def exactly(minibatches: Minibatches, where: torch.Tensor, slope: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rise over all samples without the part along a slope, and the gradient, by autograd alone."""
    model = Bowls(0.3)
    base, rises, gradients = model.loss(minibatches.objective.data), [], []
    for displacement, part in zip(where, slope, strict=True):
        moved = Bowls(0.3)
        with torch.no_grad():
            moved.w += displacement
        loss = moved.loss(minibatches.objective.data)
        gradients.append(torch.autograd.grad(loss, moved.w)[0])
        rises.append((loss - base).detach() - part @ displacement)
    return torch.stack(rises), torch.stack(gradients)


@pytest.mark.parametrize("moves", [False, True])
def test_the_mean_over_minibatches_is_that_of_all_samples(controlled, moves):
    estimator, minibatches = controlled
    if moves:
        estimator = estimator.at(REFERENCE, minibatches)
    where = torch.tensor([[0.9, 0.2, -0.1], [0.1, -0.5, 0.3]])
    rise, gradient = exactly(minibatches, where, estimator.plain.slope)
    found = of_every(estimator, minibatches, where)
    assert torch.stack([each.beyond_slope(where) for each, _ in found]).mean(0).allclose(rise, atol=1e-5)
    assert torch.stack([each for _, each in found]).mean(0).allclose(gradient, atol=1e-5)


def test_at_the_reference_every_minibatch_tells_what_all_samples_do(controlled):
    at_anchor, minibatches = controlled
    estimator = at_anchor.at(REFERENCE, minibatches)
    rise, gradient = exactly(minibatches, REFERENCE, estimator.plain.slope)
    for told, slope in of_every(estimator, minibatches, REFERENCE):
        assert told.beyond_slope(REFERENCE).allclose(rise, atol=1e-5) and slope.allclose(gradient, atol=1e-5)
    far = torch.stack([slope for _, slope in of_every(at_anchor, minibatches, REFERENCE)])
    assert (far.std(0) > 0.01).all()  # so that there was noise to be lost


def test_a_selection_keeps_what_it_knew_of_its_jobs(controlled):
    estimator, minibatches = controlled
    estimator = estimator.at(REFERENCE, minibatches)
    every = of_every(estimator, minibatches, 2 * REFERENCE)
    second = estimator.select(torch.tensor([1]))
    assert set(second.kept) == set(estimator.kept) and len(second.kept) == minibatches.count
    for minibatch, (rise, gradient) in zip(minibatches.different(8), every, strict=True):
        alone = second.rise_and_gradient(2 * REFERENCE[1:], torch.tensor([0]), minibatch)
        assert alone[0].total.allclose(rise.total[1:]) and alone[1].allclose(gradient[1:])


def test_what_cannot_be_kept_is_found_again(controlled, monkeypatch):
    estimator, minibatches = controlled
    kept = of_every(estimator.at(REFERENCE, minibatches), minibatches, 2 * REFERENCE)
    monkeypatch.setattr("lightning_physim.llc.gradients.KEPT_ERRORS", 0)
    forgetful = estimator.at(REFERENCE, minibatches)
    for (rise, gradient), (again, same) in zip(kept, of_every(forgetful, minibatches, 2 * REFERENCE), strict=True):
        assert again.total.equal(rise.total) and same.equal(gradient)
    assert not forgetful.kept


@pytest.mark.parametrize("about", ["anchor", "centre"])
def test_a_start_far_from_the_centre_does_not_heat_the_chains(about):
    """Curvatures of samples differ, so that the noise of their gradients grows with the distance from the reference."""

    def loss(module: Bowls, batch: tuple[torch.Tensor]) -> torch.Tensor:
        curvature, _ = batch[0].unbind(1)
        return (curvature * module.w.square() / 2).sum(1).mean()

    config = SGLDConfig(
        n_beta=100.0, n_chains=8, n_draws=480, n_burn_in=64, batch_size=16, step_size=0.002, control_variate=True
    )
    found = estimate_llc(Bowls(1.0), loss, samples(512, 1.0), config=replace(config, about=about))["model"]
    about_centre = found.mean - (found.shift if about == "anchor" else 0.0)
    by_euler = 1.5 / (1 - config.step_size * config.n_beta / 4)
    assert about_centre == pytest.approx(by_euler, abs=4 * found.mcse) and found.noise_ratio < 0.02
