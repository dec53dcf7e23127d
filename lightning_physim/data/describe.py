"""Words and numbers about the splits of a data module."""

import torch

from lightning_physim.data.batch import TrajectoryDataset
from lightning_physim.metrics import OneStepError
from lightning_physim.text import text_table


def describe_splits(splits: dict[str, TrajectoryDataset]) -> str:
    """A table of ``splits``, where they lie, the training statistics, and the floors of the evaluation splits."""
    rows: list[tuple[str, ...]] = [
        ("split", "trajectories", "intervals", "particles", "MB", "colliding", "walls", "energy/particle")
    ]
    for name, split in splits.items():
        summary = split.metadata["summary"]
        n_bytes = sum(array["bytes"] for array in split.metadata["arrays"].values())
        start, end = summary["energy_per_particle_start"], summary["energy_per_particle_end"]
        rows.append(
            (
                name, str(split.n_trajectories), str(split.n_intervals), str(len(split.masses)), f"{n_bytes / 1e6:.1f}",
                f"{summary['colliding_fraction']:.3f}", f"{summary['wall_fraction']:.3f}", f"{start:.2f} -> {end:.2f}",
            )
        )  # fmt: skip
    floors: list[tuple[str, ...]] = [("split", "ballistic", "colliding", "free", "no-pair", "colliding", "free")]
    for name, split in splits.items():
        if split.no_pair is not None:
            floors.append((name, *(f"{loss:.4f}" for loss in _floors(split))))
    return "\n".join(
        (
            *text_table(rows),
            "colliding, walls: share of particles that touch another one, or a wall, in an interval",
            "energy/particle: kinetic and of gravity, mean of the first states -> of the last ones",
            "",
            "Floors: mean squared error of the standardised target, over all, colliding and free particles",
            *text_table(floors),
            "",
            *_statistics(splits["train"]),
            "",
            *(f"{name}: {split.directory}" for name, split in splits.items()),
        )
    )


def _floors(split: TrajectoryDataset, chunk: int = 64) -> list[float]:
    """Loss of free flight, then of the no-pair oracle; each over all, colliding and free particles."""
    errors = OneStepError()
    for first in range(0, len(split), chunk):
        batch = split[range(first, min(first + chunk, len(split)))]
        assert batch.evaluation is not None
        errors.update(
            torch.zeros_like(batch.targets), batch.targets, batch.evaluation.no_pair, batch.evaluation.colliding
        )
    values = errors.compute()
    kinds = ("ballistic", "no_pair")
    return [values[f"floor_{kind}{group}"].item() for kind in kinds for group in ("", "_colliding", "_free")]


def _statistics(train: TrajectoryDataset) -> list[str]:
    statistics = train.metadata["statistics"]
    names = ("state_mean", "state_std", "residual_rms")
    rows = [("training split", *statistics["components"])]
    rows += [(name, *(f"{value:.4f}" for value in statistics[name])) for name in names]
    return text_table(rows)
