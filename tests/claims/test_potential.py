"""Claim (c) on heads in gradient flow whose potential is known."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from lightning_physim.claims import Study, emergence_has_a_potential
from lightning_physim.claims.plan import ROLES

UNIFORM = 0.1
TIMES = np.geomspace(2.0, 320.0, 89)


def risen(order: float, approach: float, first: float, half: float) -> np.ndarray:
    """Share of the rise of ``dx/dt = x^order (1 - x)^approach`` at :data:`TIMES`, half of it at a time."""

    def slope(_, x):
        return np.clip(x, 0, 1) ** order * np.clip(1 - x, 0, 1) ** approach

    def passes(level):
        return lambda _, x: x[0] - level

    found = solve_ivp(
        slope, (0, 1e5), [first], events=[passes(0.1), passes(0.5)], rtol=1e-9, atol=1e-12, dense_output=True
    )
    tenth, middle = (float(times[0]) for times in found.t_events)
    return found.sol(np.clip(middle + (TIMES - half) * (middle - tenth) / (0.5 * half), 0, 1e5))[0]


KINDS = {
    "logistic": lambda half: risen(1, 1, 1e-6, half),
    "cubic": lambda half: risen(2, 1, 1e-3, half),
    "slope": lambda half: risen(0, 1, 0.0, half),
}


def flows(kinds: list[str], late: float = 1.0, n_seeds: int = 6) -> Study:
    """A study in gradient flow, a head of each kind on every seed; coarse steps are later by a factor."""
    found: dict[str, dict[int, dict]] = {"flow": {}, "flow_fine": {}}
    for seed in range(n_seeds):
        for role, runs in found.items():
            rng = np.random.default_rng([seed, len(role)])
            steps = np.append(0, np.round(TIMES / ROLES[role].time))
            factor = late if role == "flow" else 1.0
            run = {}
            for i, kind in enumerate(kinds):
                share = KINDS[kind](factor * (70 + 8 * (seed + i)))
                share = np.append(share[:1], share + rng.normal(0, 0.004, len(share)))
                score = UNIFORM + (0.6 + 0.02 * i) * share
                run |= {
                    f"probe/partner_score/L0H{i}": (steps, score),
                    f"probe/enrichment/L0H{i}": (steps, score / UNIFORM),
                    f"probe/ablation/L0H{i}": (steps[1:], np.full(len(steps) - 1, 0.3)),
                }
            loss = 0.3 + 0.7 * np.exp(-TIMES / (60 * factor)) + rng.normal(0, 0.0015, len(TIMES))
            runs[seed] = run | {"val/loss_colliding": (steps[1:], loss)}
    return Study({}, flow=found["flow"], flow_fine=found["flow_fine"])


@pytest.mark.parametrize(
    "kinds, verdict, words",
    [
        (["logistic", "slope"], "not supported", ("no degenerate start", "several potentials", "6 exponential")),
        (["logistic", "logistic"], "not supported", ("no degenerate start", "no sign of several")),
        (["cubic", "cubic"], "undecided", (", degenerate start", "no sign of several", "6 exponential")),
    ],
)
def test_known_potentials_are_found(kinds, verdict, words):
    claim = emergence_has_a_potential(flows(kinds))
    assert claim.verdict == verdict, claim.reason
    assert all(each in claim.reason for each in words), claim.reason
    assert claim.reason.startswith("12 of 12 collision heads that are used are at the limit")
    order = {"logistic": 1.0, "cubic": 2.0, "slope": 0.0}
    assert claim.numbers["order of growth"] == pytest.approx(np.mean([order[kind] for kind in kinds]), abs=0.1)


def test_a_degenerate_start_is_supported_unless_the_loss_says_otherwise():
    study = flows(["cubic", "cubic"])
    for run in (*study.flow.values(), *study.flow_fine.values()):
        run["val/loss_colliding"] = tuple(each[::9] for each in run["val/loss_colliding"])  # too few to name a law
    claim = emergence_has_a_potential(study)
    assert claim.verdict == "supported", claim.reason


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
