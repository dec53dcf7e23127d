"""Watch collision heads emerge: per-head attention scores during training."""

from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from lightning_physim import keys
from lightning_physim.callbacks.observer import Observer
from lightning_physim.callbacks.schedule import LogSchedule
from lightning_physim.keys import head_name
from lightning_physim.loggers import run_loggers
from lightning_physim.probes import (
    SCORES,
    AblationEffect,
    AttentionDistance,
    HeadMetric,
    ProbeSample,
    attention_patterns,
    has_attention,
    near_others,
)
from lightning_physim.protocols import HasAblation, HasAttention, ProbeStates, ProbeTargets, offers, require
from lightning_physim.ranges import check_counts, check_positive

PAIRS_AT_ONCE = 2**18
"""Ordered pairs of particles that are looked at together: some megabytes of attention patterns, which stay in cache."""


class CollisionProbe(Observer):
    """Scores every attention head on a fixed held-out probe set, at log-spaced steps.

    Logs ``probe/<score>/L{l}H{h}`` for every score of :data:`lightning_physim.probes.SCORES`: those of
    :class:`lightning_physim.probes.NearScores`, :class:`lightning_physim.probes.DistanceCorrelation` and
    :class:`lightning_physim.probes.ContactClassifier`. At every ``ablation_every``-th of these steps it adds
    ``probe/ablation`` (:class:`lightning_physim.probes.AblationEffect`): the rise of the loss on colliding particles
    when the head cannot attend to near ones. The best head's enrichment is also ``probe/best_enrichment``, on the
    progress bar and in ``trainer.callback_metrics``. Once a decade and at the end the table
    ``probe/attention_distance`` goes to every :class:`lightning_physim.loggers.RunLogger`.

    The probe set is dealt over ranks without padding, and a rank may get none of it. The sums are added up, so that the
    scores do not depend on the number of ranks.

    Works with any LightningModule that has ``attention(states) -> [layers, systems, heads, query, key]``, or whose
    layers are ``torch.nn.MultiheadAttention`` (:func:`lightning_physim.probes.attention_patterns`). The data module
    has ``probe_states(n) -> states [n, particles, 4], contacts`` and ``contact_distance`` ``[particles, particles]``.
    Ablation also needs ``ablate(states, hidden) -> predictions [systems, particles, 4], [layers, heads, systems,
    particles, 4]`` of the module and ``probe_set(n) -> states, targets, contacts`` of the data module. Without them it
    is left out.

    Args:
        radius: within which a particle is near, in contact diameters.
        n_states: size of the probe set. Over sets of 256 states of ``demo`` the enrichment of collision heads scatters
            by 1 to 2 %.
        steps_per_decade: measurements per tenfold increase of the step. A measurement costs about three training
            steps in ``demo``.
        max_distance: upper end of the axis of attention against distance, contact diameters.
        n_bins: bins of that axis.
        ablation_every: ablate at every so many measurements, and at the first and the last. An ablation costs three and
            a half training steps in ``demo``, and grows with the number of heads and the square of that of layers.
    """

    name = "probe"
    what = "scores of heads"

    def __init__(
        self,
        radius: float = 1.5,
        n_states: int = 256,
        steps_per_decade: int = 20,
        max_distance: float = 8.0,
        n_bins: int = 32,
        ablation_every: int = 2,
    ) -> None:
        super().__init__(steps_per_decade)
        check_counts(n_states=n_states, n_bins=n_bins, ablation_every=ablation_every)
        check_positive("contact diameters", radius=radius, max_distance=max_distance)
        self.radius = radius
        self.n_states = n_states
        self.max_distance = max_distance
        self.n_bins = n_bins
        self.ablation_schedule = LogSchedule(steps_per_decade, ablation_every)
        self.table_schedule = LogSchedule(1)
        self.probes: _Probes | None = None
        self.history: dict[str, tuple[list[int], list[float]]] = {}
        """Every score so far, ``{key: (steps, values)}``; survives a resume."""
        self.profiles: dict[int, Tensor] = {}
        """Attention against distance so far, ``[layers, heads, bins]`` by step; survives a resume."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        datamodule: Any = getattr(trainer, "datamodule", None)
        require(datamodule, ProbeStates, "CollisionProbe", "data module", "pass one to fit, or leave the callback out")
        if not has_attention(pl_module):
            require(
                pl_module, HasAttention, "CollisionProbe", "module",
                "leave the callback out, or choose a network that has attention",
            )  # fmt: skip
        mine = slice(trainer.global_rank, None, trainer.world_size)
        self.states: Tensor
        self.targets: Tensor | None = None
        if offers(datamodule, ProbeTargets) and offers(pl_module, HasAblation):
            states, targets, contacts = datamodule.probe_set(self.n_states)
            self.targets = targets[mine]
        else:
            states, contacts = datamodule.probe_states(self.n_states)
        self.states, self.contacts = states[mine], contacts[mine]
        self.contact_distance: Tensor = datamodule.contact_distance

    @torch.no_grad()
    def measure(self, trainer: pl.Trainer, module: pl.LightningModule, final: bool) -> dict[str, float]:
        step = trainer.global_step
        ablate = self.targets is not None and (final or step == 0 or self.ablation_schedule.due(step))
        probes = self._look(module, ablate)
        # Collective, here and below: adds the sums of all ranks.
        values = {name: value for metric in probes.scores for name, value in metric.compute().items()}
        if ablate:
            values[keys.ABLATION.quantity] = probes.ablation.compute()
        # torchmetrics makes scalars of the values of a single head.
        by_score = {name: value.view(probes.heads) for name, value in values.items()}
        names = [(head_name(*place), place) for place in np.ndindex(probes.heads)]
        metrics = {
            keys.PROBE[score].of(head=name): by_head[place].item()
            for score, by_head in by_score.items()
            for name, place in names
        }
        self._remember(step, metrics)
        metrics[keys.BEST_ENRICHMENT] = by_score[keys.ENRICHMENT.quantity].max().item()
        curves = probes.distance.compute()  # collective
        if final or self.table_schedule.due(step):
            kept = {earlier: profile for earlier, profile in self.profiles.items() if self.table_schedule.due(earlier)}
            self.profiles = kept | {step: curves.view(*probes.heads, -1).cpu()}
            self._log_table(trainer)
        if trainer.training and step > 0:
            module.log(keys.BEST_ENRICHMENT, metrics[keys.BEST_ENRICHMENT], prog_bar=True, logger=False)
        return metrics

    def _look(self, module: pl.LightningModule, ablate: bool) -> "_Probes":
        """The metrics after the whole probe set, so many states at once as a processor's cache holds patterns of."""
        particles = self.states.shape[1]
        # A shard without states still gives patterns, of the shape [layers, 0, heads, particles, particles].
        parts = torch.arange(len(self.states)).split(max(1, PAIRS_AT_ONCE // particles**2))
        probes: _Probes | None = None
        for part in parts:
            states, contacts = self.states[part].to(module.device), self.contacts[part].to(module.device)
            attention = attention_patterns(module, states)
            sample = ProbeSample(attention, states[..., :2], self.contact_distance.to(states.device), contacts)
            probes = probes or self._probes(attention)
            for metric in (*probes.scores, probes.distance):
                metric.update(sample)
            if ablate:
                assert self.targets is not None
                intact, ablated = module.ablate(states, near_others(sample.distance, self.radius))  # type: ignore[operator]
                probes.ablation.update(intact, ablated, self.targets[part].to(states.device), contacts)
        assert probes is not None
        return probes

    def _probes(self, attention: Tensor) -> "_Probes":
        """The metrics for such patterns, made at the first measurement; empty, and on their device."""
        n_layers, _, n_heads = attention.shape[:3]
        if self.probes is None:
            self.probes = _Probes(
                (n_layers, n_heads),
                [score(n_layers, n_heads, self.radius) for score in SCORES],
                AttentionDistance(n_layers, n_heads, self.max_distance, self.n_bins),
                AblationEffect(n_layers, n_heads),
            )
        for metric in (*self.probes.scores, self.probes.distance, self.probes.ablation):
            metric.to(attention.device)
            metric.reset()
        return self.probes

    def _remember(self, step: int, metrics: dict[str, float]) -> None:
        for key, value in metrics.items():
            steps, values = self.history.setdefault(key, ([], []))
            # The last step of a run that went on after it: a run that did not stop there has no such point.
            if steps and steps[-1] > 0 and not self.schedule.due(steps[-1]):
                del steps[-1], values[-1]
            steps.append(step)
            values.append(value)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"history": self.history, "profiles": self.profiles}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.history = state_dict["history"]
        self.profiles = state_dict.get("profiles", {})

    def _log_table(self, trainer: pl.Trainer) -> None:
        """The table of attention against distance, at every step that it was logged at so far."""
        n_layers, n_heads, _ = next(iter(self.profiles.values())).shape
        uniform = 1.0 / max(self.states.shape[1] - 1, 1)
        edges = torch.linspace(0.0, self.max_distance, self.n_bins + 1).tolist()
        columns = [
            "step",
            "distance_from",
            "distance_to",
            "uniform",
            *map(lambda p: head_name(*p), np.ndindex(n_layers, n_heads)),
        ]
        rows = [
            [step, edges[i], edges[i + 1], uniform, *curves[..., i].flatten().tolist()]
            for step, curves in self.profiles.items()
            for i in range(self.n_bins)
        ]
        for logger in run_loggers(trainer.loggers):
            logger.log_table(keys.ATTENTION_DISTANCE, columns, rows, trainer.global_step)


class _Probes(NamedTuple):
    """The metrics of a run."""

    heads: tuple[int, int]
    scores: list[HeadMetric]
    distance: AttentionDistance
    ablation: AblationEffect
