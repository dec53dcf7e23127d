"""Curvature by products with vectors: the Lanczos method, for several functions at once, and its relatives."""

from collections.abc import Callable

import torch
from torch import Tensor

from lightning_physim.errors import Diverged

NO_SPECTRUM = "the derivatives of the residuals are not finite: there is no spectrum"
ROUNDING = 1e-5
"""Share of a vector, below which what is left of it beyond a basis is rounding, and the Krylov space is exhausted."""


def lanczos(product: Callable[[Tensor], Tensor], start: Tensor, n_steps: int) -> tuple[Tensor, Tensor]:
    """Ritz values and vectors of symmetric operators, with full reorthogonalisation.

    The extreme ones converge first (Golub and Van Loan, Matrix Computations, 10.1): a dozen steps give the largest
    eigenvalue of a network's Hessian to a few per cent, from below.

    Args:
        product: ``[operators, size] -> [operators, size]``, each row multiplied by its own operator.
        start: ``[operators, size]``, not zero.
        n_steps: products; at most ``size`` are made.

    Returns:
        Ritz values ``[operators, steps]``, descending, and their orthonormal vectors ``[operators, steps, size]``.
        Where a Krylov space is exhausted, as by eigenvalues that are alike, another direction begins a new one.

    Raises:
        Diverged: a product is not finite.
    """
    n_steps = min(n_steps, start.shape[1])
    basis = [start / start.norm(dim=1, keepdim=True)]
    diagonal: list[Tensor] = []
    off_diagonal: list[Tensor] = []
    while True:
        image = product(basis[-1])
        diagonal.append((image * basis[-1]).sum(1))
        if len(basis) == n_steps:
            break
        scale, image = image.norm(dim=1), _orthogonal(image, basis)
        norm = image.norm(dim=1)
        exhausted = norm <= ROUNDING * scale
        off_diagonal.append(torch.where(exhausted, 0.0, norm))
        if exhausted.any():
            image = torch.where(exhausted[:, None], _orthogonal(_other(start, len(basis)), basis), image)
        basis.append(image / image.norm(dim=1, keepdim=True).clamp_min(1e-30))
    tridiagonal = torch.diag_embed(torch.stack(diagonal, 1))
    if off_diagonal:
        beside = torch.diag_embed(torch.stack(off_diagonal, 1), offset=1)
        tridiagonal = tridiagonal + beside + beside.mT
    if not torch.isfinite(tridiagonal).all():
        raise Diverged("the curvature of the loss is not finite: there is no learning coefficient")
    values, rotation = torch.linalg.eigh(tridiagonal)
    vectors = torch.einsum("osd,osk->okd", torch.stack(basis, 1), rotation)
    return values.flip(1), vectors.flip(1)


def spectral_measure(product: Callable[[Tensor], Tensor], vector: Tensor, n_steps: int) -> tuple[Tensor, Tensor]:
    """Where among the eigenvalues of symmetric operators H a vector v lies, as points with weights.

    ``(weights * f(values)).sum(1)`` is ``v' f(H) v`` by Gauss quadrature (Golub and Meurant 2010, chapter 6): exact
    for polynomials of degree below ``2 n_steps``, and from below where all even derivatives of f are positive.

    Args:
        product: as of :func:`lanczos`.
        vector: ``[operators, size]``, not zero.
        n_steps: points, at most.

    Returns:
        Values, descending, and weights, none negative and ``|v|^2`` in sum, both ``[operators, steps]``.

    Raises:
        Diverged: a product is not finite.
    """
    values, vectors = lanczos(product, vector, n_steps)
    return values, (vectors * vector[:, None]).sum(2).square()


