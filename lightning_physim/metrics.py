"""Errors of a simulator as torchmetrics: sums in float64, so that any number of ranks gives the same value."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

PREDICTORS = ("loss", "floor_ballistic", "floor_no_pair")


class OneStepError(Metric):
    """Mean squared error of the standardised target over one interval, beside the two floors on the same data.

    ``compute`` gives the error of the network (``loss``), of free flight (``floor_ballistic``), and of the exact oracle
    that knows walls and gravity but no neighbours (``floor_no_pair``). Each is given over all particles, over those
    that touched another one in the interval (``..._colliding``) and over the rest (``..._free``). Far below the no-pair
    floor a network must use other particles. Somewhat below it, it may only know what collisions do on average to a
    particle in a given state (see ``docs/emergence.md``). A group without particles gives NaN.
    """

    full_state_update = False
    higher_is_better = False
    squared_error: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("squared_error", torch.zeros(len(PREDICTORS), 2, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor, no_pair: Tensor, colliding: Tensor) -> None:
        """Add predictions.

        Args:
            prediction, target, no_pair: standardised residuals ``[..., particles, 4]`` of the network, the truth and
                the no-pair oracle.
            colliding: bool ``[..., particles]``, which particles touched another one during the interval.
        """
        groups = torch.stack((colliding, ~colliding)).double()
        for row, guess in enumerate((prediction, torch.zeros_like(target), no_pair)):
            error = (guess - target).double().square().mean(-1)
            self.squared_error[row] += (groups * error).flatten(1).sum(1)
        self.count += groups.flatten(1).sum(1)

    def compute(self) -> dict[str, Tensor]:
        every = self.squared_error.sum(1) / self.count.sum()
        by_group = self.squared_error / self.count
        values = {}
        for row, name in enumerate(PREDICTORS):
            values[name] = every[row]
            values[f"{name}_colliding"], values[f"{name}_free"] = by_group[row]
        return values


class RolloutError(Metric):
    """Error of the network as a simulator, after K of its own steps.

    - ``mse@K``: mean squared error of the positions, in squared units of length;
    - ``energy_error@K``: mean over systems of the absolute error of kinetic plus gravitational energy, relative to the
      mean true energy;
    - ``momentum_error@K``: the same for the length of the error of the total momentum, relative to the mean sum of
      the particles' momenta.

    Ratios are of sums over systems, so that they reduce exactly; a rollout that diverges shows as a huge number,
    infinity or NaN, never as a missing one.

    Args:
        horizons: the K, in intervals.
        options: of torchmetrics; ``sync_on_compute=False`` for a value of this rank alone.
    """

    full_state_update = False
    higher_is_better = False
    sums: Tensor

    def __init__(self, horizons: tuple[int, ...], **options: Any) -> None:
        super().__init__(**options)
        self.horizons = horizons
        # Rows: squared error, its count, energy error, true energy, momentum error, sum of momenta.
        self.add_state("sums", torch.zeros(6, len(horizons), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, true: Tensor, masses: Tensor, gravity: Tensor) -> None:
        """Add rollouts.

        Args:
            predicted, true: states ``[systems, times, particles, 4]``, ``times`` > the largest horizon.
            masses: ``[particles]``.
            gravity: scalar, acceleration along ``-y``.
        """
        at = list(self.horizons)
        predicted, true, masses = predicted[:, at].double(), true[:, at].double(), masses.double()
        squared = (predicted[..., :2] - true[..., :2]).square()
        energy, true_energy = _energy(predicted, masses, gravity), _energy(true, masses, gravity)
        momentum, true_momentum = masses[:, None] * predicted[..., 2:], masses[:, None] * true[..., 2:]
        drift = (momentum.sum(-2) - true_momentum.sum(-2)).norm(dim=-1)
        self.sums += torch.stack(
            (
                squared.sum((0, 2, 3)),
                torch.full((len(at),), float(squared[:, 0].numel()), dtype=torch.float64, device=squared.device),
                (energy - true_energy).abs().sum(0),
                true_energy.abs().sum(0),
                drift.sum(0),
                true_momentum.norm(dim=-1).sum((0, 2)),
            )
        )

    def compute(self) -> dict[str, Tensor]:
        squared, count, energy, true_energy, momentum, true_momentum = self.sums
        ratios = {
            "mse": squared / count,
            "energy_error": energy / true_energy,
            "momentum_error": momentum / true_momentum,
        }
        return {f"{name}@{k}": value[i] for name, value in ratios.items() for i, k in enumerate(self.horizons)}


def _energy(state: Tensor, masses: Tensor, gravity: Tensor) -> Tensor:
    """Kinetic plus gravitational energy ``[...]`` of states ``[..., particles, 4]``, measured from the floor."""
    kinetic = 0.5 * masses * state[..., 2:].square().sum(-1)
    return (kinetic + masses * gravity * state[..., 1]).sum(-1)
