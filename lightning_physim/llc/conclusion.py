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
    plain, virials, alike, halves, controls = (
        torch.stack(each) for each in zip(*(chain.draws for chain in chains), strict=True)
    )
    own = torch.tensor([[*chain.own] for chain in alive], dtype=torch.float64).view(-1, 5)
    own_plain, own_virials, own_alike, own_halves, own_controls = own.unbind(1)
    noise = _mean([chain.noise_ratio for chain in alive])
    told = partial(_estimate, shared=_shared(config, minibatches), noise_ratio=noise)
    shift = _mean([chain.shift for chain in alive]) - off(own_plain).mean
    left_out = 0.0 if config.about == "centre" else shift
    if config.about == "anchor":
        own_plain = torch.zeros_like(own_plain)
    draws, own, equipartitions, own_equipartitions = plain, own_plain, halves, own_halves
    # Of all living chains or of none: ranks may differ in whether they could keep what virials take.
    known = all(torch.isfinite(chain.draws.virial).all() for chain in alive)
    controlled = config.zero_variance and len(alive) > 0 and known
    if controlled:
        taken = _share_of_virial(told(plain, own_plain).mean - left_out, told(halves, own_halves).mean)
        draws, own = plain - taken * controls, own_plain - taken * own_controls
        equipartitions, own_equipartitions = halves - virials, own_halves - own_virials
    values, equipartition = told(draws, own), told(equipartitions, own_equipartitions)
    about_centre = values.mean - left_out
    covered, half = _mean([chain.covered for chain in alive]), abs(equipartition.mean)
    # The control takes the heat of the directions that are known out of a draw, to first order.
    missed = abs(half - covered) / max(half, covered) if half else 1.0
    kept = min(1.0, noise + missed) if controlled else 1.0
    # Without localization no R-hat of positions sees soft directions that have not arrived.
    weighted = job.localization and covered >= COVERED * abs(about_centre)
    virial = told(virials, own_virials) if weighted else told(alike, own_alike)
    # Unweighted it is the heat of all coordinates, of which the estimate has the loss's share.
    share = 1.0 if weighted else min(1.0, 2 * abs(about_centre) / job.region.size)
    order = 2 * equipartition.mean / about_centre if about_centre else math.nan
    slack = told(2 * equipartitions - order * draws, 2 * own_equipartitions - order * own).mcse
    # About the anchor the controlled draws do not tell by how much the loss at the centre errs.
    untold = controlled and config.about == "anchor"
    margin = math.nan if untold or about_centre <= 3 * values.mcse else 1.96 * slack / about_centre
    away, within = ([each for chain in alive for each in getattr(chain, name)] for name in ("away", "within"))
    position = rhat_of_positions(away, within, plain.shape[1] * len(alive) // max(len(away), 1))
    trace = draws + off(own).mean
    living = trace[torch.isfinite(trace).all(1)]
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
        noise_ratio=noise * kept,
        virial=virial.mean,
        virial_mcse=virial.mcse,
        virial_kept=kept * share,
        equipartition=equipartition.mean,
        equipartition_mcse=equipartition.mcse,
        order=order,
        order_lo=order - margin,
        order_hi=order + margin,
        walk=_mean([chain.walk for chain in alive]),
        walk_mcse=_mean([chain.walk_mcse for chain in alive]),
        acceptance=_mean([chain.acceptance for chain in alive]),
        localization_share=_mean([chain.localization_share for chain in alive]),
        below=float((living < 0).double().mean()),
        grad_norm=float(job.region.gather(minibatches.whole.gradients).norm()),
        weight_norm=float(job.region.gather(minibatches.objective.frozen).norm()),
    )


def _share_of_virial(about_centre: float, equipartition: float) -> float:
    """Share of its virial that the loss of a draw varies by: 2/p for an order p, which is 1 on a quadratic loss.

    A loss of order p has ``w . grad L = p L``, so the learning coefficient is 2/p times equipartition, with heat or
    without. Orders below 1 are noise.

    Args:
        about_centre: the learning coefficient about the centre, by plain draws, as is the other.
        equipartition: of the same draws.
    """
    return min(max(about_centre / equipartition, 0.0), 2.0) if equipartition > 0 else 1.0


def _shared(config: SGLDConfig, minibatches: Minibatches) -> Shared | None:
    if minibatches.full:
        return None
    dealt = minibatches.count * minibatches.size
    return Shared(minibatches.size, dealt, minibatches.objective.n, config.control_variate)


def _estimate(draws: Tensor, own: Tensor, shared: Shared | None, noise_ratio: float) -> Summary:
    """Of draws ``[chains, draws]``, with what is missing as their centre is off."""
    found, missing = summarize(draws.numpy(), shared, noise_ratio), off(own)
    return found._replace(mean=found.mean + missing.mean, mcse=math.hypot(found.mcse, missing.mcse))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
