"""Claim (c) on heads in gradient flow whose potential is known."""

import numpy as np
import pytest

from lightning_physim.claims import Study, emergence_has_a_potential
from tests.helpers.studies import TIMES, UNIFORM, flows


@pytest.mark.parametrize(
    "kinds, verdict, words",
    [
        (["logistic", "slope"], "not supported", ("no degenerate start", "several potentials", "6 exponential")),
        (["logistic", "logistic"], "not supported", ("no degenerate start", "no sign of several", "12 exponential")),
        (["cubic", "cubic"], "undecided", (", degenerate start", "no sign of several", "12 exponential")),
        (["twice cubic", "twice cubic"], "supported", (", degenerate start", "no sign of several")),
    ],
)
def test_known_potentials_are_found(kinds, verdict, words):
    claim = emergence_has_a_potential(flows(kinds))
    assert claim.verdict == verdict, claim.reason
    assert all(each in claim.reason for each in words), claim.reason
    assert claim.reason.startswith("12 of 12 collision heads that are used are at the limit")
    order = {"logistic": 1.0, "cubic": 2.0, "twice cubic": 2.0, "slope": 0.0}
    assert claim.numbers["order of growth"] == pytest.approx(np.mean([order[kind] for kind in kinds]), abs=0.1)


def test_nothing_is_said_of_what_is_not_at_the_limit():
    claim = emergence_has_a_potential(flows(["logistic", "slope"], late=1.2))
    assert claim.verdict == "undecided"
    assert claim.reason.startswith("0 of 12")
    assert "of 6 losses on colliding particles 0 are at the limit" in claim.reason


def test_a_head_whose_run_is_over_too_soon_or_that_is_not_used_is_left_out():
    study = flows(["logistic", "logistic"], n_seeds=1)
    fine = study.flow_fine[0]
    steps, _ = fine["probe/partner_score/L0H0"]
    slow = np.append(UNIFORM, UNIFORM + 0.6 * TIMES / TIMES[-1])
    fine["probe/partner_score/L0H0"], fine["probe/enrichment/L0H0"] = (steps, slow), (steps, slow / UNIFORM)
    told = emergence_has_a_potential(study)
    assert told.reason.startswith("1 of 2 ") and told.verdict == "undecided"
    fine["probe/ablation/L0H1"] = (steps[1:], 0 * steps[1:])
    assert emergence_has_a_potential(study).reason.startswith("0 of 1 ")


def test_a_study_without_gradient_flow_says_what_to_type():
    claim = emergence_has_a_potential(Study({}))
    assert claim.verdict == "undecided" and "--claims=c" in claim.reason
    assert claim.numbers["seeds in gradient flow at two step sizes"] == 0
