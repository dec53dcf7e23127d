"""The pictures of the concept pages: ``python docs/pictures.py RUN``, with a finished run of ``demo``.

Each is an SVG file in ``docs/concepts/``. It needs matplotlib, of the extra ``benchmarks``.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from pandas import DataFrame
from scipy.integrate import solve_ivp

from lightning_physim import Run
from lightning_physim.keys import ENRICHMENT, PARTNER_SCORE
from lightning_physim.llc import gauss_newton_spectra, head_regions

FOLDER = Path(__file__).parent / "concepts"
INK, NEAR, QUERY, QUIET = "#33404d", "#d1495b", "#1d5b9f", "#b9c1c9"
RADIUS = 1.5  # contact diameters
N_STATES = 64


def draw(name: str, columns: int, height: float, *panels: Callable[[Axes], None]) -> None:
    """A row of panels as ``name.svg``."""
    figure = Figure(figsize=(8.6, height), layout="constrained", facecolor="white")
    for axes, panel in zip(figure.subplots(1, columns, squeeze=False)[0], panels, strict=True):
        axes.spines[["top", "right"]].set_visible(False)
        panel(axes)
    figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")


def strongest(metrics: DataFrame) -> list[str]:
    """Heads by their last enrichment, the strongest first."""
    last = metrics.filter(like=ENRICHMENT.of(head="")).dropna().iloc[-1].sort_values(ascending=False)
    return [key.rsplit("/", 1)[-1] for key in last.index]


def near(run: Run) -> None:
    """One query in its box: whom a head looks at before training and after it."""
    states = run.data.probe_states(N_STATES)[0]
    diameter = 2 * run.data.system.radius
    distance = torch.cdist(states[..., :2], states[..., :2]) / diameter
    partners = (distance < RADIUS) & (distance > 0)
    system, query = next(
        (s, q) for s in range(N_STATES) for q in range(states.shape[1])
        if partners[s, q].sum() == 2 and (0.3 < states[s, q, :2]).all() and (states[s, q, :2] < 0.7).all()
    )  # fmt: skip
    head = strongest(run.metrics)[0]
    layer, number = (int(part) for part in head[1:].split("H"))
    steps = list(run.checkpoints)

    def panel(step: int) -> Callable[[Axes], None]:
        weights = run.attention(states[system : system + 1], step)[layer, 0, number, query]
        beside = partners[system, query]
        score = float(weights[beside].sum() / (weights.sum() - weights[query]))
        uniform = float(beside.sum() / (len(weights) - 1))

        def show(axes: Axes) -> None:
            places = states[system, :, :2].numpy()
            axes.add_patch(Circle(places[query], RADIUS * diameter, fill=False, ls="--", color=INK))
            for i, place in enumerate(places):
                color = QUERY if i == query else NEAR if beside[i] else QUIET
                axes.add_patch(Circle(place, diameter / 2, color=color))
                if i != query:
                    axes.plot(*zip(places[query], place, strict=True), color=INK, lw=9 * float(weights[i]), alpha=0.6)
            axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xticks=[], yticks=[])
            axes.spines[["top", "right"]].set_visible(True)
            told = f"{score:.2f} of its attention on the near\nuniform: {uniform:.2f}, so {score / uniform:.1f} times"
            axes.set_title(f"step {step:,}: {told}", fontsize=10)

        return show

    draw("near", 2, 4.6, panel(steps[0]), panel(steps[-1]))


def emergence(run: Run) -> None:
    """Enrichment of every head against the step."""
    metrics = run.metrics
    heads = strongest(metrics)

    def show(axes: Axes) -> None:
        for place, head in enumerate(heads):
            curve = metrics[ENRICHMENT.of(head=head)].dropna()
            axes.plot(curve.index + 0.0, curve, color=NEAR if curve.iloc[-1] >= 5 else QUIET, lw=2)
            if place < 3:
                axes.annotate(head, (curve.index[-1], curve.iloc[-1]), xytext=(4, -3), textcoords="offset points")
        for level, words in ((1, "1: uniform attention"), (5, "5: a collision head")):
            axes.axhline(level, color=INK, lw=0.8, ls=":")
            axes.text(1, level + 0.15, words, color=INK, fontsize=9)
        axes.set(xscale="log", xlim=(1, None), xlabel="training step", ylabel="enrichment, times uniform attention")

    draw("emergence", 1, 3.6, show)


def floors(run: Run) -> None:
    """The loss and its floors at the last validation, over all particles, the colliding and the free ones."""
    last = run.metrics.filter(like="val/").dropna().iloc[-1]
    groups = {"colliding particles": "_colliding", "free particles": "_free"}
    kinds = {"free flight": "val/floor_ballistic", "no-pair oracle": "val/floor_no_pair", "the network": "val/loss"}

    def show(axes: Axes) -> None:
        for i, suffix in enumerate(groups.values()):
            for j, (label, key) in enumerate(kinds.items()):
                value = last[key + suffix]
                axes.bar(i + 0.26 * (j - 1), value, 0.24, color=(QUIET, INK, NEAR)[j], label=None if i else label)
                axes.text(i + 0.26 * (j - 1), value + 0.03, f"{value:.2f}", ha="center", fontsize=9)
        axes.set(xticks=range(2), xticklabels=list(groups), ylabel="loss; 1 is free flight over all")
        axes.legend(frameon=False)

    draw("floors", 1, 3.2, show)


def basins(n_beta: float = 1000.0) -> None:
    """Two losses of one weight, what a sampler sees of them, and the learning coefficients, by quadrature."""
    w = np.linspace(-0.6, 0.6, 601)

    def panel(name: str, loss: np.ndarray) -> Callable[[Axes], None]:
        density = np.exp(-n_beta * loss)
        density /= density.sum()
        coefficient = n_beta * (density * loss).sum()

        def show(axes: Axes) -> None:
            axes.plot(w, loss, color=INK, lw=2)
            axes.fill_between(w, 0.05 * density / density.max(), color=NEAR, alpha=0.35)
            axes.set(xlim=(-0.5, 0.5), ylim=(0, 0.1), xlabel="a weight, less w*", yticks=[])
            axes.set_title(f"loss {name}: learning coefficient {coefficient:.2f}", fontsize=10)

        return show

    draw("basins", 2, 2.8, panel("w²", w**2), panel("w⁴", w**4))


def spectrum(run: Run) -> None:
    """Curvatures of two heads, and from where on a direction counts."""
    model = run.model()
    heads = strongest(run.metrics)
    wanted = {"collision head": heads[0], "quiet head": heads[-1]}
    regions = head_regions(model)
    found = gauss_newton_spectra(
        model, lambda module, batch: module.estimation_residuals(batch), run.data.estimation_set(32),
        {head: regions[head] for head in wanted.values()}, halves=False,
    )  # fmt: skip

    def curves(axes: Axes) -> None:
        for (label, head), color in zip(wanted.items(), (NEAR, INK), strict=True):
            values = found[head].values.numpy()
            count = ", ".join(f"{found[head].d_eff(c):.1f}" for c in (10.0, 1.0, 0.1))
            axes.plot(np.arange(1, len(values) + 1), values, color=color, label=f"{label} {head}: {count}")
        for c in (10.0, 1.0, 0.1):
            axes.axhline(c, color=INK, lw=0.8, ls=":")
            axes.text(len(values), c * 1.15, f"c = {c:g}", fontsize=9, ha="right")
        axes.set(xscale="log", yscale="log", ylim=(1e-4, 1e5), xlabel="direction, in order", ylabel="curvature h")
        axes.legend(frameon=False, fontsize=9, title="directions that count at c = 10, 1, 0.1", title_fontsize=9)

    def weight(axes: Axes) -> None:
        h = np.logspace(-4, 4, 200)
        for c, color in zip((0.1, 1.0, 10.0), (QUERY, NEAR, INK), strict=True):
            axes.plot(h, h / (h + c), color=color, lw=2, label=f"c = {c:g}")
        axes.set(xscale="log", xlabel="curvature h of a direction", ylabel="what it counts: h / (h + c)")
        axes.legend(frameon=False, fontsize=9)

    draw("spectrum", 2, 3.4, curves, weight)


def growth(run: Run) -> None:
    """Three starts from rest in gradient flow, and the approach of a real head under Adam."""
    times = np.linspace(0, 3, 400)

    def starts(axes: Axes) -> None:
        for order, label, color in (
            (0, "0: a slope", QUIET),
            (1, "1: a saddle", QUERY),
            (2, "2: a degenerate saddle", NEAR),
        ):
            solved = solve_ivp(
                lambda _, x, q=order: np.clip(x, 0, 1) ** q * (1 - np.clip(x, 0, 1)), (0, 400), [0.02],
                dense_output=True, rtol=1e-8, atol=1e-10,
            )  # fmt: skip
            fine = np.linspace(0, 400, 400_001)
            half = fine[np.argmax(solved.sol(fine)[0] >= 0.5)]
            axes.plot(times, solved.sol(times * half)[0], color=color, lw=2, label=label)
        axes.set(xlabel="time, over that to the half", ylabel="fraction of the rise")
        axes.legend(frameon=False, title="order of growth", fontsize=9, title_fontsize=9)

    def approach(axes: Axes) -> None:
        head = strongest(run.metrics)[0]
        curve = run.metrics[PARTNER_SCORE.of(head=head)].dropna()
        axes.plot(curve.index + 0.0, curve, color=NEAR, lw=2)
        axes.set(xscale="log", xlim=(10, None), xlabel="training step", ylabel=f"partner score of {head}")

    draw("growth", 2, 3.2, starts, approach)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python docs/pictures.py", description=__doc__.splitlines()[0])
    parser.add_argument("run", help="directory of a finished run of demo")
    matplotlib.rcParams |= {"svg.hashsalt": "lightning_physim", "font.family": "sans-serif", "text.color": INK}
    run = Run(parser.parse_args().run)
    for picture in (near, emergence, floors, spectrum, growth):
        picture(run)
    basins()


if __name__ == "__main__":
    main()
