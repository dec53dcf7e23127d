"""How much of the fall of the loss in gradient flow a quadratic potential predicts, at checkpoints of runs.

    python -m benchmarks.quadratic RUN ... [--figure=FILE]

RUN is a training by ``--model.optimizer=rkc`` on all of its training data at every step, so that its loss falls as by
gradient flow and by nothing else. At a checkpoint the gradient and the curvatures that it meets give the fall of
quadratic losses from there on, without a fit; ``docs/growth.md`` says which.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks import refusals
from benchmarks.worlds import one_core
from lightning_physim import Run, keys
from lightning_physim.curves import head_curves
from lightning_physim.errors import InputError
from lightning_physim.flow import coefficients
from lightning_physim.llc.curvature import quadratic_fall, spectral_measure
from lightning_physim.llc.objective import Objective, Samples, without_trace
from lightning_physim.llc.regions import Region
from lightning_physim.modes import plain_attention
from lightning_physim.tracking import read_metrics

PART = 250
"""States whose graph is one."""
N_POINTS, MOST_UNRESOLVED = (128, 512), 0.02
"""Of the spectral measure, the second where half of the first predicts something else by more than this."""
FIRST_TIME = 5.0
"""From which checkpoints are looked at."""
PER_DECADE = 3
"""Of them."""
FACTORS = (np.e, np.e**2)
"""Of time, over which the fall is told."""
HORIZON, NEAREST = 0.1, 1.3
"""Relative error of a prediction at which its horizon ends, and the factor of time from which it is looked for."""
KINDS = {"Hessian": "#1d5b9f", "basin": "#d1495b", "linear network": "#e0a030"}
"""Quadratic losses, and their colours."""
QUARTIC = (0.767, 0.679)
"""What the parabola gives of the fall down ``x^4`` over :data:`FACTORS`, with time counted from ``x`` at infinity."""
INK = "#33404d"


class Landscape:
    """The loss over some data at a point: its gradient, and products with its Hessian and its Gauss-Newton matrix.

    Products are in the precision of the module, vectors in float64.

    Args:
        module: with ``estimation_residuals(batch)``.
        data: all that the loss is the mean over.
    """

    def __init__(self, module: torch.nn.Module, data: Samples) -> None:
        objective = Objective(module, lambda m, batch: m.estimation_residuals(batch), data)
        self.region = Region("model", None, objective.frozen)
        self.leaves = {name: tensor.clone().requires_grad_() for name, tensor in objective.frozen.items()}
        self.m = objective.n * objective.loss({}, tuple(tensor[:1] for tensor in data)).numel()
        self.parts: list[tuple[Tensor, tuple[Tensor, ...], Tensor, tuple[Tensor, ...]]] = []
        weights = list(self.leaves.values())
        with plain_attention():
            for start in range(0, objective.n, PART):
                residuals = objective.loss(self.leaves, tuple(tensor[start : start + PART] for tensor in data))
                gradients = torch.autograd.grad(residuals.square().sum() / self.m, weights, create_graph=True)
                # Linear in the seed: its derivative by it is the product with the Jacobian.
                seed = torch.zeros_like(residuals, requires_grad=True)
                transposed = torch.autograd.grad(residuals, weights, seed, create_graph=True)
                self.parts.append((residuals, gradients, seed, transposed))
        self.gradient = self._flat([[g.detach() for g in gradients] for _, gradients, _, _ in self.parts])

    def hessian(self, vector: Tensor) -> Tensor:
        """Times ``vector``, both ``[1, size]``."""
        pieces, weights = self._pieces(vector), list(self.leaves.values())
        return self._flat([_derivative(gradients, weights, pieces) for _, gradients, _, _ in self.parts])

    def gauss_newton(self, vector: Tensor) -> Tensor:
        """Times ``vector``, both ``[1, size]``."""
        pieces, weights = self._pieces(vector), list(self.leaves.values())
        found = []
        for residuals, _, seed, transposed in self.parts:
            (along,) = _derivative(transposed, [seed], pieces)
            found.append(_derivative([residuals], weights, [2 / self.m * along]))
        return self._flat(found)

    def _pieces(self, vector: Tensor) -> list[Tensor]:
        leaves = list(self.leaves.values())
        pieces = vector[0].split([leaf.numel() for leaf in leaves])
        return [piece.view_as(leaf).to(leaf.dtype) for piece, leaf in zip(pieces, leaves, strict=True)]

    def _flat(self, parts: Sequence[Sequence[Tensor]]) -> Tensor:
        sums = (torch.stack(pieces).sum(0) for pieces in zip(*parts, strict=True))
        return self.region.gather(dict(zip(self.leaves, sums, strict=True)))[None].double()


def _derivative(of: Sequence[Tensor], by: Sequence[Tensor], times: Sequence[Tensor]) -> Sequence[Tensor]:
    return torch.autograd.grad(of, by, times, retain_graph=True, allow_unused=True, materialize_grads=True)


def measures(
    product: Callable[[Tensor], Tensor], gradient: Tensor, n_points: int = N_POINTS[0]
) -> list[tuple[Tensor, Tensor]]:
    """Spectral measures of all points and of half of them, at the price of the first."""
    images: list[Tensor] = []

    def remembered(vector: Tensor) -> Tensor:
        images.append(product(vector))
        return images[-1]

    whole = spectral_measure(remembered, gradient, n_points)
    again = iter(images)
    return [whole, spectral_measure(lambda _: next(again), gradient, n_points // 2)]


class Prediction(NamedTuple):
    """What was seen at a checkpoint.

    Attributes:
        time: of gradient flow.
        loss: over the training data.
        score: largest partner score of a head.
        lowest: curvature that the gradient meets.
        after: factors of time, ``[points]``; those of :data:`FACTORS` come first, then others, ascending.
        actual: fall of the loss up to there, NaN beyond the run.
        falls: predicted ones, by :data:`KINDS`.
        unresolved: largest relative change of those over :data:`FACTORS` within the run, from half of the points of the
            measure to all.
    """

    time: float
    loss: float
    score: float
    lowest: float
    after: np.ndarray
    actual: np.ndarray
    falls: dict[str, np.ndarray]
    unresolved: dict[str, float]

    def horizon(self, kind: str) -> float:
        """Time until a prediction is off by :data:`HORIZON`, over the time already passed; infinite where unseen."""
        first = len(FACTORS)
        off = np.abs(self.falls[kind] / self.actual - 1)[first:] > HORIZON
        return float(self.after[first:][off][0]) - 1 if off.any() else float("inf")


def predictions(path: Path) -> tuple[np.ndarray, np.ndarray, list[Prediction]]:
    """Of a run: times and losses of all its checkpoints, and what was predicted at some of them."""
    run = Run(path)
    model = run.config["model"]
    if model["optimizer"] != "rkc":
        raise InputError(f"a quadratic prediction is one of gradient flow; {path} has {model['optimizer']}")
    train = run.data.split("train")
    data = run.data.estimation_set(train.n_trajectories * train.n_intervals)
    steps = np.array(list(run.checkpoints))
    with torch.no_grad():
        curve = np.array([float(run.model(int(step)).estimation_loss(data)) for step in steps])
    times = flow_times(steps, model["lr"], model["stages"])
    scores = head_curves(read_metrics(run.directory.metrics), keys.PARTNER_SCORE).values()
    last = times[-1] / FACTORS[0]
    found = []
    for wanted in np.geomspace(FIRST_TIME, last, round(PER_DECADE * np.log10(last / FIRST_TIME)) + 1):
        i = int(np.argmin(np.abs(np.log(times[times <= last] / wanted))))
        score = max(float(np.interp(steps[i], at, values)) for at, values in scores)
        found.append(_prediction(run.model(int(steps[i])), data, i, times, curve, score))
        print(row(found[-1]), flush=True)
    rises = np.diff(curve)[times[:-1] >= FIRST_TIME]
    print(
        f"{path.name}: of {len(rises)} changes of the loss {(rises > 0).sum()} are rises, {rises.max():.2g} the largest"
    )
    return times, curve, found


def flow_times(steps: np.ndarray, lr: float, stages: int) -> np.ndarray:
    """Time of gradient flow after so many optimizer steps, those within a cycle included, ``[steps]``."""
    elapsed, move = [0.0], 0.0
    for momentum, rate in coefficients(stages):  # down a constant slope of 1
        move = momentum * move + rate
        elapsed.append(elapsed[-1] + move)
    return lr * (steps // stages + np.array(elapsed)[steps % stages])


def _prediction(
    module: torch.nn.Module, data: Samples, i: int, times: np.ndarray, curve: np.ndarray, score: float
) -> Prediction:
    after = np.r_[FACTORS, np.geomspace(NEAREST, FACTORS[-1], 100)]
    actual = curve[i] - np.interp(np.log(after * times[i]), np.log(times), curve, right=np.nan)
    elapsed = torch.tensor((after - 1) * times[i])
    within = np.flatnonzero(np.isfinite(actual[: len(FACTORS)]))
    with without_trace(module):
        at = Landscape(module, data)
        for n_points in N_POINTS:
            hessian, linear = (measures(product, at.gradient, n_points) for product in (at.hessian, at.gauss_newton))
            flat = [(values.clamp_min(0), weights) for values, weights in hessian]
            falls, unresolved = {}, {}
            for kind, both in zip(KINDS, (hessian, flat, linear), strict=True):
                whole, half = (quadratic_fall(*measure, elapsed)[0].numpy() for measure in both)
                falls[kind], unresolved[kind] = whole, float(np.max(np.abs(1 - half / whole)[within]))
            if max(list(unresolved.values())[1:]) <= MOST_UNRESOLVED:
                break
    lowest = float(hessian[0][0].min())
    return Prediction(float(times[i]), float(curve[i]), score, lowest, after, actual, falls, unresolved)


HEADER = (
    "| time | loss | best partner score | lowest curvature | horizon of the Hessian | fall over a factor e | predicted "
    "over it: Hessian | basin | linear network | fall over e² | Hessian | basin | linear network | unresolved: basin, "
    "linear |\n" + "|---" * 14 + "|"
)


def row(p: Prediction) -> str:
    """Of the table: falls, and the predictions over them."""
    cells = [f"{p.time:.1f}", f"{p.loss:.4f}", f"{p.score:.2f}", f"{p.lowest:.2g}", f"{p.horizon('Hessian'):.2g}"]
    for k in range(len(FACTORS)):
        shares = (f"{falls[k] / p.actual[k]:.3g}" for falls in p.falls.values())
        cells += [f"{p.actual[k]:.4f}", *shares] if np.isfinite(p.actual[k]) else ["–"] * (1 + len(KINDS))
    cells.append(", ".join(f"{p.unresolved[kind]:.1g}" for kind in list(KINDS)[1:]))
    return f"| {' | '.join(cells)} |"


def draw(runs: Sequence[tuple[str, np.ndarray, np.ndarray, list[Prediction]]], file: Path) -> None:
    """Losses with the predictions that branch off, a column per run, and predicted shares of the falls below."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(runs), 6.4), layout="constrained", facecolor="white")
    axes = figure.subplots(2, len(runs), squeeze=False, sharex=True, sharey="row")
    for column, (name, times, curve, found) in enumerate(runs):
        top, bottom = axes[:, column]
        top.plot(times, curve, color=INK, lw=2, label="gradient flow")
        for kind, color in KINDS.items():
            for i, p in enumerate(found):
                at, left = p.after[len(FACTORS) :] * p.time, p.loss - p.falls[kind][len(FACTORS) :]
                top.plot(at, left, color=color, lw=1.2, label=None if i else f"quadratic: {kind}")
            for k, (marker, words) in enumerate((("o", "e"), ("s", "e²"))):
                seen = [p for p in found if np.isfinite(p.actual[k])]
                shares = [p.falls[kind][k] / p.actual[k] for p in seen]
                style = {"color": color, "lw": 1.2, "ls": ("-", "--")[k], "marker": marker, "ms": 4}
                bottom.plot([p.time for p in seen], shares, label=f"{kind}, over {words}", **style)
        top.plot([p.time for p in found], [p.loss for p in found], "o", color=INK, ms=4)
        bottom.axhline(1, color=INK, lw=0.8)
        bottom.axhspan(*sorted(QUARTIC), color=INK, alpha=0.15, lw=0)
        top.set(title=name, xscale="log", xlim=(0.8 * FIRST_TIME, times[-1]), ylim=(0, 1.05 * found[0].loss))
        bottom.set(xlabel="time of gradient flow", yscale="log", ylim=(0.3, 10))
    axes[0, 0].set_ylabel("loss over the training data")
    axes[1, 0].set_ylabel("predicted fall over the true one (grey: x⁴)")
    for each in axes[:, 0]:
        each.legend(frameon=False, fontsize=8)
    for each in axes.flat:
        each.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quadratic", description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="run directories")
    parser.add_argument("--figure", type=Path, help="draw them there")
    given = parser.parse_args()
    one_core()
    print(HEADER)
    found = [(path.name, *predictions(path)) for path in given.runs]
    if given.figure:
        draw(found, given.figure)


if __name__ == "__main__":
    with refusals():
        main()
