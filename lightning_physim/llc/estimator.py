"""``estimate_llc``: local learning coefficients of regions of a network."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from lightning_physim.errors import Diverged, GivenUp, InputError
from lightning_physim.llc.chains import Chains, Mean
from lightning_physim.llc.conclusion import conclude
from lightning_physim.llc.config import SGLDConfig
from lightning_physim.llc.diagnostics import more_draws_may_mend
from lightning_physim.llc.minibatches import Minibatches
from lightning_physim.llc.objective import Group, LossFn, Objective, Samples, as_tensors, without_trace
from lightning_physim.llc.ranks import Ranks
from lightning_physim.llc.regions import Region, RegionSpec
from lightning_physim.llc.result import LLCResult, RegionResult
from lightning_physim.llc.sampler import Job, Key
from lightning_physim.llc.starts import start_chains

T = TypeVar("T")
Stop = Callable[[], bool]
CHECK_EVERY = 25
"""Draws between looks at the budget."""
DIAGNOSTIC_BATCHES = 6
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
    stop: Stop | None = None,
    residual_fn: LossFn | None = None,
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
        stop: asked between draws whether to give up.
        residual_fn: ``(module, batch) -> [rows, ...]``, residuals whose mean square is the loss. Their Gauss-Newton
            matrix then says which directions count, in place of the few that Hessian-vector products find. Each row's
            residuals must depend on that row alone. Regions of up to 131 072 coordinates.

    Returns:
        ``{name: RegionResult}``.

    Raises:
        InputError: an empty region, a mask of another shape, a loss that is no scalar, no gradients.
        Diverged: the loss at w* or its curvature is not finite.
        GivenUp: on every rank, as ``stop`` said so on one of them.
    """
    config = config or SGLDConfig()
    regions = {"model": None} if regions is None else regions
    start = time.perf_counter()
    with without_trace(module):
        objective = Objective(module, loss_fn, as_tensors(data), residual_fn)
        resolved = [Region(name, spec, objective.frozen) for name, spec in regions.items()]
        n_beta = config.n_beta or default_n_beta(objective.n)
        jobs = [Job(region, n_beta, config.localization, config.step_size) for region in resolved]
        ranks = Ranks(distributed)
        results, note = sample(objective, jobs, config, ranks, stop)
    result = LLCResult(zip(regions, results, strict=True))
    result.seconds, result.note = time.perf_counter() - start, note
    return result


def default_n_beta(n: int) -> float:
    """n / ln n, the inverse temperature of the widely applicable BIC (Watanabe 2013), times n."""
    return n / math.log(max(n, 3))


def sample(
    objective: Objective,
    jobs: Sequence[Job],
    config: SGLDConfig,
    ranks: Ranks,
    stop: Stop | None = None,
) -> tuple[list[RegionResult], str]:
    """Run every chain of every job in one loop; results in the order of the jobs. Collective."""
    # Each rank of DDP has batch statistics of its own; the chains of all are to see the same network.
    objective.buffers = ranks.of_first(objective.buffers)
    regions = list({job.region.name: job.region for job in jobs}.values())
    names = list(dict.fromkeys(name for region in regions for name in region.index))
    minibatches = Minibatches(objective, names, config.batch_size, config.seed)
    _check_loss(objective, minibatches.samples(0))
    groups, note = _groups(objective, regions, minibatches.samples(0))
    chains = _started(jobs, groups, config, minibatches, ranks, stop)
    return _run(jobs, chains, config, minibatches, ranks, stop), note


def _started(
    jobs: Sequence[Job],
    groups: Sequence[Group],
    config: SGLDConfig,
    minibatches: Minibatches,
    ranks: Ranks,
    stop: Stop | None,
) -> list[Chains]:
    """The chains of this rank with their kernels, where they start. Collective.

    Raises:
        InputError, GivenUp, Diverged: on every rank, what one of them raises.
    """
    every = [(job, chain) for job in range(len(jobs)) for chain in range(config.n_chains)]
    mine = every[ranks.rank :: ranks.world]
    dealt = [(group, [key for key in mine if jobs[key[0]].region in group.regions]) for group in groups]
    refusal: InputError | GivenUp | Diverged | None = None
    chains: list[Chains] = []
    try:
        chains = start_chains(jobs, [(group, keys) for group, keys in dealt if keys], config, minibatches, stop)
    except (InputError, GivenUp, Diverged) as error:
        refusal = error
    # Collective: a rank that holds no chain of the region at fault would wait for the others for ever.
    for each in ranks.gather(refusal):
        if each is not None:
            raise each
    return chains