def bidiagonal_measure(
    forward: Callable[[Tensor], Tensor], adjoint: Callable[[Tensor], Tensor], vector: Tensor, n_steps: int
) -> tuple[Tensor, Tensor]:
    """:func:`spectral_measure` of one operator A'A, by products with A and A' alone.

    Golub and Kahan's bidiagonalisation (Golub and Van Loan, 10.4) with full reorthogonalisation. In single precision
    products with A'A leave a noise of the largest eigenvalue in all others, and the many directions of its null space
    would count by it. Squares of singular values have no such noise.

    Args:
        forward: A, ``[size] -> [rows]``.
        adjoint: A', ``[rows] -> [size]``.
        vector: ``[size]``, not zero.
        n_steps: points, at most; fewer where the Krylov space is exhausted.

    Returns:
        Values, descending, and weights, none negative and ``|vector|^2`` in sum, both float64 ``[points]``.

    Raises:
        Diverged: a product is not finite.
    """
    right = vector.new_zeros(n_steps, len(vector))
    right[0] = vector / vector.norm()
    image = forward(right[0])
    left = image.new_zeros(n_steps, len(image))
    diagonal, beside = list[Tensor](), list[Tensor]()
    for k in range(n_steps):
        norm, left[k] = _beyond(image, left[:k])
        diagonal.append(norm)
        if k + 1 == n_steps or not norm:
            break
        norm, right[k + 1] = _beyond(adjoint(left[k]), right[: k + 1])
        if not norm:
            break
        beside.append(norm)
        image = forward(right[k + 1])
    bidiagonal = torch.stack(diagonal).double().diag()
    if beside:
        bidiagonal = bidiagonal + torch.stack(beside).double().diag(1)
    _, singular, rows = torch.linalg.svd(bidiagonal.cpu())
    return singular.square(), rows[:, 0].square() * float(vector.double().square().sum())


def quadratic_fall(values: Tensor, weights: Tensor, times: Tensor) -> Tensor:
    """By how much gradient flow lowers quadratic losses, ``sum w (1 - exp(-2 h t)) / 2h``, from a point on.

    No law is fitted: a power law of a broad spectrum comes out as well as an exponential. Down ``x^4``, along which the
    curvature falls too, it gives less than the true fall: two thirds of the loss at late times.

    Args:
        values, weights: :func:`spectral_measure` of the gradient at that point under the Hessian there, ``[operators,
            steps]``. Negative curvatures h count as they are: what they add grows exponentially.
        times: of gradient flow since that point, ``[times]``.

    Returns:
        ``[operators, times]``; from below with few points of the measure.
    """
    exponents = 2 * values[:, :, None] * times
    elapsed = times * torch.where(exponents == 0, 1.0, -torch.expm1(-exponents) / exponents)
    return (weights[:, :, None] * elapsed).sum(1)


def susceptibility(values: Tensor, weights: Tensor, c: float) -> Tensor:
    """How easily a quantity s of the weights moves, ``grad s' (H + c)^-1 grad s``.

    It is ``n_beta`` times the variance of s where weights are drawn with ``localization / n_beta = c`` from a quadratic
    loss, as far as s is linear there.

    Args:
        values, weights: :func:`spectral_measure` of the gradient of s under H, ``[operators, steps]``.
        c: curvature, positive, above which a direction holds the weights fast.

    Returns:
        ``[operators]``, in squared units of s per unit of the loss; from below with few points of the measure.
    """
    return (weights / (values + c)).sum(1)


def _orthogonal(vectors: Tensor, basis: list[Tensor]) -> Tensor:
    """What of vectors is orthogonal to a basis, all ``[operators, size]``."""
    for _ in range(2):  # twice is enough
        for each in basis:
            vectors = vectors - (vectors * each).sum(1, keepdim=True) * each
    return vectors


def _beyond(vector: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """Norm and direction of what a vector ``[size]`` has beyond an orthonormal basis ``[vectors, size]``.

    Of norm 0 where that is rounding alone.

    Raises:
        Diverged: the vector is not finite.
    """
    scale = vector.norm()
    if not torch.isfinite(scale):
        raise Diverged(NO_SPECTRUM)
    for _ in range(2):
        vector = vector - (basis @ vector) @ basis
    norm = vector.norm()
    if norm <= ROUNDING * scale:
        return torch.zeros_like(norm), vector
    return norm, vector / norm


def _other(like: Tensor, number: int) -> Tensor:
    """A direction that is related to no other number's, ``[operators, size]``."""
    position = torch.arange(1, like.shape[1] + 1, dtype=like.dtype, device=like.device)
    return torch.sin(position.square() * (number + 0.5)).expand_as(like)
