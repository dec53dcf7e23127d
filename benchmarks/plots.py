"""The plots of ``docs/performance.md``, from what was stored last."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  the backend is chosen first

from benchmarks.table import Row, last  # noqa: E402

DOCS = Path(__file__).parents[1] / "docs"
SIZES = ("particles", "batch", "heads", "layers", "width")


def draw() -> None:
    """Write ``docs/performance-growth.svg`` and ``docs/performance-waterfall.svg``.

    Raises:
        SystemExit: a benchmark that they need has never been stored.
    """
    plt.rcParams.update(
        {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "physim"}
    )
    _growth(_stored("growth"), _stored("simulator"))
    _waterfall(_stored("waterfall"))


def _stored(name: str) -> list[Row]:
    found = last(name)
    if found is None:
        raise SystemExit(f"the plots need what `python -m benchmarks {name}` stores; got nothing: run it")
    return found[1]


def _growth(steps: list[Row], rates: list[Row]) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.2), layout="constrained")
    for name in SIZES:
        points = [(int(row.what.split()[1]), row.ours) for row in steps if row.what.startswith(f"{name} ")]
        left.loglog(*zip(*points, strict=True), "o-", label=name, markersize=3)
    left.set(xlabel="size", ylabel="step of demo, ms CPU", title="A training step")
    left.legend(frameon=False)
    points = [(int(row.what.split()[0]), row.ours) for row in rates if row.what.endswith(" discs")]
    right.loglog(*zip(*points, strict=True), "o-", markersize=3)
    right.set(xlabel="discs in a system", ylabel="million particle-intervals a second", title="The simulator, one core")
    right.set_ylim(0.1, 10)
    figure.savefig(DOCS / "performance-growth.svg", metadata={"Date": None})
    plt.close(figure)


def _waterfall(rows: list[Row]) -> None:
    runs: dict[str, dict[str, float]] = {}
    for row in rows:
        run, part = row.what.split(": ")
        if row.unit == "s CPU" and not part.startswith("all "):
            runs.setdefault(run, {})[part] = row.ours
    figure, axes = plt.subplots(figsize=(8.5, 2.8), layout="constrained")
    parts = sorted(
        {part for run in runs.values() for part in run}, key=lambda part: -max(r.get(part, 0) for r in runs.values())
    )
    colours = plt.get_cmap("tab20").colors  # type: ignore[attr-defined]
    ends = dict.fromkeys(runs, 0.0)
    for colour, part in zip(colours, parts, strict=False):
        widths = [run.get(part, 0.0) for run in runs.values()]
        axes.barh(list(runs), widths, left=list(ends.values()), color=colour, label=part)
        ends = {run: end + width for (run, end), width in zip(ends.items(), widths, strict=True)}
    axes.invert_yaxis()
    axes.set(xlabel="CPU seconds (smoke: 1000 steps; demo: the first 2000)")
    axes.legend(frameon=False, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.25))
    figure.savefig(DOCS / "performance-waterfall.svg", metadata={"Date": None})
    plt.close(figure)
