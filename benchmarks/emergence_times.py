"""When do heads emerge, over batch, particles and density? ``smoke`` from a few seeds, without Trainer.

    python -m benchmarks.emergence_times [--figure=FILE]

The time is the step at which the best head's AUROC of the pairs that touch passes 0.8. Its chance level is 0.5 in every
world, where that of the enrichment depends on particles and density. Boxes grow with the particles and shrink with the
density, so that discs, speeds and collisions stay what they are. The rate is constant and there is no warm-up.

A power law is called where Student's interval of the slopes of the seeds, in logarithms, leaves out 0, and that of
the slopes of the upper half less those of the lower half does not.
"""

import argparse
import math
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from benchmarks.worlds import batches_of, config_of, data_of, one_core
from lightning_physim import ParticleDataModule, PhysicsSimulator
from lightning_physim.callbacks.schedule import LogSchedule
from lightning_physim.claims.statistics import t_answer
from lightning_physim.curves import ONSET, Curve, crossing_step
from lightning_physim.probes import ContactClassifier, NearScores, ProbeSample

AUROC, ENRICHED = "AUROC 0.8", f"{ONSET:g} × uniform"
LEVELS = {AUROC: ("auroc", 0.8), ENRICHED: ("enrichment", ONSET)}
"""What has to be passed, by the best head: a score, and its level."""
SEEDS = range(210, 215)
MOST_STEPS = 4000
SCHEDULE = LogSchedule(40)
"""Of the measurements."""
N_STATES = 256
"""Of the probe set."""
AXES: dict[str, tuple[float, ...]] = {
    "batch": (16, 32, 64, 128, 256),
    "particles at one density": (8, 16, 32, 64),
    "packing fraction, 16 particles": (0.03, 0.06, 0.126, 0.25),
}
BASE = {"batch": 64, "particles at one density": 16, "packing fraction, 16 particles": 0.126}
"""That of ``smoke``, and what an axis leaves as it is."""
COLORS = {AUROC: "#d1495b", ENRICHED: "#1d5b9f"}


def config_at(axis: str, value: float) -> dict[str, Any]:
    """``smoke`` with one thing changed."""
    batch, particles, packing = (BASE | {axis: value}).values()
    config = deepcopy(config_of("smoke"))
    system = config["data"]["system"]
    side = math.sqrt(particles * math.pi * system["radius"] ** 2 / packing)
    system |= {"n_particles": int(particles), "box": [side, side]}
    config["data"]["batch_size"] = int(batch)
    return config


def times(config: Mapping[str, Any], data: ParticleDataModule, seed: int) -> dict[str, float]:
    """Steps at which the best head of a training passes each level; NaN beyond the longest training."""
    pl.seed_everything(seed, verbose=False)
    model = PhysicsSimulator(**config["model"])
    model.network.take_statistics(data)
    optimizer = torch.optim.Adam(model.parameters(), lr=config["model"]["lr"], fused=True)
    probe = data.probe_set(N_STATES)
    curves: dict[str, tuple[list[int], list[float]]] = {name: ([], []) for name in LEVELS}
    for step, batch in enumerate(batches_of(data), start=1):
        optimizer.zero_grad()
        model.estimation_loss(batch).backward()
        optimizer.step()
        if SCHEDULE.due(step):
            with torch.no_grad():
                patterns = model.attention(probe.states)
            sample = ProbeSample(patterns, probe.states[..., :2], data.contact_distance, probe.contacts)
            found: dict[str, float] = {}
            for probe_metric in (ContactClassifier, NearScores):
                metric = probe_metric(patterns.shape[0], patterns.shape[2])
                metric.update(sample)
                found |= {name: float(value.max()) for name, value in metric.compute().items()}
            for name, (score, _) in LEVELS.items():
                curves[name][0].append(step)
                curves[name][1].append(found[score])
        if step >= MOST_STEPS or all(passed(curves[name], level) for name, (_, level) in LEVELS.items()):
            break
    return {name: crossing_step(as_curve(curves[name]), level) for name, (_, level) in LEVELS.items()}


def as_curve(points: tuple[list[int], list[float]]) -> Curve:
    """Of lists."""
    return np.array(points[0], dtype=float), np.array(points[1])


def passed(points: tuple[list[int], list[float]], level: float) -> bool:
    """Whether the last three measurements lie above a level."""
    return len(points[1]) >= 3 and min(points[1][-3:]) > level


def law(axis: str, found: np.ndarray) -> str:
    """What the times ``[seeds, values]`` say: a slope, how it changes, and whether that is a power law."""
    x, y = np.log(AXES[axis]), np.log(found)
    if not np.isfinite(y).all():
        return "some do not emerge"
    middle = len(x) // 2
    slope, lower, upper = (
        [float(np.polyfit(x[part], row[part], 1)[0]) for row in y]
        for part in (slice(None), slice(middle + 1), slice((len(x) - 1) // 2, None))
    )
    whole, bend = t_answer(slope), t_answer([b - a for a, b in zip(lower, upper, strict=True)])
    (low, high), (less, more) = whole.interval, bend.interval
    called = "no dependence" if low <= 0 <= high else "power law" if less <= 0 <= more else "no power law"
    return (
        f"slope {whole.effect:.2f} ({low:.2f} to {high:.2f}), from lower to upper half {bend.effect:+.2f} "
        f"({less:.2f} to {more:.2f}): {called}"
    )


def rows() -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Of each axis, the times ``[seeds, values]`` by level."""
    for axis, values in AXES.items():
        found: dict[str, list[list[float]]] = {name: [] for name in LEVELS}
        for value in values:
            config = config_at(axis, value)
            data = data_of(config)
            of_seeds = [times(config, data, seed) for seed in SEEDS]
            for name in LEVELS:
                found[name].append([each[name] for each in of_seeds])
                cells = ", ".join(f"{step:.0f}" for step in found[name][-1])
                print(f"{axis} {value:g}, {name}: {cells}", flush=True)
        yield axis, {name: np.array(each).T for name, each in found.items()}


def draw(found: Mapping[str, Mapping[str, np.ndarray]], file: Path) -> None:
    """A panel per axis: a point per seed and the geometric mean."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 3.6), layout="constrained", facecolor="white")
    for axes, (axis, by_level) in zip(figure.subplots(1, len(found), sharey=True), found.items(), strict=True):
        for name, steps in by_level.items():
            x = np.array(AXES[axis])
            axes.plot(np.tile(x, len(steps)), steps.ravel(), "o", color=COLORS[name], ms=4, alpha=0.5, mew=0)
            axes.plot(x, np.exp(np.log(steps).mean(0)), color=COLORS[name], lw=2, label=name)
        if axis == "batch":
            guide = np.exp(np.log(by_level[AUROC][:, 2]).mean()) * x[2] / x
            axes.plot(x, guide, ":", color="#33404d", label="one number of examples")
        axes.set(xscale="log", yscale="log", xlabel=axis, ylim=(50, 1000))
        axes.set_xticks(x, [f"{value:g}" for value in x], minor=False)
        axes.minorticks_off()
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("step at which the best head passes")
    figure.axes[0].legend(frameon=False, fontsize=9)
    figure.savefig(file, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.emergence_times", description=__doc__.splitlines()[0])
    parser.add_argument("--figure", type=Path, help="draw it there")
    given = parser.parse_args()
    one_core()
    found = {}
    for axis, by_level in rows():
        found[axis] = by_level
        for name, steps in by_level.items():
            print(f"{axis}, {name}: {law(axis, steps)}", flush=True)
    if given.figure:
        draw(found, given.figure)


if __name__ == "__main__":
    main()
