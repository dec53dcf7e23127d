"""Directions that count in the report, from numbers whose place in the figure is known."""

import numpy as np

from lightning_physim.report.geometry_figures import geometry_figure

STEPS = np.array([1, 10, 100])


def metrics() -> dict:
    curves = {
        f"probe/enrichment/{head}": (STEPS, np.array([1.0, 1.0, top])) for head, top in (("L0H0", 1), ("L0H1", 9))
    }
    for i, head in enumerate(("L0H0", "L0H1", "model")):
        for c, size in (("c10", 2.0), ("c1", 8.0), ("c0p1", 20.0)):
            curves[f"geometry/{head}/d_eff/{c}"] = (STEPS, size * np.array([1.0, 2.0, 3.0]) * (i + 1))
    for name, values in (("mean", [1, 2, 3]), ("converged", [1, 0, 1]), ("n_beta", [100] * 3)):
        curves[f"llc/L0H1/{name}"] = (STEPS, np.array(values, dtype=float))
    curves["llc/L0H1/localization"] = (STEPS, np.array([1000.0, 1000.0, 100.0]))
    return curves


def test_lines_are_halves_and_dots_stand_in_the_panel_of_their_ratio():
    figure = geometry_figure(metrics())
    titles = [note.text for note in figure.layout.annotations]
    assert titles == [f"half of the directions that count at c = {c}" for c in ("10", "1", "0.1")]
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    assert [trace.name for trace in lines] == ["L0H1", "L0H0", "model"] * 3  # the highest score first
    np.testing.assert_allclose(lines[0].y, [2.0, 4.0, 6.0])
    np.testing.assert_allclose(lines[5].y, [12.0, 24.0, 36.0])
    dots = [
        (trace.yaxis, list(trace.x), list(trace.y)) for trace in figure.data if trace.mode == "markers" and len(trace.x)
    ]
    # The second estimate failed a diagnostic; the third was sampled with another ratio.
    assert dots == [("y", [1.0], [1.0]), ("y2", [100.0], [3.0])]


def test_without_spectra_there_is_no_figure():
    assert geometry_figure({"llc/model/mean": (STEPS, STEPS / 1.0)}) is None