def _run(
    jobs: Sequence[Job],
    chains: Sequence[Chains],
    config: SGLDConfig,
    minibatches: Minibatches,
    ranks: Ranks,
    stop: Stop | None,
) -> list[RegionResult]:
    """Move the chains to the end; the results in the order of the jobs. Collective.

    Raises:
        GivenUp: on every rank.
    """
    start, first = time.perf_counter(), config.n_burn_in
    t, end = 0, first + config.n_draws
    last = first + config.n_draws * 2**config.doublings
    target, look = config.target_mcse or 0.0, first + CHECK_EVERY
    going, found = list(range(len(jobs))), dict[int, RegionResult]()
    while going:
        if stop is not None and ranks.any(stop()):
            raise GivenUp
        if t == first and config.control_variate and config.n_burn_in > 1:
            # By the second half of burn-in, when chains have mostly forgotten where they started.
            means = _means(jobs, chains, minibatches.objective, ranks)
            for each in chains:
                each.refer_to(means)
        if t in (first - config.n_burn_in // 2, first):
            for each in chains:
                each.forget()
        minibatch = minibatches[t]
        for each in chains:
            each.step(minibatch, record=t >= first)
        t += 1
        is_late = False
        if config.max_seconds is not None and t > first and (t - first) % CHECK_EVERY == 0:
            # Collective: all ranks look at the same clock, and stop at the same draw.
            is_late = ranks.agreed(time.perf_counter() - start) > config.max_seconds
        looks = t == look and target > 0
        if not (looks or t == end or is_late):
            continue
        found |= _results(jobs, going, chains, config, minibatches, ranks, t)
        if is_late or (looks and all(found[number].mcse <= target for number in going)):
            break
        if looks:
            # An error as it will be stated takes a look at every minibatch: seldom, the more draws there are.
            look += max(CHECK_EVERY, (t - first) // 2)
        if t == end:
            going = [number for number in going if t < last and more_draws_may_mend(found[number].failures)]
            end = first + 2 * (t - first)
            chains = _of_jobs(chains, going, end - first)
    return [found[number] for number in range(len(jobs))]


def _of_jobs(chains: Sequence[Chains], jobs: Sequence[int], n_draws: int) -> list[Chains]:
    """Those of some jobs, on their way to so many draws in all."""
    rows = [[row for row, (job, _) in enumerate(each.replicas.keys) if job in jobs] for each in chains]
    return [each.select(some, n_draws) for each, some in zip(chains, rows, strict=True) if some]


def _results(
    jobs: Sequence[Job],
    numbers: Sequence[int],
    chains: Sequence[Chains],
    config: SGLDConfig,
    minibatches: Minibatches,
    ranks: Ranks,
    end: int,
) -> dict[int, RegionResult]:
    """What the draws up to minibatch ``end`` say of some jobs. Collective."""
    some = minibatches.different(DIAGNOSTIC_BATCHES)
    means = _means(jobs, chains, minibatches.objective, ranks)
    drawn = range(config.n_burn_in, end)
    records = _of_all(ranks, [each.records(means, drawn, some) for each in chains])
    return {
        number: conclude(
            jobs[number], config, [records[number, chain] for chain in range(config.n_chains)], minibatches
        )
        for number in numbers
    }


def _means(jobs: Sequence[Job], chains: Sequence[Chains], objective: Objective, ranks: Ranks) -> dict[int, Mean]:
    """Of every job.

    Collective: ranks add up their chains.
    """
    sizes = [job.region.size for job in jobs]
    sums = torch.zeros(2, sum(sizes), dtype=objective.dtype, device=objective.device)
    counts = torch.zeros(len(jobs), dtype=objective.dtype, device=objective.device)
    by_job = sums.split(sizes, 1)
    for each in chains:
        rows = zip(each.replicas.keys, each.state.alive.tolist(), each.means().unbind(1), strict=True)
        for (job, _), alive, mean in rows:
            if alive:
                by_job[job].add_(mean)
                counts[job] += 1
    counts = ranks.add(counts)
    totals = enumerate(ranks.add(sums).split(sizes, 1))
    return {job: (total / counts[job].clamp_min(1), counts[job]) for job, total in totals}


def _of_all(ranks: Ranks, mine: list[dict[Key, T]]) -> dict[Key, T]:
    """What is known of the chains of all ranks. Collective."""
    return {key: value for part in ranks.gather(mine) for group in part for key, value in group.items()}


def _check_loss(objective: Objective, samples: Samples) -> None:
    moving = {name: p.clone().requires_grad_() for name, p in objective.frozen.items() if p.is_floating_point()}
    loss = objective.loss(moving, samples)
    if not isinstance(loss, Tensor) or loss.ndim:
        got = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise InputError(f"loss_fn must return a scalar tensor, the mean loss of the batch; got {got}: add .mean()")
    if not loss.requires_grad:
        raise InputError("loss_fn must depend on the parameters; got a loss without a gradient: do not detach it")
    if not torch.isfinite(loss):
        raise Diverged(f"the loss at w* is {loss.item()}: there is no learning coefficient")


def _groups(objective: Objective, regions: Sequence[Region], samples: Samples) -> tuple[list[Group], str]:
    """Regions by structure, and a note where ``torch.vmap`` cannot batch them."""
    by_key: dict[Any, list[Region]] = {}
    for region in regions:
        by_key.setdefault(region.key, []).append(region)
    groups, note = [], ""
    for members in by_key.values():
        # With nothing frozen there is nothing to share, and on a CPU the matrices of a network are large enough alone.
        wanted = objective.device.type != "cpu" or not members[0].whole or members[0].size < LARGE
        group = Group(objective, members, max(CHUNK, CHUNK_WEIGHTS // members[0].size))
        if wanted and (reason := group.try_batching(samples)):
            note = f"torch.vmap cannot batch this loss, chains run one after the other: {reason}"
        group.batched = group.batched and wanted
        if not group.batched:
            # What no replica can do alone is told before there are chains.
            one = torch.zeros(1, group.size, dtype=objective.dtype, device=objective.device)
            which = torch.zeros(1, dtype=torch.long, device=objective.device)
            group.loss_and_gradient(one, which, tuple(tensor[:2] for tensor in samples))
        groups.append(group)
    return groups, note
