"""The rules of docs/claims.md at their limits: numbers go in, a verdict and a sentence come out."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from lightning_physim.claims import geometry, growth, heads
from lightning_physim.claims.findings import Training, gather
from lightning_physim.claims.statistics import NO_INTERVAL, Answer, bootstrap_clusters, bootstrap_within, interval
from lightning_physim.claims.verdict import highest
from lightning_physim.curves import NOTHING
from tests.helpers.studies import STEPS, a_run


def said(parts):
    return "; ".join(parts)


A = heads.Numbers(
    seeds=5, with_head=4, collision_heads=20, used=16, heads=40, untrained=2.9, permuted=2.9, loss=0.49
)  # fmt: skip
RANK, ORDER, TIMING = (
    Answer(10, -0.5, (-0.6, -0.4), 0.01),
    Answer(10, 0.3, (0.2, 0.4), 0.02),
    Answer(8, 0.2, (0.1, 0.3), 0.04),
)
B = geometry.Numbers(
    rank=RANK, over_initial=RANK, over_others=RANK, order=Answer(10, 2.5, (2.4, 2.6), 0.01),
    order_over_others=ORDER, is_flatter=True, order_over_permuted=Answer(4, 0.07, NO_INTERVAL, math.nan),
    timing=TIMING, timing_at_half=0.1,
    failed=0.2, directions=30.0, lag=-0.1, which=0.4, which_interval=(-0.2, 0.8),
)  # fmt: skip
C = growth.Numbers(
    seeds=8, heads=12, heads_in_flow=10, order=Answer(6, 2.0, (1.8, 2.2), 0.001), is_degenerate=True,
    shape_heads=9, shape_p=0.3, shape_sd=0.2, shape_noise=0.05,
    laws=Counter(undecided=8, power_law=2), losses_in_flow=6, loss_laws=Counter(undecided=4, power_law=2),
    exponent=Answer(6, 1.5, (1.2, 1.8), 0.01),
)  # fmt: skip


@pytest.mark.parametrize(
    "change, verdict, decided_by",
    [
        ({}, "supported", "heads and controls"),
        ({"seeds": 3, "with_head": 3}, "supported", "heads and controls"),
        ({"seeds": 2, "with_head": 2}, "undecided", "too few seeds"),
        ({"with_head": 1}, "not supported", "heads are missing"),
        ({"with_head": 2}, "undecided", "too few seeds have a head"),
        ({"with_head": 3}, "undecided", "too few seeds have a head"),
        ({"untrained": 3.0}, "undecided", "a control fails"),
        ({"permuted": 3.0}, "undecided", "a control fails"),
        ({"loss": 0.5}, "undecided", "a control fails"),
        ({"untrained": math.nan}, "undecided", "a control is missing"),
        ({"permuted": math.nan}, "undecided", "a control is missing"),
        ({"loss": math.nan}, "undecided", "a control is missing"),
    ],
)
def test_claim_a(change, verdict, decided_by):
    assert heads.judge(replace(A, **change)) == (verdict, decided_by)


@pytest.mark.parametrize("values", [[0.3, math.nan], [math.nan, 0.3], []])
def test_of_values_that_were_not_all_measured_none_is_the_highest(values):
    assert math.isnan(highest(values)) and highest([0.3, 0.2]) == 0.3


def test_claim_a_is_told():
    assert said(heads.tell(A, "heads and controls")) == (
        "4 of 5 seeds have a collision head that is used; untrained heads reach 2.9 times uniform attention; heads "
        "trained on permuted outcomes reach 2.9 times uniform; the worst seed’s loss on colliding particles is 49 % of "
        "that without attention"
    )
    assert said(heads.tell(A, "too few seeds have a head")).endswith("; it takes 80 % of the seeds")
    assert said(heads.tell(A, "too few seeds")).endswith("; it takes 3 seeds")
    failed = said(heads.tell(replace(A, permuted=3.0), "a control fails"))
    assert "permuted outcomes reach 3.0" in failed and "untrained" not in failed and "loss" not in failed
    assert list(A.table().values()) == [5, 4, 20, 16, 40, 2.9, 2.9, 0.49]


def p(answer: Answer, value: float) -> Answer:
    return replace(answer, p=value)


@pytest.mark.parametrize(
    "change, verdict, answers",
    [
        ({}, "supported", ("fewer directions", geometry.FLATTER, "own time")),
        # Holm: 3 x 0.01, 2 x 0.02, 0.04; with 0.03 in place of 0.02 the second is 0.06, and so is the third.
        ({"order_over_others": p(ORDER, 0.03)}, "undecided", ("fewer directions", "open", "open")),
        ({"rank": p(RANK, 0.017)}, "undecided", ("open", "open", "open")),
        ({"order_over_others": p(ORDER, math.nan)}, "undecided", ("fewer directions", "open", "open")),
        (
            {"timing": p(TIMING, 0.02), "order_over_others": p(ORDER, math.nan)},
            "supported",
            ("fewer directions", "open", "own time"),
        ),
        ({"failed": 0.21}, "supported", ("fewer directions", "open", "own time")),
        ({"rank": replace(RANK, effect=0.5)}, "supported", ("more directions", geometry.FLATTER, "own time")),
        ({"is_flatter": False}, "supported", ("fewer directions", geometry.NOT_FLATTER, "own time")),
        (
            {"rank": replace(RANK, effect=0.5), "is_flatter": False},
            "not supported",
            ("more directions", geometry.NOT_FLATTER, "own time"),
        ),
        (
            {"rank": replace(RANK, effect=0.5), "is_flatter": False, "timing": p(TIMING, 0.9)},
            "not supported",
            ("more directions", geometry.NOT_FLATTER, "open"),
        ),
        ({"timing_at_half": 0.0}, "undecided", ("fewer directions", geometry.FLATTER, "open")),
        ({"timing_at_half": math.nan}, "undecided", ("fewer directions", geometry.FLATTER, "open")),
        ({"timing": replace(TIMING, n=2)}, "undecided", ("fewer directions", geometry.FLATTER, "open")),
        ({"timing": replace(TIMING, n=3)}, "supported", ("fewer directions", geometry.FLATTER, "own time")),
        ({"timing": replace(TIMING, effect=-0.2)}, "undecided", ("fewer directions", geometry.FLATTER, "open")),
    ],
)
def test_claim_b(change, verdict, answers):
    numbers = replace(B, **change)
    assert tuple(geometry.answers(numbers).values()) == answers
    assert geometry.judge(numbers) == verdict


def test_claim_b_is_told():
    assert said(geometry.tell(B)) == (
        "collision heads that are used end with 0.316 times (0.251 to 0.398) the directions that count of the same "
        "heads on permuted outcomes, on 10 seeds: fewer directions, p 0.03 by Holm; their order is 2.50 (2.40 to "
        "2.60), +0.30 (+0.20 to +0.40) from that of other heads, +0.07 from that of the same heads on permuted "
        "outcomes, on 10 seeds: flatter than other heads, p 0.04 by Holm; directions and score of one head pass "
        "half of their rises 0.20 decades (0.10 to 0.30) nearer to each other than those of different heads, 0.10 "
        "at half the length of the run, on 8 seeds: own time, p 0.04 by Holm"
    )
    told = said(geometry.tell(replace(B, failed=0.21, order_over_permuted=Answer(0, math.nan, NO_INTERVAL, math.nan))))
    assert "other heads, on 10 seeds: open, p 0.04 by Holm, as 21 % of the estimates of heads fail" in told
    few = said(geometry.tell(replace(B, rank=Answer(4, -0.5, NO_INTERVAL, math.nan))))
    assert "end with 0.316 times the directions" in few
    assert "permuted outcomes, open, as it was measured on 4 seeds and takes 5; their order" in few
    three = [-0.5, -0.6, -0.4, 10] * 3
    orders = [2.5, 2.4, 2.6, 10, 0.3, 0.2, 0.4, 10, 0.07, math.nan, math.nan, 4]
    timing = [0.2, 0.1, 0.3, 8, 0.03, 0.04, 0.04, 0.1]
    expected = [*three, *orders, *timing, 0.2, 30, -0.1, 0.4, -0.2, 0.8]
    assert list(B.table().values()) == pytest.approx(expected, nan_ok=True)


REGULAR = {"is_degenerate": False}
SEVERAL = {"shape_p": 0.01}
EXPONENTIAL = {"laws": Counter(exponential=8, undecided=2)}


@pytest.mark.parametrize(
    "change, verdict",
    [
        ({}, "supported"),
        ({"order": replace(C.order, p=0.03)}, "undecided"),  # doubled by Holm
        ({"order": replace(C.order, p=math.nan)}, "undecided"),
        ({"shape_heads": 4}, "undecided"),
        (SEVERAL, "undecided"),
        ({**SEVERAL, "shape_sd": 0.15}, "supported"),  # seen, and too small to matter
        (EXPONENTIAL, "undecided"),
        ({"laws": Counter(exponential=7, undecided=3)}, "supported"),
        ({"laws": Counter(exponential=4), "heads_in_flow": 4}, "supported"),
        ({"loss_laws": Counter(exponential=6)}, "supported"),
        (REGULAR, "undecided"),
        ({**REGULAR, **SEVERAL}, "not supported"),
        ({**REGULAR, **SEVERAL, "shape_p": 0.05}, "undecided"),
        ({**REGULAR, **SEVERAL, "shape_p": 0.049}, "not supported"),
        ({**REGULAR, **EXPONENTIAL}, "not supported"),
        ({**REGULAR, "laws": Counter(power_law=10)}, "undecided"),
    ],
)
def test_claim_c(change, verdict):
    assert growth.judge(replace(C, **change)) == verdict


def test_claim_c_is_told():
    told = said(growth.tell(C))
    assert told == (
        "10 of 12 collision heads that are used are at the limit of gradient flow; their growth has an order of 2.00 "
        "(1.80 to 2.20), degenerate start, p 0.002 by Holm; shapes differ by 0.20 between heads and by 0.05 between "
        "step sizes, no sign of several, p 0.3 by Holm; their approaches: 8 undecided, 2 power law; of 8 losses on "
        "colliding particles 6 are at the limit, "
        "approaches: 4 undecided, 2 power law"
    )
    few = replace(C, order=Answer(3, 2.0, NO_INTERVAL, math.nan), shape_heads=4, losses_in_flow=0, loss_laws=Counter())
    assert "an order of 2.00, open, as it takes 5 seeds; shapes are known of 4 heads and it takes 5; their" in (
        said(growth.tell(few))
    )
    assert said(growth.tell(few)).endswith("approaches: none")
    assert said(growth.tell(replace(C, seeds=0))).startswith("no training followed gradient flow")
    expected = [8, 12, 10, 2.0, 1.8, 2.2, 6, 1.5, 1.2, 1.8, 6, 0.002, 0.3, 9, 0.2, 0.05, 6, 2, 8, 2, 4]
    assert list(C.table().values()) == pytest.approx(expected)


def test_the_start_is_held_against_a_saddle_with_a_margin():
    def start(orders):
        heads = [growth.FlowHead(i, 0.0, "L0H0", NOTHING, NOTHING, order) for i, order in enumerate(orders)]
        found = growth.measure(heads, [])
        return found.order, found.is_degenerate

    above, degenerate = start([1.3, 1.4, 1.35, 1.32, 1.38])
    assert degenerate and above.p == pytest.approx(
        2 * ttest_1samp([1.3, 1.4, 1.35, 1.32, 1.38], 1.25, alternative="greater").pvalue
    )
    below, degenerate = start([1.2, 1.1, 1.15, 1.12, 1.18])
    assert not degenerate and below.p < 0.01 and below.effect == pytest.approx(1.15)
    assert math.isnan(start([2.0] * 4)[0].p)


def test_clusters_are_redrawn_whole_and_then_their_members():
    # Three clusters of equal members: all of the spread is between them, and there are 27 draws of them.
    samples = bootstrap_clusters(lambda sample: float(sample.mean()), [np.full(4, x) for x in (0.0, 0.0, 3.0)])
    counts = np.bincount(np.round(samples).astype(int), minlength=4) / len(samples)
    np.testing.assert_allclose(counts, np.array([8, 12, 6, 1]) / 27, atol=0.03)
    one = bootstrap_clusters(lambda sample: float(sample.mean()), [np.array([0.0, 1.0])])
    assert samples.shape == (2000,)
    np.testing.assert_allclose(np.bincount((2 * one).astype(int)) / len(one), [0.25, 0.5, 0.25], atol=0.03)


def test_an_interval_takes_nine_tenths_of_the_resamples_to_be_finite():
    samples = np.append(np.arange(900.0), [math.nan] * 100)
    assert interval(samples) == pytest.approx(tuple(np.percentile(np.arange(900.0), [2.5, 97.5])))
    assert interval(samples, 0.5) == pytest.approx(tuple(np.percentile(np.arange(900.0), [25, 75])))
    assert np.isnan(interval(np.append(samples[1:], math.nan))).all()


def test_peers_are_the_median_seed_the_other_trainings_and_the_floors():
    def training(role: str, seed: int, loss: float, **kwargs) -> Training:
        metrics = a_run(np.random.default_rng(seed)) | {
            "val/loss": (STEPS[1:], np.append(np.full(len(STEPS) - 2, 9.0), loss)),
            "val/floor_ballistic": (STEPS[1:2], np.array([1.0])),
            "rollout/mse@4": (STEPS[1:2], np.array([0.5 * loss])),
            "rollout/mse@16": (STEPS[1:2], np.array([loss])),
            "time/train_cpu": (STEPS[1:3], np.array([1.0, 10 * loss])),
        }
        return Training(role, seed, "finished", metrics=metrics, **kwargs)

    floors = {
        "no_pair": {"mse@4": 9.0, "mse@16": 0.1, "energy_error@16": 0.2},
        "ballistic": {"mse@16": 0.3, "energy_error@16": 0.4},
    }
    unfinished = Training("no_attention", 0, "running")
    seeds = [training("seed", i, loss, n_parameters=100.0, floors=floors) for i, loss in enumerate((3.0, 6.0, 9.0))]
    others = [training("flow", 0, 12.0), training("interaction", 0, 15.0)]
    found = gather([*seeds, *others, unfinished])
    assert found.horizon == 16
    names = ["transformer", "interaction network", "transformer, gradient flow", "no-pair oracle", "free flight"]
    assert [peer.name for peer in found.peers] == names
    first, interaction, _, oracle, flight = found.peers
    # The mean of the last three, of the median seed: (9 + 9 + 6) / 3. CPU seconds are the last ones.
    assert first.losses[0] == pytest.approx(8.0) and first.rollout[0] == pytest.approx(6.0)
    assert (first.n, first.n_parameters, first.cpu_seconds) == (3, 100.0, 60.0)
    assert interaction.n == 1 and math.isnan(interaction.n_parameters) and interaction.losses[0] == pytest.approx(11.0)
    assert oracle.rollout == [0.1, 0.2] and math.isnan(oracle.losses[0])
    assert flight.rollout == [0.3, 0.4] and flight.losses[0] == 1.0
    assert list(found.study.seeds) == [0, 1, 2]
    assert list(found.seeds) == ["seed 0", "seed 1", "seed 2"]
    assert len(found.claims) == 3 and list(found.study.flow) == [0] and found.study.flows() == {}
    assert len(found.trainings) == 6
    assert [peer.name for peer in gather(seeds[:1]).peers] == [names[0], *names[3:]]
    nothing = gather([unfinished])
    assert nothing.peers == [] and nothing.horizon == 1


def test_a_bootstrap_within_groups_keeps_every_group_and_its_size():
    groups = [np.zeros((3, 2)), np.array([[1.0, 2.0]]), np.array([[0.0], [1.0]])]
    seen = []
    samples = bootstrap_within(lambda drawn: seen.extend(drawn) or drawn[2].mean((1, 2)), groups)
    assert [drawn.shape for drawn in seen] == [(2000, 3, 2), (2000, 1, 2), (2000, 2, 1)]
    assert (seen[1] == groups[1]).all()
    np.testing.assert_allclose(np.bincount((2 * samples).astype(int)) / 2000, [0.25, 0.5, 0.25], atol=0.03)


def test_a_training_is_called_by_its_seed_or_its_role():
    assert [Training(role, 3, "running").name for role in ("seed", "flow", "permuted", "no_attention")] == [
        "seed 3", "gradient flow, seed 3", "permuted outcomes, seed 3", "no attention"
    ]  # fmt: skip
