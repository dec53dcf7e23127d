"""Directions that count in the report, from numbers whose place in the figure is known."""

import numpy as np
import pytest

from lightning_physim.report.geometry_figures import geometry_figure
from lightning_physim.report.style import head_style

STEPS = np.array([1, 10, 100])


def metrics() -> dict:
    curves = {
        f"probe/enrichment/{head}": (STEPS, np.array([1.0, 1.0, top])) for head, top in (("L0H0", 1), ("L0H1", 9))
    }
    for i, head in enumerate(("L0H0", "L0H1", "model")):
        for c, size in (("c10", 2.0), ("c1", 8.0), ("c0p1", 20.0)):
            curves[f"geometry/{head}/d_eff/{c}"] = (STEPS, size * np.array([1.0, 2.0, 3.0]) * (i + 1))
    for name, values in (("mean", [1, 2, 3]), ("mcse", [1] * 3), ("converged", [1, 0, 1]), ("n_beta", [100] * 3)):
        curves[f"llc/L0H1/{name}"] = (STEPS, np.array(values, dtype=float))
    curves["llc/L0H1/localization"] = (STEPS, np.array([1000.0, 1000.0, 100.0]))
    return curves


def test_lines_are_halves_and_dots_stand_in_the_panel_of_their_ratio():
    figure = geometry_figure(metrics())
    titles = [note.text for note in figure.layout.annotations]
    assert titles == [f"half of the directions that count at c = {c}" for c in ("10", "1", "0.1")]
    lines = [trace for trace in figure.data if trace.mode == "lines" and trace.x[0] is not None]
    assert [trace.name for trace in lines] == ["L0H1", "L0H0", "whole model"] * 3  # the highest score first
    np.testing.assert_allclose(lines[0].y, [2.0, 4.0, 6.0])
    np.testing.assert_allclose(lines[5].y, [12.0, 24.0, 36.0])
    dots = [trace for trace in figure.data if trace.mode == "markers" and trace.x[0] is not None]
    # The second estimate failed a diagnostic; the third was sampled with another ratio.
    assert [(trace.yaxis, list(trace.x), list(trace.y)) for trace in dots] == [
        ("y", [1.0], [1.0]),
        ("y2", [100.0], [3.0]),
    ]
    # Bars are two standard errors, cut where the axis ends: at a quarter of the smallest, less some air.
    (low,) = dots[0].error_y.arrayminus
    assert list(dots[0].error_y.array) == [2.0] and 1 - low == pytest.approx(10 ** figure.layout.yaxis.range[0])
    assert "LLC 1 ± 1 (standard error)" in dots[0].hovertext[0]
    assert [trace.name for trace in figure.data if trace.showlegend is not False] == [
        "L0H1",
        "L0H0",
        "whole model",
        "line: from the spectrum",
        "dot: sampled, ± 2 standard errors",
    ]


def test_every_dot_has_a_bar_and_the_axis_ends_where_the_largest_does():
    curves = metrics()
    for name, values in (("converged", [1, 1, 1]), ("mcse", [0.1] * 3), ("localization", [1000] * 3)):
        curves[f"llc/L0H1/{name}"] = (STEPS, np.array(values, dtype=float))
    figure = geometry_figure(curves)
    (dots,) = (trace for trace in figure.data if trace.mode == "markers" and trace.x[0] is not None)
    np.testing.assert_allclose(dots.error_y.array, [0.2] * 3)
    # The model has 2 * 3 * 3 directions at the end: 9 is the largest half, and a half of the smallest is the floor.
    low, high = figure.layout.yaxis.range
    np.testing.assert_allclose([low, high], np.log10([0.5, 9]) + np.array([-0.06, 0.06]) * np.log10(18))


def test_without_estimates_nothing_is_said_of_dots():
    spectra = {key: curve for key, curve in metrics().items() if not key.startswith("llc/")}
    named = [trace.name for trace in geometry_figure(spectra).data if trace.showlegend is not False]
    assert named == ["L0H1", "L0H0", "whole model", "line: from the spectrum"]


def test_the_occupancy_is_that_of_the_panel_with_the_dots():
    curves = metrics() | {
        f"geometry/L0H1/occupancy/{name}": (STEPS, np.full(3, value)) for name, value in (("c10", 0.1), ("c1", 0.6))
    }
    for localization, c, value in ((1000.0, "10", 0.1), (100.0, "1", 0.6)):
        curves["llc/L0H1/localization"] = (STEPS, np.full(3, localization))
        figure = geometry_figure(curves)
        assert figure.layout.annotations[3].text == f"occupancy at c = {c}: is it a count?"
        (occupancy,) = (trace for trace in figure.data if trace.yaxis == "y4")
        assert set(occupancy.y) == {value}


def test_the_occupancy_has_a_panel_and_is_told_for_every_line():
    shares = {"c10": [0.1, 0.2, 0.3], "c1": [0.4, 0.5, 0.6]}
    curves = metrics()
    for name, values in shares.items():
        curves[f"geometry/L0H1/occupancy/{name}"] = (STEPS, np.array(values))
    curves["geometry/L0H1/doubling/c10"] = (STEPS[1:], np.array([0.12, -0.03]))
    figure = geometry_figure(curves)
    words = {note.text: note for note in figure.layout.annotations}
    assert list(words)[3:] == ["occupancy at c = 10: is it a count?", "counts directions", "measures sharpness"]
    assert [(words[text].y, words[text].yref) for text in list(words)[4:]] == [(1.0, "y4"), (0.0, "y4")]
    (occupancy,) = (trace for trace in figure.data if trace.yaxis == "y4")
    assert list(occupancy.y) == [0.1, 0.2, 0.3] and occupancy.line.color == head_style("L0H1")[0]
    spectrum = {trace.yaxis: trace for trace in figure.data if trace.name == "L0H1" and trace.mode == "lines"}
    assert spectrum["y"].hovertext[1] == (
        "8 directions count, half is 4, "
        "occupancy 0.20: 1 counts directions, 0 measures sharpness, +12% from half of the states to all"
    )
    heights = [panel.domain[1] - panel.domain[0] for panel in (figure.layout[f"yaxis{i}"] for i in ("", 2, 3, 4))]
    np.testing.assert_allclose(np.array(heights) / heights[0], np.array([240, 170, 170, 150]) / 240)
    assert "occupancy 0.40" in spectrum["y2"].hovertext[0] and "half of the states" not in spectrum["y"].hovertext[0]
    assert "occupancy" not in spectrum["y3"].hovertext[0]


def test_without_spectra_there_is_no_figure():
    assert geometry_figure({"llc/model/mean": (STEPS, STEPS / 1.0)}) is None
