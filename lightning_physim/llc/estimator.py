"""``estimate_llc``: local learning coefficients of regions of a network."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lightning_physim.errors import InputError
from lightning_physim.llc.config import SGLDConfig
from lightning_physim.llc.objective import Anchor, Batch, Group, LossFn, Objective, as_tensors, without_trace
from lightning_physim.llc.ranks import Ranks
from lightning_physim.llc.regions import Region, RegionSpec
from lightning_physim.llc.result import LLCResult, RegionResult, summarize
from lightning_physim.llc.sampler import Anchors, Job, Minibatches, Walkers

Key = tuple[int, int]
"""Number of a job, number of a chain."""
PILOT = -1
"""Chain number of pilots."""
CHECK_EVERY = 25
"""Draws between looks at the budget."""
DIAGNOSTIC_BATCHES = 3
"""Minibatches behind the gradient-noise ratio and the acceptance."""
LARGE = 10_000
"""Parameters of a whole model from which its chains go one after the other on a CPU."""
CHUNK, CHUNK_WEIGHTS = 16, 16384
"""Replicas in one batched computation, and their coordinates together: as many as either allows. More gain nothing on
a CPU, but for tiny regions."""


def estimate_llc(
    module: nn.Module,
    loss_fn: LossFn,
    data: Any,
    regions: Mapping[str, RegionSpec] | None = None,
    config: SGLDConfig | None = None,
    distributed: bool = False,
) -> LLCResult:
    """Local learning coefficients (Lau et al. 2023, arXiv 2308.12108) at the module's parameters w*.

    All regions of a layer and all their chains go through the network together; what they do not move is computed once
    for all. Leaves the module, its mode, buffers and gradients, and every global random state exactly as they were.

    Args:
        module: any ``nn.Module``; it is evaluated in ``eval`` mode.
        loss_fn: ``(module, batch) -> scalar``, the *mean* loss of a tuple of rows of ``data``.
        data: tuple of tensors with a common first dimension, or a ``Dataset`` of such.
        regions: ``{name: None (all parameters) or {parameter name: mask, index or None}}``; None for the whole model.
            :func:`head_regions` gives those of attention heads.
        config: of the sampler.
        distributed: share the chains among the ranks of ``torch.distributed``. Every rank calls and gets all results.

    Returns:
        ``{name: RegionResult}``.

    Raises:
        InputError: an empty region, a mask of another shape, a loss that is no finite scalar, no gradients.
    """
    config = config or SGLDConfig()
    regions = {"model": None} if regions is None else regions
    start = time.perf_counter()
    with without_trace(module):
        objective = Objective(module, loss_fn, as_tensors(data))
        resolved = [Region(name, spec, objective.frozen) for name, spec in regions.items()]
        n_beta = config.n_beta or default_n_beta(objective.n)
        jobs = [Job(region, n_beta, config.localization, config.step_size) for region in resolved]
        results, note = sample(objective, jobs, config, Ranks(distributed))
    found = LLCResult(zip(regions, results, strict=True))
    found.seconds, found.note = time.perf_counter() - start, note
    return found


def default_n_beta(n: int) -> float:
    """n / ln n, the inverse temperature of the widely applicable BIC (Watanabe 2013), times n."""
    return n / math.log(max(n, 3))


def sample(
    objective: Objective, jobs: Sequence[Job], config: SGLDConfig, ranks: Ranks
) -> tuple[list[RegionResult], str]:
    """Run every chain of every job in one loop; results in the order of the jobs. Collective."""
    # Each rank of DDP has batch statistics of its own; the chains of all are to see the same network.
    objective.buffers = ranks.of_first(objective.buffers)
    batches = Minibatches(objective, config.batch_size, config.seed)
    _check_loss(objective, batches[0])
    regions = list({job.region.name: job.region for job in jobs}.values())
    anchors = Anchors(objective, regions, config, batches)
    groups, note = _groups(objective, regions, batches[0])
    mine = [(job, chain) for job in range(len(jobs)) for chain in range(config.n_chains)][ranks.rank :: ranks.world]

    pilot_steps = config.n_burn_in // 2 if config.step_size == "auto" or config.preconditioner else 0
    dealt = [(group, [key for key in mine if jobs[key[0]].region in group.regions]) for group in groups]
    refusal, records = None, []
    try:
        records = [_Record(chains) for chains in _started(jobs, dealt, config, anchors, pilot_steps)]
    except InputError as error:
        refusal = str(error)
    # Collective: a rank that holds no chain of the region at fault would wait for the others for ever.
    for told in ranks.gather(refusal):
        if told:
            raise InputError(told)
    clock, checking = time.perf_counter(), bool(config.target_mcse or config.max_seconds)
    n_steps = config.n_burn_in + config.n_draws
    for t in range(pilot_steps, n_steps):
        batch = batches[t]
        anchor = anchors(batch)
        for record in records:
            record.step(batch, anchor, kept=t >= config.n_burn_in)
        n_draws = t + 1 - config.n_burn_in
        if checking and n_draws > 0 and n_draws % CHECK_EVERY == 0:
            # Collective: all ranks look at the same traces and the same clock, and stop at the same draw.
            rows_so_far = _gathered(ranks, (record.traces() for record in records))
            errors = [_summary(job, config, rows_so_far, not batches.full)["mcse"] for job in range(len(jobs))]
            seconds = ranks.agreed(time.perf_counter() - clock)
            if max(errors) <= (config.target_mcse or -1.0) or seconds > (config.max_seconds or math.inf):
                break
    centres = _centres(jobs, records, objective, ranks)
    upcoming = [batches[t + 1 + i] for i in range(1 if batches.full else DIAGNOSTIC_BATCHES)]
    rows_of_all = _gathered(ranks, (record.rows(centres, upcoming) for record in records))
    results = []
    for number, job in enumerate(jobs):
        chains = [rows_of_all[number, chain] for chain in range(config.n_chains)]
        summary = _summary(number, config, rows_of_all, not batches.full)
        norms = {
            "grad_norm": float(job.region.gather(anchors.whole.gradients).norm()),
            "weight_norm": float(job.region.gather(objective.frozen).norm()),
        }
        results.append(_result(job, config.about, chains, summary, float(anchors.whole.loss), norms))
    return results, note


class _Record:
    """Chains of one group, and what is remembered of their kept draws."""

    def __init__(self, walkers: Walkers) -> None:
        self.walkers = walkers
        self.values: list[Tensor] = []
        self.virials: list[Tensor] = []
        self.displacement = torch.zeros_like(walkers.u)
        self.share = torch.zeros_like(walkers.u[:, 0])

    def step(self, batch: Batch, anchor: Anchor, kept: bool) -> None:
        w = self.walkers
        if kept:
            self.displacement += w.u
            self.share += w.gamma[:, 0] * w.u.square().mean(1)
        value, virial = w.step(batch, anchor)
        if kept:
            self.values.append(value)
            self.virials.append(virial)

    def mean_displacement(self) -> Tensor:
        return self.displacement / len(self.values)

    def traces(self) -> dict[Key, dict[str, Any]]:
        trace, virial = (torch.stack(draws, 1).double().cpu() for draws in (self.values, self.virials))
        return {key: {"trace": trace[row], "virial": virial[row]} for row, key in enumerate(self.walkers.rows)}

    def rows(self, centres: Mapping[int, Tensor], upcoming: Sequence[Batch]) -> dict[Key, dict[str, Any]]:
        """What every rank has to know of each chain."""
        w = self.walkers
        jobs = sorted({job for job, _ in w.rows})
        first = torch.tensor([[job for job, _ in w.rows].index(job) for job in jobs], device=w.u.device)
        at_centre = w.mean_rise(torch.stack([centres[job] for job in jobs]), w.which[first], upcoming)
        columns = {
            "step_size": w.step_size[:, 0],
            "step_stability": w.stability,
            "noise_ratio": w.noise_ratio(upcoming),
            "acceptance": w.acceptance(upcoming[0]),
            "localization_share": self.share / len(self.values),
            "rise_at_own_centre": w.mean_rise(self.mean_displacement(), w.which, upcoming),
            "rise_at_centre": torch.stack([at_centre[jobs.index(job)] for job, _ in w.rows]),
            "slope_at_centre": w.slope_at([centres[job] for job, _ in w.rows]),
        }
        rows = self.traces()
        for name, column in columns.items():
            for key, value in zip(w.rows, column.double().tolist(), strict=True):
                rows[key][name] = value
        return rows


def _started(
    jobs: Sequence[Job],
    dealt: Sequence[tuple[Group, Sequence[Key]]],
    config: SGLDConfig,
    anchors: Anchors,
    pilot_steps: int,
) -> list[Walkers]:
    """The chains of this rank with their step sizes and preconditioners, where their pilots took them."""
    batches = anchors.batches
    dealt = [(group, keys) for group, keys in dealt if keys]
    pilots = []
    for group, keys in dealt:
        pilots.append(Walkers(group, jobs, [(job, PILOT) for job in sorted({job for job, _ in keys})], config, anchors))
        pilots[-1].adapt(batches[0], roughly=pilot_steps > 0)
    for t in range(pilot_steps):
        batch = batches[t]
        anchor = anchors(batch)
        for pilot in pilots:
            pilot.step(batch, anchor)
    chains = []
    for pilot, (group, keys) in zip(pilots, dealt, strict=True):
        if pilot_steps:
            pilot.adapt(batches[pilot_steps])
        chains.append(Walkers(group, jobs, keys, config, anchors))
        chains[-1].start_from(pilot)
    return chains


def _centres(jobs: Sequence[Job], records: Sequence[_Record], objective: Objective, ranks: Ranks) -> dict[int, Tensor]:
    """Mean displacement of every job over its living chains. Collective: ranks add up their chains."""
    sizes = [job.region.size for job in jobs]
    sums = torch.zeros(sum(sizes) + len(jobs), dtype=objective.dtype, device=objective.device)
    *by_job, counts = sums.split([*sizes, len(jobs)])
    for record in records:
        for (job, _), alive, mean in zip(
            record.walkers.rows, record.walkers.alive.tolist(), record.mean_displacement(), strict=True
        ):
            if alive:
                by_job[job] += mean
                counts[job] += 1
    *by_job, counts = ranks.add(sums).split([*sizes, len(jobs)])
    return {job: total / counts[job].clamp_min(1) for job, total in enumerate(by_job)}


def _gathered(ranks: Ranks, mine: Iterable[dict[Key, dict[str, Any]]]) -> dict[Key, dict[str, Any]]:
    """Rows of all chains of all ranks. Collective."""
    return {key: row for part in ranks.gather([*mine]) for rows in part for key, row in rows.items()}


def _summary(number: int, config: SGLDConfig, rows: Mapping[Key, Mapping[str, Any]], shared: bool) -> dict[str, float]:
    trace, virial = (
        torch.stack([rows[number, chain][name] for chain in range(config.n_chains)]).numpy()
        for name in ("trace", "virial")
    )
    checked = summarize(virial, shared)
    return {**summarize(trace, shared), "virial": checked["mean"], "virial_mcse": checked["mcse"]}


def _result(
    job: Job,
    about: str,
    chains: Sequence[Mapping[str, Any]],
    summary: Mapping[str, float],
    loss: float,
    norms: Mapping[str, float],
) -> RegionResult:
    trace = torch.stack([chain["trace"] for chain in chains])
    alive = [chain for chain, values in zip(chains, trace, strict=True) if torch.isfinite(values).all()]

    def mean(name: str) -> float:
        return sum(float(chain[name]) for chain in alive) / len(alive) if alive else math.nan

    # The centre of so many draws is off the true one, by an error that has a loss of its own. It is as many times
    # smaller for all chains together as there are, which tells it (exactly so where the loss is quadratic).
    n = len(alive)
    rise = job.n_beta * mean("rise_at_centre")
    if n > 1:
        rise = (n * rise - job.n_beta * mean("rise_at_own_centre")) / (n - 1)
    shift = rise + job.n_beta * mean("slope_at_centre")
    if about == "centre":
        trace = trace - rise
        summary = {**summary, "mean": summary["mean"] - rise}
    kept = trace[torch.isfinite(trace).all(1)]
    return RegionResult(
        region=job.region.name,
        n_parameters=job.region.size,
        n_beta=job.n_beta,
        localization=job.localization,
        step_size=float(chains[0]["step_size"]),
        loss=loss,
        trace=trace,
        about=about,
        shift=shift,
        n_dead=len(chains) - n,
        step_stability=max(float(chain["step_stability"]) for chain in chains),
        noise_ratio=mean("noise_ratio"),
        acceptance=mean("acceptance"),
        localization_share=mean("localization_share"),
        below=float((kept < 0).double().mean()),
        **norms,
        **summary,
    )


def _check_loss(objective: Objective, batch: Batch) -> None:
    loss = objective.loss({}, batch)
    if not isinstance(loss, Tensor) or loss.ndim:
        got = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise InputError(f"loss_fn must return a scalar tensor, the mean loss of the batch; got {got}: add .mean()")
    if not torch.isfinite(loss):
        raise InputError(f"the loss at w* must be finite; got {loss.item()}: check the data and the weights")


def _groups(objective: Objective, regions: Sequence[Region], batch: Batch) -> tuple[list[Group], str]:
    """Regions by structure, and a note where ``torch.vmap`` cannot batch them."""
    by_key: dict[Any, list[Region]] = {}
    for region in regions:
        by_key.setdefault(region.key, []).append(region)
    groups, note = [], ""
    for members in by_key.values():
        # With nothing frozen there is nothing to share, and on a CPU the matrices of a network are large enough alone.
        wanted = objective.device.type != "cpu" or not members[0].whole or members[0].size < LARGE
        group = Group(objective, members, wanted, max(CHUNK, CHUNK_WEIGHTS // members[0].size))
        two = torch.zeros(2, group.size, dtype=objective.dtype, device=objective.device)
        which = torch.zeros(2, dtype=torch.long, device=objective.device)
        tiny = tuple(tensor[:2] for tensor in batch)
        if wanted:
            try:
                group.loss_and_gradient(two, which, tiny)
            except (RuntimeError, NotImplementedError, ValueError, TypeError) as error:
                group.batched = False
                first_line = str(error).strip().splitlines()[0][:150] if str(error).strip() else type(error).__name__
                note = f"torch.vmap cannot batch this loss, chains run one after the other: {first_line}"
        if not group.batched:
            group.loss_and_gradient(two, which, tiny)
        groups.append(group)
    return groups, note
