"""A run that is on disk, for a notebook: its network, its numbers, its attention."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor

from lightning_physim import keys
from lightning_physim.checkpoints import load_network
from lightning_physim.data import ParticleDataModule, data_module
from lightning_physim.errors import InputError
from lightning_physim.files import read_mapping
from lightning_physim.probes import attention_patterns
from lightning_physim.report import write_report
from lightning_physim.tracking import checkpoints_by_step, find_run, read_metrics

if TYPE_CHECKING:
    from pandas import DataFrame


class Run:
    """A finished or running run: ``Run("last").metrics``.

    Args:
        which: ``"last"`` for the run with the newest checkpoint, a run's directory, or its id.
        runs: folder that holds the run directories.
        network: class of the network of a run from Python that is not ours; ``physim fit`` has written it down.

    Raises:
        InputError: no such run.
    """

    def __init__(
        self,
        which: str | Path = "last",
        runs: str | Path = "runs",
        network: type[LightningModule] | None = None,
    ) -> None:
        self.directory, self.network = find_run(runs, which), network

    def __repr__(self) -> str:
        return f"Run({str(self.directory.path)!r})"

    @cached_property
    def config(self) -> dict[str, Any]:
        """Everything that made the run, the content of its ``config.yaml``.

        Raises:
            InputError: it has none, as ``physim fit`` has not made it, or one that cannot be read.
        """
        if not self.directory.config.is_file():
            raise InputError(
                f"a run of physim fit has a config.yaml; {self.directory.path} has none: pass data yourself"
            )
        return read_mapping(self.directory.config)

    @property
    def checkpoints(self) -> dict[int, Path]:
        """The checkpoints by step, in ascending order."""
        return checkpoints_by_step(self.directory)

    @property
    def metrics(self) -> "DataFrame":
        """The rows of ``metrics.jsonl`` so far.

        Returns:
            Frame with the index ``step``, int64 and ascending, and a column per key: ``probe/enrichment/L0H1`` and the
            others of ``docs/keys.md``. NaN where a key was not logged at a step. A step that was logged more than once
            has its last value.

        Raises:
            InputError: pandas is not installed, or the run has no ``metrics.jsonl``.
        """
        try:
            import pandas
        except ImportError:
            raise InputError("Run.metrics needs pandas; type `pip install 'lightning_physim[tables]'`") from None
        curves = read_metrics(self.directory.metrics)
        columns = {key: pandas.Series(values, index=steps) for key, (steps, values) in curves.items()}
        return pandas.DataFrame(columns).sort_index().rename_axis("step")

    @property
    def heads(self) -> "DataFrame":
        """What was measured of every head, as one tidy table.

        Returns:
            Frame with the index ``(head, step)`` and a column per quantity without the head: ``probe/enrichment``,
            ``llc/mean``. NaN where a quantity was not logged at a step. ``pandas.concat({name: run.heads, ...})``
            puts several runs in one.

        Raises:
            InputError: as of :attr:`metrics`.
        """
        metrics = self.metrics
        import pandas

        places = {key: place for key in metrics if (place := keys.split_head(key))}
        of_heads = metrics[[*places]]
        columns = [[keys.without_head(key) for key, _ in places.values()], [head for _, head in places.values()]]
        of_heads.columns = pandas.MultiIndex.from_arrays(columns, names=["quantity", "head"])
        tidy = of_heads.stack("head", future_stack=True).dropna(how="all").rename_axis(columns=None)
        return tidy.swaplevel().sort_index()

    def model(self, step: int | None = None) -> LightningModule:
        """The network as it was after some step, on the CPU and in evaluation mode.

        Args:
            step: one of :attr:`checkpoints`; None for the last.

        Raises:
            InputError: no checkpoint of that step, or none that can be read.
        """
        found = self.checkpoints
        wanted = max(found, default=None) if step is None else step
        if wanted is None or wanted not in found:
            steps = ", ".join(map(str, found)) or f"none in {self.directory.checkpoints}"
            raise InputError(f"step is one with a checkpoint, {steps}; got {step}")
        section = self.config.get("model") if self.directory.config.is_file() else None
        return load_network(found[wanted], torch.device("cpu"), section, self.network).eval()

    @cached_property
    def data(self) -> ParticleDataModule:
        """The data that the run was trained on, simulated again where they are not on disk.

        Raises:
            InputError: as of :attr:`config`, or a configuration without data.
        """
        if "data" not in self.config:
            raise InputError(f"a run has its data in its config.yaml; {self.directory.path} has none there")
        module = data_module(self.config["data"])
        module.prepare_data()
        module.setup()
        return module

    def attention(self, states: Tensor, step: int | None = None) -> Tensor:
        """What every head looks at.

        Args:
            states: ``[systems, particles, 4]``, position and velocity, such as ``run.data.probe_states(64)[0]``.
            step: as of :meth:`model`.

        Returns:
            Patterns ``[layers, systems, heads, query, key]``, whose rows sum to 1.

        Raises:
            InputError: the network has no attention, and as of :meth:`model`.
        """
        network = self.model(step)
        with torch.no_grad():
            return attention_patterns(network, states)

    def report(self) -> Path:
        """Write ``report.html`` of what is there; the file."""
        return write_report(self.directory.path)
