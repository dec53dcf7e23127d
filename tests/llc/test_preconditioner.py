"""Matrices that scale steps, against dense ones."""

import pytest
import torch

from lightning_physim.llc.preconditioner import Directions, LowRank

WHICH = torch.tensor([2, 0, 2, 2, 0])
"""Of the second job there is no replica, and of the third there are more than of the first."""


@pytest.fixture
def vectors() -> torch.Tensor:
    random = torch.randn(3, 7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return torch.linalg.qr(random)[0].mT


def test_replicas_have_the_directions_of_their_jobs(vectors):
    directions, x = Directions(vectors, WHICH), torch.randn(5, 7, dtype=torch.float64)
    along = torch.stack([vectors[job] @ each for job, each in zip(WHICH, x, strict=True)])
    torch.testing.assert_close(directions.along(x), along)
    combined = torch.stack([each @ vectors[job] for job, each in zip(WHICH, along, strict=True)])
    torch.testing.assert_close(directions.combine(along), combined)
    rows = torch.tensor([4, 0])
    torch.testing.assert_close(directions.select(rows).along(x[rows]), along[rows])


def test_a_low_rank_matrix_is_the_inverse_of_what_it_says_and_its_root_the_root(vectors):
    values, rest = 1 + torch.rand(5, 4, dtype=torch.float64), 0.5 + torch.rand(5, dtype=torch.float64)
    scale, x = LowRank(Directions(vectors, WHICH), values, rest), torch.randn(5, 7, dtype=torch.float64)
    for i, job in enumerate(WHICH):
        v = vectors[job]
        curvature = v.T * values[i] @ v + rest[i] * (torch.eye(7).double() - v.T @ v)
        torch.testing.assert_close(scale.apply(x)[i], torch.linalg.solve(curvature, x[i]))
    torch.testing.assert_close(scale.root(scale.root(x)), scale.apply(x))
