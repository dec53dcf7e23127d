"""Gauss-Newton matrices of regions: their spectra, and the directions of largest curvature."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import jacrev

from lightning_physim.errors import Diverged, GivenUp, InputError
from lightning_physim.keys import CURVATURES
from lightning_physim.llc.curvature import NO_SPECTRUM
from lightning_physim.llc.objective import LossFn, Objective, Samples, as_tensors, without_trace
from lightning_physim.llc.ranks import Ranks
from lightning_physim.llc.regions import Region, RegionSpec
from lightning_physim.llc.sampled_spectrum import sampled_spectrum
from lightning_physim.llc.spectrum import Spectrum
from lightning_physim.modes import plain_attention

CHUNK_ENTRIES = 2**23
"""Entries of the Jacobian that are held at a time, at most, for regions with fewer coordinates than it has rows."""
BLOCK_ENTRIES = 2**26
"""The same for larger ones, whose Gram matrix needs all rows at once: parameters go in blocks."""
BLOCK_ROWS = 256
"""Rows of a symmetric product that are computed together, from the diagonal on."""
ROUNDED = 0.01
"""Of the smallest curvature that is counted, what products of the Jacobian may round at most."""
EXACT_SIZE = 4096
"""Rows of the largest matrix whose eigenvalues are found. They take a core 6 s and the cube of the size."""


def gauss_newton_spectra(
    module: nn.Module,
    residual_fn: LossFn,
    data: Any,
    regions: Mapping[str, RegionSpec] | None = None,
    distributed: bool = False,
    halves: bool = True,
    stop: Callable[[], bool] | None = None,
) -> dict[str, Spectrum]:
    """Spectra of the Gauss-Newton matrices of regions, exact for the rows that are given, but of very large matrices.

    Regions with fewer coordinates than there are residuals share one Jacobian, and cost what their own matrices do. The
    others go by the Gram matrix ``J J'``, which has the same eigenvalues and the square of the number of residuals as
    entries. Where both have more than :data:`EXACT_SIZE` rows, the spectrum is a :class:`SampledSpectrum`, with a
    standard error. Leaves no trace, as :func:`lightning_physim.llc.estimate_llc` does.

    Args:
        module: any ``nn.Module``; it is evaluated in ``eval`` mode.
        residual_fn: ``(module, batch) -> [rows, ...]``, residuals whose mean square is the loss, of a tuple of rows of
            ``data``. Each row's residuals must depend on that row alone.
        data: tuple of tensors with a common first dimension of at least 2, or a ``Dataset`` of such.
        regions: as of ``estimate_llc``; None for the whole model.
        distributed: share the work among the ranks of ``torch.distributed``. Every rank calls and gets all results.
        halves: find the eigenvalues over half of the rows too; they double the cost of small regions.
        stop: asked before the eigenvalues of each region, and each vector of a sampled spectrum, whether to give up.

    Returns:
        ``{name: Spectrum}``.

    Raises:
        InputError: an empty region, a mask of another shape, residuals without rows, fewer than two rows.
        Diverged: on every rank, as a derivative is not finite.
        GivenUp: on every rank, as ``stop`` said so on one of them.
    """
    regions = {"model": None} if regions is None else regions
    with without_trace(module):
        objective = Objective(module, residual_fn, as_tensors(data))
        if objective.n < 2:
            raise InputError(f"a spectrum takes two rows of data or more; got {objective.n}")
        every = [Region(name, spec, objective.frozen) for name, spec in regions.items()]
        ranks, per_row = Ranks(distributed), residuals_of(objective)[0].numel()
        exact = [region for region in every if min(region.size, objective.n * per_row) <= EXACT_SIZE]
        small, large = _by_size(exact, objective.n * per_row)
        matrices = _covariances(objective, small, per_row, ranks) | _grams(objective, large, per_row, ranks)
        _check_finite(matrices)
        spectra: dict[str, Spectrum] = {}
        for region in every:
            if stop is not None and ranks.any(stop()):
                raise GivenUp
            if region.name in matrices:
                spectra[region.name] = _exact(region, objective.n, *matrices[region.name], halves)
            else:
                spectra[region.name] = sampled_spectrum(objective, region, ranks, halves, stop)
    return spectra


Matrices = dict[str, tuple[Tensor, Tensor]]
"""By name of a region: a matrix with the eigenvalues of G over all rows, and over the first half, float64. Both are
symmetric, and not complete above the diagonal."""


def _by_size(regions: Sequence[Region], n_residuals: int) -> tuple[list[Region], list[Region]]:
    """Regions with no more coordinates than there are residuals, and the others."""
    small = [region for region in regions if region.size <= n_residuals]
    return small, [region for region in regions if region not in small]


def residuals_of(objective: Objective) -> Tensor:
    """The residuals at w*, a row for each of the data.

    Raises:
        InputError: something else.
    """
    residuals = objective.loss({}, objective.data)
    if not isinstance(residuals, Tensor) or not residuals.ndim or len(residuals) != objective.n:
        got = tuple(residuals.shape) if isinstance(residuals, Tensor) else type(residuals).__name__
        raise InputError(f"residual_fn must return a tensor with a row for each of the {objective.n}; got {got}")
    return residuals


def _check_finite(matrices: Matrices) -> None:
    # Not where one rank finds it, with the others waiting: the sums are the same on all.
    if not all(torch.isfinite(whole).all() for whole, _ in matrices.values()):
        raise Diverged(NO_SPECTRUM)


def _covariances(objective: Objective, regions: Sequence[Region], per_row: int, ranks: Ranks) -> Matrices:
    """``J'J``, summed over the rows. Collective: each rank has some of them."""
    if not regions:
        return {}
    names = [name for name in objective.frozen if any(name in region.index for region in regions)]
    sums = {region.name: _zeros(objective, 2, region.size) for region in regions}
    middle = objective.n // 2
    chunk = max(1, CHUNK_ENTRIES // (per_row * sum(objective.frozen[name].numel() for name in names)))
    for half, rows in ((0, range(middle)), (1, range(middle, objective.n))):
        for _, jacobian in _jacobians(objective, names, list(rows)[ranks.rank :: ranks.world], chunk):
            for region in regions:
                columns = region.gather_columns(jacobian).mT
                _add_products(sums[region.name][half], columns, columns.shape[1])
    scales = 2 / (per_row * objective.n), 2 / (per_row * max(middle, 1))  # of one row the half is empty
    found = {}
    for name, halves in sums.items():
        first, second = ranks.add(halves)
        found[name] = scales[0] * (first + second), scales[1] * first
    return found


def _grams(objective: Objective, regions: Sequence[Region], per_row: int, ranks: Ranks) -> Matrices:
    """``J J'``, summed over blocks of parameters. Collective: each rank has some of the rows of each block."""
    n, middle = objective.n * per_row, (objective.n // 2) * per_row
    found = {}
    for region in regions:
        gram = _zeros(objective, n)
        for names in _blocks(objective, list(region.index), BLOCK_ENTRIES // n):
            chunk = max(1, CHUNK_ENTRIES // (per_row * sum(objective.frozen[name].numel() for name in names)))
            mine = list(range(objective.n))[ranks.rank :: ranks.world]
            width = sum(region.lengths[name] for name in names)
            rows = torch.zeros(objective.n, per_row, width, dtype=objective.dtype, device=objective.device)
            for some, jacobian in _jacobians(objective, names, mine, chunk):
                rows[some] = region.gather_columns(jacobian).view(len(some), per_row, width).to(rows.dtype)
            _add_products(gram, ranks.add(rows).view(n, width), n)
        found[region.name] = 2 / n * gram, 2 / middle * gram[:middle, :middle]
    return found


def _add_products(total: Tensor, vectors: Tensor, n_residuals: int) -> None:
    """Add ``vectors @ vectors.mT`` on and below the diagonal, which is all that ``torch.linalg.eigh`` reads.

    Products round by up to their precision times the trace. Where that comes near the smallest curvature that is
    counted, they are in double precision, at more than twice the cost. Derivatives in single precision do no harm: the
    same rounding of a Jacobian is that of the root of a curvature.

    Args:
        total: float64 sum.
        vectors: entries of the Jacobian.
        n_residuals: that they are derivatives of.
    """
    trace = 2 / max(n_residuals, 1) * float(torch.linalg.vector_norm(vectors)) ** 2
    rounds = torch.finfo(vectors.dtype).eps * trace > ROUNDED * min(CURVATURES.values())
    for part in map(Tensor.double, vectors.split(BLOCK_ROWS, 1)) if rounds else [vectors]:
        for start in range(0, len(part), BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            total[start:, block] += part[start:] @ part[block].mT


def _zeros(objective: Objective, *sizes: int) -> Tensor:
    *outer, size = sizes
    return torch.zeros(*outer, size, size, dtype=torch.float64, device=objective.device)


def _blocks(objective: Objective, names: Sequence[str], room: int) -> Iterator[list[str]]:
    """Names of parameters, as many together as have ``room`` for their entries; one in any case."""
    block: list[str] = []
    for name in names:
        if block and sum(objective.frozen[each].numel() for each in (*block, name)) > room:
            yield block
            block = []
        block.append(name)
    yield block


def _jacobians(
    objective: Objective, names: Sequence[str], rows: Sequence[int], chunk: int
) -> Iterator[tuple[Sequence[int], dict[str, Tensor]]]:
    """Some of the rows, and derivatives ``[rows * residuals, entries]`` of their residuals by each named parameter."""
    size = math.ceil(len(rows) / math.ceil(len(rows) / chunk)) if rows else 1  # no chunk is a small rest
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        samples: Samples = tuple(tensor[some] for tensor in objective.data)
        try:
            found = _batched(objective, names, samples)
        except (RuntimeError, NotImplementedError, ValueError, TypeError):  # what torch.vmap cannot batch
            found = _one_by_one(objective, names, samples)
        yield some, found


def _batched(objective: Objective, names: Sequence[str], samples: Samples) -> dict[str, Tensor]:
    def residuals(moved: dict[str, Tensor], *row: Tensor) -> Tensor:
        return objective.loss(moved, tuple(tensor.unsqueeze(0) for tensor in row)).flatten()

    parameters = {name: objective.frozen[name] for name in names}
    with plain_attention():
        derivatives = torch.vmap(jacrev(residuals), in_dims=(None, *[0] * len(samples)))(parameters, *samples)
    return {name: each.detach().flatten(2).flatten(0, 1) for name, each in derivatives.items()}


def _one_by_one(objective: Objective, names: Sequence[str], samples: Samples) -> dict[str, Tensor]:
    leaves = {name: objective.frozen[name].clone().requires_grad_() for name in names}
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    for residual in objective.loss(leaves, samples).flatten():
        gradients = torch.autograd.grad(residual, list(leaves.values()), retain_graph=True, allow_unused=True)
        for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True):
            found[name].append((torch.zeros_like(leaf) if gradient is None else gradient).flatten())
    return {name: torch.stack(each) for name, each in found.items()}


def _exact(region: Region, n_states: int, whole: Tensor, half: Tensor, halves: bool) -> Spectrum:
    of_half = Spectrum(region.name, region.size, n_states // 2, _eigenvalues(half)) if halves else None
    return Spectrum(region.name, region.size, n_states, _eigenvalues(whole), of_half)


def _eigenvalues(matrix: Tensor) -> Tensor:
    return torch.linalg.eigvalsh(matrix).flip(0).clamp_min(0.0).cpu()
