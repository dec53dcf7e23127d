"""Phase portraits: velocities of scores whose velocity is known."""

from types import SimpleNamespace

import numpy as np

from lightning_physim.emergence import Growth
from lightning_physim.report.claims_page import _collapse
from lightning_physim.report.portrait_figures import collapse_figure, portrait_figure, risen_heads

STEPS = np.unique(np.geomspace(1, 10_000, 81).round())


def logistic(end: float = 0.8, middle: float = 1000.0, width: float = 150.0) -> np.ndarray:
    return 0.1 + (end - 0.1) / (1 + np.exp(-(STEPS - middle) / width))


def metrics(**curves: np.ndarray) -> dict:
    return {f"probe/partner_score/{head}": (STEPS, values) for head, values in curves.items()}


def test_a_line_is_the_velocity_at_the_score_from_a_tenth_of_the_rise_on():
    (line,) = portrait_figure(metrics(L0H1=logistic(), L0H2=np.full(len(STEPS), 0.1))).data
    assert line.name == "L0H1" and 0.16 < line.x[0] < 0.25
    share = (line.x - 0.1) / 0.7
    middle = (share > 0.2) & (share < 0.8)
    expected = 1000 * 0.7 * share * (1 - share) / 150
    # What is left of a velocity after smoothing over a fifth of a decade.
    np.testing.assert_allclose(line.y[middle], expected[middle], rtol=0.35)
    assert "in 1,000 steps" in line.hovertext[0] and line.hovertext[0].startswith("step ")


def test_scores_that_fall_leave_a_gap_and_heads_that_never_rose_are_left_out():
    fallen = logistic(0.4) - 0.25 / (1 + np.exp(-(STEPS - 6000) / 500))
    (line,) = portrait_figure(metrics(L0H0=fallen)).data
    assert np.isnan(line.y[-6:-2]).all() and np.isfinite(line.y[0])
    assert portrait_figure(metrics(L0H0=np.full(len(STEPS), 0.1))) is None and portrait_figure({}) is None


def test_steps_without_a_score_are_left_out():
    values = logistic()
    values[[0, 40]] = np.nan
    curves = {"probe/partner_score/L0H0": (np.concatenate([[0], STEPS]), np.concatenate([[0.1], values]))}
    steps, kept = risen_heads(curves)["L0H0"]
    assert len(steps) == len(STEPS) - 1 and np.isfinite(kept).all()
    short = {"probe/partner_score/L0H0": (STEPS[-7:], logistic()[-7:] + np.linspace(0, 0.9, 7))}
    assert risen_heads(short) == {}


def test_heads_of_one_potential_are_one_line_whatever_their_scales():
    curves = [(STEPS, logistic(0.8)), (STEPS, logistic(0.5)), (3 * STEPS, logistic(0.8))]
    figure = collapse_figure({"a": curves[:2], "b": curves[2:]}, {"a": "#000000", "b": "#ffffff"})
    first, *others = figure.data
    assert [line.showlegend for line in figure.data] == [True, False, True]
    at = np.linspace(0.2, 0.9, 8)
    for line in others:
        np.testing.assert_allclose(np.interp(at, line.x, line.y), np.interp(at, first.x, first.y), rtol=0.02)
    # From a tenth to half a logistic takes ln 9 of its widths; its velocity there is a quarter of a rise per width, of
    # which smoothing over a fifth of a decade leaves the most part.
    assert 0.7 * np.log(9) / 4 < np.nanmax(first.y) < np.log(9) / 4
    assert not collapse_figure({"a": [(STEPS, np.linspace(0.5, 0.1, len(STEPS)))]}, {"a": "#000000"}).data


def test_the_page_of_claims_tells_how_far_shapes_differ_and_leaves_short_curves_out():
    def growth(head: str, *curve: np.ndarray) -> Growth:
        return Growth("seed 0", head, curve)

    short = growth("L0H2", STEPS[-7:], logistic()[-7:])
    assert _collapse(SimpleNamespace(growth=[short], seeds={"seed 0": {}})) == ""
    alike = [growth("L0H0", STEPS, logistic()), growth("L0H1", STEPS, logistic(0.5)), short]
    assert "scatters by 0.00 in" in _collapse(SimpleNamespace(growth=alike, seeds={"seed 0": {}}))
    slow = growth("L1H0", STEPS, 0.9 - 0.8 * (1 + STEPS / 300) ** -1.0)
    page = _collapse(SimpleNamespace(growth=[*alike, slow], seeds={"seed 0": {}}))
    assert "over 3 heads" in page and "scatters by 0.00" not in page
