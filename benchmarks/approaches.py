"""How do scores level off in gradient flow: by a power law, or by the exponential of a regular minimum?

    physim sweep sweeps/late_flow.yaml --jobs 2
    python -m benchmarks.approaches RUN ... [--figure=FILE]

Of each run the leading head is looked at: of the collision heads that are used, the one that passes half of its rise
first. What is called, and how often wrongly, stands in ``docs/claims.md`` and ``docs/results/growth.md``.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import refusals
from lightning_physim import Run
from lightning_physim.claims.evidence import heads_of
from lightning_physim.claims.growth import common_law, counted
from lightning_physim.curves import final
from lightning_physim.emergence import Relaxation, relaxation, rise_times
from lightning_physim.errors import InputError
from lightning_physim.tracking import read_metrics

COLUMNS = (
    "run", "head", "half of the rise at", "last score", "called", "exponent of a power law",
    "its AICc over that of the exponential", "span", "time constant",
)  # fmt: skip
NOISE = 1e-3
"""Of a score: what is left below that is not drawn."""


class Approach(NamedTuple):
    """Of the leading head of a run.

    Attributes:
        run, head: seed of the run, and name.
        half: time at which half of the rise from uniform attention to the last score is passed.
        found: both laws, from half of the rise on.
    """

    run: str
    head: str
    half: float
    found: Relaxation

    def row(self) -> str:
        """Of the table; the AICc of the power law is told over that of the exponential."""
        power, exponential = self.found.power, self.found.exponential
        low, high = power.interval("exponent")
        cells = (
            self.run, self.head, f"{self.half:.0f}", f"{power.values[-1]:.3f}", self.found.verdict.replace("_", " "),
            f"{power.shapes['exponent']:.2f} ({low:.2f} to {high:.2f})", f"{-self.found.ahead:+.1f}",
            f"{self.found.span:.1f}", f"{exponential.shapes['time']:.1f}",
        )  # fmt: skip
        return f"| {' | '.join(cells)} |"


def leading(path: Path) -> Approach:
    """The approach of the leading head of a run."""
    config = Run(path).config
    model = config["model"]
    if model["optimizer"] != "rkc":
        raise InputError(f"an approach is looked at in gradient flow; {path} was not trained by model.optimizer=rkc")
    per_step = model["lr"] / model["stages"]
    found = []
    for head in heads_of(read_metrics(path / "metrics.jsonl")):
        if head.is_used_collision_head:
            curve = head.score[0] * per_step, head.score[1]
            found.append((rise_times(curve, head.uniform, final(curve))[1], head.name, curve))
    if not found:
        raise InputError(f"an approach is that of a collision head that is used; {path} has none")
    half, name, (time, score) = min(found, key=lambda each: each[0])
    return Approach(f"seed {config['seed_everything']}", name, half, relaxation(time[time > 0], score[time > 0]))


def answer(found: Sequence[Approach]) -> str:
    """The law of these heads, by the rule of claim (c)."""
    laws = Counter(each.found.verdict for each in found)
    return f"of {len(found)} heads {counted(laws)}: {common_law(laws).replace('_', ' ')}"


def draw(found: Sequence[Approach], file: Path) -> None:
    """What is left to the plateau of each law, over the time since half of the rise; an exponential is a line."""
    from matplotlib.figure import Figure

    figure = Figure((9, 4), layout="constrained")
    kinds = (("exponential", "linear"), ("power law", "log"))
    for axes, (law, scale) in zip(figure.subplots(1, 2), kinds, strict=True):
        for i, each in enumerate(found):
            fit = each.found.exponential if law == "exponential" else each.found.power
            since = fit.fitter.steps - each.half
            axes.plot(since, fit.plateau - fit.values, ".", color=f"C{i}", label=f"{each.run}, {each.head}")
            axes.plot(since, fit.plateau - fit.predict(fit.fitter.steps), color=f"C{i}", linewidth=1)
        axes.set(yscale="log", xscale=scale, xlabel="time since half of the rise")
        axes.set_ylim(bottom=NOISE)
        axes.set_title(f"left to the plateau of the {law}", fontsize=9, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(file, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.approaches", description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="run directories")
    parser.add_argument("--figure", type=Path, help="draw them there")
    given = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    found = [leading(path) for path in given.runs]
    for each in found:
        print(each.row())
    print(answer(found))
    if given.figure:
        draw(found, given.figure)


if __name__ == "__main__":
    with refusals():
        main()
