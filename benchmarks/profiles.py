"""How far heads look, and how easily their scores move, at the checkpoints of a run.

    python -m benchmarks.profiles RUN [--figure=FILE]

The correlation function ``C(r)`` is the attention on one other particle at the distance r, over that of uniform
attention, less 1. The susceptibility is that of a head's partner score under the Gauss-Newton matrix of the head's own
weights, at c = 0.1: :func:`lightning_physim.llc.curvature.susceptibility`.
"""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks import refusals
from benchmarks.quadratic import INK, Landscape, measures
from benchmarks.worlds import one_core
from lightning_physim import Run
from lightning_physim.keys import head_place
from lightning_physim.llc import head_regions
from lightning_physim.llc.curvature import susceptibility
from lightning_physim.llc.objective import Objective, without_trace
from lightning_physim.llc.regions import Region
from lightning_physim.probes import AttentionDistance, ProbeSample, attention_patterns, partner_score_sums

RADIUS = 1.5
"""Within which a particle is near, contact diameters."""
N_PROBE, N_STATES = 256, 128
"""States that heads look at, and that the Gauss-Newton matrix is the mean over."""
SOFT = 0.1
"""The curvature c."""
PER_DECADE = 5
"""Checkpoints that are looked at."""
FARTHEST, N_BINS = 6.0, 24
"""Axis of distances, contact diameters."""
AT_CONTACT = 4
"""The bin from 1 to 1.25."""
HUES = ("#d1495b", "#1d5b9f", "#e0a030", "#5f9f6e", "#8a6fae", "#7d8791")


class Seen(NamedTuple):
    """Heads at a checkpoint.

    Attributes:
        step: of it.
        scores: partner scores, by head.
        correlation: ``C(r)`` by head, ``[bins]``; NaN in a bin without pairs.
        response: susceptibilities, by head.
        unresolved: largest relative change of one of them from half of the points of the measure to all.
    """

    step: int
    scores: dict[str, float]
    correlation: dict[str, np.ndarray]
    response: dict[str, float]
    unresolved: float


def look(run: Run, step: int) -> Seen:
    """What the heads of a checkpoint do."""
    module = run.model(step)
    probe, data = run.data.probe_set(N_PROBE), run.data.estimation_set(N_STATES)
    heads = head_regions(module)
    with without_trace(module):
        patterns = attention_patterns(module, probe.states)
        sample = ProbeSample(patterns, probe.states[..., :2], run.data.contact_distance, probe.contacts)
        mass, _, queries = partner_score_sums(sample.others, sample.distance, RADIUS)
        profile = AttentionDistance(patterns.shape[0], patterns.shape[2], FARTHEST, N_BINS)
        with torch.no_grad():
            profile.update(sample)
        curves = profile.compute().numpy() * (patterns.shape[-1] - 1) - 1
        at = Landscape(module, data)
        frozen = Objective(module, lambda m, batch: m.estimation_loss(batch), data).frozen
        numbers, n = {}, 0
        for name, tensor in frozen.items():
            numbers[name], n = torch.arange(n, n + tensor.numel()).view_as(tensor), n + tensor.numel()
        response, unresolved = {}, 0.0
        for name, masks in heads.items():
            place = head_place(name)
            gradients = torch.autograd.grad(
                mass[place] / queries, list(module.parameters()), retain_graph=True, materialize_grads=True,
                allow_unused=True,
            )  # fmt: skip
            region = Region(name, masks, frozen)
            own = region.gather(numbers)

            def product(vector: Tensor, own: Tensor = own) -> Tensor:
                whole = torch.zeros(1, n, dtype=vector.dtype)
                whole[0, own] = vector[0]
                return at.gauss_newton(whole)[:, own]

            gradient = region.gather(dict(zip(frozen, gradients, strict=True))).double()[None]
            found, half = (float(susceptibility(*measure, SOFT)) for measure in measures(product, gradient))
            response[name], unresolved = found, max(unresolved, 1 - half / found)
    scores = {name: float(mass[head_place(name)].detach() / queries) for name in heads}
    return Seen(step, scores, {name: curves[head_place(name)] for name in heads}, response, unresolved)


def chosen(run: Run) -> list[int]:
    """Steps of checkpoints, some in a decade, from 10 on."""
    steps = np.array([step for step in run.checkpoints if step >= 10])
    wanted = np.geomspace(steps[0], steps[-1], round(PER_DECADE * np.log10(steps[-1] / steps[0])) + 1)
    return sorted({int(steps[np.argmin(np.abs(np.log(steps / each)))]) for each in wanted})


def draw(run: Run, seen: list[Seen], file: Path) -> None:
    """The profile of the strongest head, darker with time; scores and susceptibilities of all."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    model: dict[str, Any] = run.config["model"]
    flow = model["optimizer"] == "rkc"
    per_step = model["lr"] / model["stages"] if flow else 1.0  # right but for a quarter of a cycle
    times = [each.step * per_step for each in seen]
    heads = sorted(seen[-1].scores, key=lambda head: -seen[-1].scores[head])
    figure = Figure(figsize=(11, 3.6), layout="constrained", facecolor="white")
    left, middle, right = figure.subplots(1, 3)
    edges = np.linspace(0, FARTHEST, N_BINS + 1)
    centres = (edges[1:] + edges[:-1]) / 2
    for i, each in enumerate(seen):
        shade = colormaps["viridis_r"](0.1 + 0.9 * i / (len(seen) - 1))
        label = f"{times[i]:.3g}" if i % 4 == (len(seen) - 1) % 4 else None
        left.plot(centres, 1 + each.correlation[heads[0]], color=shade, lw=1.3, label=label)
    left.axhline(1, color=INK, lw=0.8, ls=":")
    left.axvline(1, color=INK, lw=0.8, ls=":")
    left.set(yscale="log", ylim=(0.01, 20), xlabel="distance r, contact diameters", ylabel=f"1 + C(r) of {heads[0]}")
    left.legend(frameon=False, fontsize=8, title="time" if flow else "step", title_fontsize=8)
    for head, hue in zip(heads, HUES, strict=False):
        middle.plot(times, [each.scores[head] for each in seen], color=hue, lw=1.5, label=head)
        right.plot(times, [each.response[head] for each in seen], color=hue, lw=1.5)
    words = "time of gradient flow" if flow else "training step"
    middle.set(xscale="log", ylim=(0, 1), xlabel=words, ylabel="partner score")
    right.set(xscale="log", yscale="log", xlabel=words, ylabel=f"susceptibility of the score, c = {SOFT:g}")
    middle.legend(frameon=False, fontsize=8)
    for axes in (left, middle, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profiles", description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="run directory")
    parser.add_argument("--figure", type=Path, help="draw it there")
    given = parser.parse_args()
    one_core()
    run = Run(given.run)
    seen = []
    for step in chosen(run):
        seen.append(look(run, step))
        cells = ", ".join(
            f"{head}: score {score:.3f}, susceptibility {seen[-1].response[head]:.3g}, C at contact "
            f"{seen[-1].correlation[head][AT_CONTACT]:.2f}"
            for head, score in seen[-1].scores.items()
        )
        print(f"step {step}, unresolved {seen[-1].unresolved:.1g}; {cells}", flush=True)
    if given.figure:
        draw(run, seen, given.figure)


if __name__ == "__main__":
    with refusals():
        main()
