"""Chains and settings of a sampler in the report, from draws and estimates whose place in the figures is known."""

import numpy as np

from lightning_physim.report import calibration_figure, llc_trace_figure
from lightning_physim.report.style import head_style
from tests.helpers.estimates import CALIBRATION, NAN, TRACE, as_metrics, drawn, hollow


def test_traces():
    figure = llc_trace_figure(TRACE, as_metrics())
    assert [note.text for note in figure.layout.annotations] == ["whole model, R-hat 1.01", "L0H1, R-hat 1.01, 1 dead"]
    chains = {trace.name: trace for trace in figure.data}
    assert list(chains) == ["whole model, chain 0", "whole model, chain 1", "L0H1, chain 0", "L0H1, chain 1"]
    assert chains["whole model, chain 1"].x.tolist() == [0, 1, 2, 3, 4]
    assert chains["whole model, chain 1"].y.tolist() == [32, 31, 30, 29, 28]
    assert np.isnan(chains["L0H1, chain 1"].y).all()
    assert chains["L0H1, chain 0"].line.color == head_style("L0H1")[0]
    assert [(shape.y0, shape.yref) for shape in figure.layout.shapes] == [(31.0, "y"), (9.0, "y2")]
    assert [note.text for note in llc_trace_figure(TRACE).layout.annotations] == ["whole model", "L0H1, 1 dead"]
    # The R-hat of another step says nothing about these chains.
    assert llc_trace_figure(TRACE | {"step": 77}, as_metrics()).layout.annotations[0].text == "whole model"


def test_a_chain_that_dies_is_told_from_a_region_with_fewer_draws():
    columns = ["draw", "L0H0/0", "L0H0/1", "L0H1/0", "L0H1/1"]
    rows = [[0, 1.0, 1.0, 1.0, 1.0], [1, 1.0, 1.0, 1.0, None], [2, None, None, 1.0, None]]
    titles = [note.text for note in llc_trace_figure({"columns": columns, "data": rows}).layout.annotations]
    assert titles[:2] == ["L0H0", "L0H1, 1 dead"]


def test_traces_of_nothing_but_dead_chains():
    table = {"step": 1, "columns": ["draw", "L0H1/0", "L0H1/1"], "data": [[0, None, None], [1, None, None]]}
    figure = llc_trace_figure(table)
    assert figure.layout.annotations[0].text == "L0H1, 2 dead" and not figure.layout.shapes


def test_calibration():
    figure = calibration_figure(CALIBRATION)
    assert [note.text for note in figure.layout.annotations] == ["whole model", "L0H1"]
    lines = {trace.name: trace for trace in figure.data if trace.mode == "lines" and trace.yaxis == "y"}
    assert list(lines) == ["100 / 1", "1,000 / 1", "1,000 / 10"]
    line = lines["1,000 / 10"]
    assert line.x.tolist() == [1e-5, 1e-4, 1e-3]
    np.testing.assert_array_equal(line.y, [2.9, 3.0, NAN])
    assert line.line.color == lines["100 / 1"].line.color != lines["1,000 / 1"].line.color  # one ratio, one shade
    assert line.line.dash == lines["1,000 / 1"].line.dash != lines["100 / 1"].line.dash
    markers = drawn(figure, "1,000 / 10", "markers", "y")
    assert list(markers.marker.symbol) == ["circle", "circle", "x"] and hollow(markers) == [False, False, True]
    np.testing.assert_allclose(markers.error_y.array, [0.2, 0.2, 0])
    (stars,) = (trace for trace in figure.data if trace.name == "recommended")
    assert stars.yaxis == "y" and set(stars.x) == {1e-4} and stars.marker.symbol == "star"
    assert figure.layout.xaxis.type == figure.layout.xaxis2.type == "log"
    named = [trace.name for trace in figure.data if trace.showlegend is not False]
    assert named == ["100 / 1", "1,000 / 1", "1,000 / 10", "recommended", "failed a diagnostic"]
