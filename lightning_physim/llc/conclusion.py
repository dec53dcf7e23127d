"""From what is known of the chains of a job to its estimate."""

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from lightning_physim.llc.chains import ChainRecord
from lightning_physim.llc.config import SGLDConfig
from lightning_physim.llc.minibatches import Minibatches
from lightning_physim.llc.result import RegionResult
from lightning_physim.llc.sampler import Job
from lightning_physim.llc.summary import Shared, Summary, off, rhat_of_positions, summarize

COVERED = 0.5
"""Share of the estimate, at least, that directions must make up for the virial to be weighted by them."""


def conclude(job: Job, config: SGLDConfig, chains: Sequence[ChainRecord], minibatches: Minibatches) -> RegionResult:
    """The estimate of a job by what is known of its chains."""
    alive = [chain for chain in chains if torch.isfinite(chain.draws.value).all()]
    plain, virials, alike, halves, drifts = (
        torch.stack(each) for each in zip(*(chain.draws for chain in chains), strict=True)
    )
    own = torch.tensor([[*chain.own] for chain in alive], dtype=torch.float64).view(-1, 5)
    own_plain, own_virials, own_alike, own_halves, own_drifts = own.unbind(1)
    noise = _mean([chain.noise_ratio for chain in alive])
    told = partial(_estimate, shared=_shared(config, minibatches), noise_ratio=noise)
    shift = _mean([chain.shift for chain in alive]) - off(own_plain).mean
    if config.about == "anchor":
        own_plain = torch.zeros_like(own_plain)
    draws, own, equipartitions, own_equipartitions = plain, own_plain, halves, own_halves
    left = 1.0
    # Of all living chains or of none: ranks may differ in whether they could keep what virials take.
    if config.zero_variance and alive and all(torch.isfinite(chain.draws.virial).all() for chain in alive):
        draws, own = plain - virials - drifts, own_plain - own_virials - own_drifts
        equipartitions, own_equipartitions = halves - virials, own_halves - own_virials
        left = noise
    values, equipartition = told(draws, own), told(equipartitions, own_equipartitions)
    without_slope = config.about == "anchor" and draws is not plain
    if without_slope:
        values = values._replace(mcse=math.hypot(values.mcse, _error_of_centre(own, alive)))
    about_centre = values.mean if config.about == "centre" else values.mean - shift
    covered = _mean([chain.covered for chain in alive])
    # The virial takes the heat of the directions that are known out of a draw, to first order.
    left += abs(about_centre - covered) / max(abs(about_centre), covered) if about_centre else 1.0
    # Without localization no R-hat of positions sees soft directions that have not arrived.
    weighted = job.localization and covered >= COVERED * abs(about_centre)
    virial = told(virials, own_virials) if weighted else told(alike, own_alike)
    order = 2 * equipartition.mean / about_centre if about_centre else math.nan
    slack = told(2 * equipartitions - order * draws, 2 * own_equipartitions - order * own).mcse
    # Where the slope at the centre is taken from each draw, no draws tell by how much the centre errs.
    margin = 1.96 * slack / about_centre if about_centre > 3 * values.mcse and not without_slope else math.nan
    position = rhat_of_positions([chain.away for chain in alive], [chain.within for chain in alive], plain.shape[1])
    trace = draws + off(own).mean
    kept = trace[torch.isfinite(trace).all(1)]
    return RegionResult(
        region=job.region.name,
        n_parameters=job.region.size,
        n_beta=job.n_beta,
        localization=job.localization,
        step_size=chains[0].step_size,
        loss=float(minibatches.whole.loss),
        about=config.about,
        trace=trace,
        mean=values.mean,
        shift=shift,
        mcse=values.mcse,
        rhat=summarize(plain.numpy()).rhat,  # of what has not arrived, where they have not
        # Without localization flat directions have no end, where chains would arrive.
        rhat_position=position if job.localization else math.nan,
        ess=values.ess,
        n_dead=len(chains) - len(alive),
        step_stability=max(chain.step_stability for chain in chains),
        noise_ratio=noise * min(1.0, left),
        virial=virial.mean,
        virial_mcse=virial.mcse,
        equipartition=equipartition.mean,
        equipartition_mcse=equipartition.mcse,
        order=order,
        order_lo=order - margin,
        order_hi=order + margin,
        walk=_mean([chain.walk for chain in alive]),
        walk_mcse=_mean([chain.walk_mcse for chain in alive]),
        acceptance=_mean([chain.acceptance for chain in alive]),
        localization_share=_mean([chain.localization_share for chain in alive]),
        below=float((kept < 0).double().mean()),
        grad_norm=float(job.region.gather(minibatches.whole.gradients).norm()),
        weight_norm=float(job.region.gather(minibatches.objective.frozen).norm()),
    )


def _shared(config: SGLDConfig, minibatches: Minibatches) -> Shared | None:
    if minibatches.full:
        return None
    dealt = minibatches.count * minibatches.size
    return Shared(minibatches.size, dealt, minibatches.objective.n, config.control_variate)


def _estimate(draws: Tensor, own: Tensor, shared: Shared | None, noise_ratio: float) -> Summary:
    """Of draws ``[chains, draws]``, with what is missing as their centre is off."""
    found, missing = summarize(draws.numpy(), shared, noise_ratio), off(own)
    return found._replace(mean=found.mean + missing.mean, mcse=math.hypot(found.mcse, missing.mcse))


def _error_of_centre(own: Tensor, chains: Sequence[ChainRecord]) -> float:
    """Standard error, by the error of the centre, of an estimate about the anchor whose draws lack virial and drift.

    On a quadratic loss these leave ``-n_beta c'Hc/2`` of the error c of the centre in all draws alike, so that neither
    draws nor chains differ by it. What is added for it (:func:`lightning_physim.llc.summary.off`) is its mean, whose
    error is stated there. Its own spread about that is of a chi-square over ``(sum f)^2 / sum f^2`` directions.

    Args:
        own: what the means of single chains add, ``[chains]``.
        chains: those chains.
    """
    directions = _mean([chain.directions for chain in chains])
    return abs(off(own).mean) * math.sqrt(2 / directions) if directions > 0 else 0.0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
