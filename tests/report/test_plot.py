"""The plot kit."""

import numpy as np
import pytest

from lightning_physim.report.plot import (
    add_key,
    add_level,
    add_line,
    beside,
    log_step_axis,
    name_once,
    new_figure,
    panel_grid,
    stacked_panels,
)


def test_lines_of_one_name_are_in_the_legend_once_and_keys_beside_them():
    figure = stacked_panels(["a", "b"], [100, 100])
    for row, name in ((1, "x"), (2, "y"), (2, "x")):
        add_line(figure, [1, 2], [1, 2], name, "#000000", row=row)
    name_once(figure)
    add_key(figure, "what a dot is", "markers")
    assert [trace.name for trace in figure.data if trace.showlegend is not False] == ["x", "y", "what a dot is"]


def test_a_level_is_in_its_panel_alone():
    figure = stacked_panels(["a", "b"], [100, 100])
    add_level(figure, 4.0, "four", log=False, row=2, x=0)
    add_level(figure, 100.0, "hundred", log=True, x=0)
    assert [(line.yref, line.y0, line.y1) for line in figure.layout.shapes] == [("y2", 4.0, 4.0), ("y", 100.0, 100.0)]
    words = {note.text: (note.yref, note.y) for note in figure.layout.annotations}
    assert words["four"] == ("y2", 4.0) and words["hundred"] == ("y", 2.0)


@pytest.mark.parametrize("n", [1, 2, 8, 48])
def test_markers_of_one_step_stand_apart_and_together(n):
    places = np.array([beside(i, n) for i in range(n)])
    assert (np.diff(places) > 0).all() and 1.0 in places
    assert places.max() / places.min() < 10**0.21
    if n == 8:
        np.testing.assert_allclose(places[1:] / places[:-1], 1.02)


@pytest.mark.parametrize("first, last", [(1, 100_000), (40, 3000), (162, 400), (5, 7)])
def test_every_axis_of_steps_has_ticks(first, last):
    figure = new_figure("", "")
    log_step_axis(figure, [(np.array([0, first, last]), np.ones(3))], edge=0.5, start=first)
    low, high = figure.layout.xaxis.range
    seen = [step for step in figure.layout.xaxis.tickvals if low <= np.log10(step) <= high]
    assert 2 <= len(seen) <= 7


def test_an_odd_panel_at_the_end_is_as_wide_as_the_figure():
    layout = panel_grid(["a", "b", "c"], 100, "x").layout
    assert layout.xaxis.domain[1] < 0.5 < layout.xaxis2.domain[0] and layout.xaxis3.domain == (0.0, 1.0)
    assert layout.xaxis3.title.text == "x" and layout.xaxis.title.text != "x"
