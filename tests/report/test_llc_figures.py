"""Learning coefficients in the report, from estimates whose place in the figures is known."""

import json
import re

import numpy as np
import pytest

from lightning_physim.report import (
    calibration_figure,
    head_table,
    llc_figure,
    llc_trace_figure,
    print_summary,
    scores_figure,
    write_report,
)
from lightning_physim.report.llc_figures import regions
from lightning_physim.report.style import HUES, INK, head_style
from lightning_physim.tracking import JsonlLogger, RunDirectory
from tests.helpers.estimates import (
    CALIBRATION,
    ESTIMATES,
    INF,
    NAN,
    SCORES,
    STEPS,
    TRACE,
    as_metrics,
    drawn,
    estimate,
    hollow,
    write_run,
)


def test_coefficients_of_a_head_have_its_colour_and_share_an_axis():
    metrics = as_metrics()
    figure = llc_figure(metrics)
    titles = [note.text for note in figure.layout.annotations]
    assert titles == ["learning coefficient of the head", "learning coefficient of the whole model", "L0H1 × 3"]
    for head in SCORES:
        coefficient = drawn(figure, head, "lines")
        assert (coefficient.line.color, coefficient.line.dash) == head_style(head)
        assert coefficient.legendgroup == drawn(figure, head, "markers").legendgroup
        assert coefficient.xaxis == "x2"
    assert drawn(figure, "L0H1", "lines").y.tolist() == [0.3, 1.0, 6.0, 10.0]
    assert drawn(figure, "L0H1", "lines").x.tolist() == STEPS
    assert drawn(figure, "whole model", "lines", "y2").y.tolist() == [5.0, 9.0, 20.0, 31.0]
    assert drawn(figure, "whole model", "lines", "y2").line.color == INK
    # Every head has one entry in the legend, in the order of the scores.
    named = [trace.name for trace in figure.data if trace.showlegend is not False]
    assert named == [trace.name for trace in scores_figure(metrics).data] + ["whole model", "failed a diagnostic"]
    layout = figure.layout
    assert (layout.xaxis2.type, layout.yaxis.type, layout.yaxis2.type) == ("log",) * 3
    # The collision head's onset stands in all panels.
    onsets = [shape for shape in layout.shapes if shape.line.color == head_style("L0H1")[0]]
    assert {shape.x0 for shape in onsets} == {300} and len(onsets) == 2


def test_a_run_of_negative_estimates_keeps_a_linear_axis():
    rows = [estimate(mean, converged=0.0) for mean in (-0.5, -3.0, 0.1, -1.0)]
    figure = llc_figure(as_metrics({"L0H1": rows}))
    assert figure.layout.yaxis.type is None and figure.layout.yaxis.range[0] < -3.0 < 0.1 < figure.layout.yaxis.range[1]
    assert drawn(figure, "L0H1", "markers").y.tolist() == [-0.5, -3.0, 0.1, -1.0]


def order(p, margin, **other):
    return {"order": p, "order_lo": p - margin, "order_hi": p + margin} | other


def test_orders_stand_in_a_panel_of_their_own_where_they_have_an_interval():
    known = [order(2.0, 0.02), order(2.1, 0.05), order(2.8, NAN), order(2.6, 0.3)]
    regular = [order(2.0, 0.01)] * 4
    estimates = {
        region: [row | p for row, p in zip(ESTIMATES[region], found, strict=True)]
        for region, found in (("L0H0", known), ("L0H1", regular), ("model", regular))
    } | {"L1H0": ESTIMATES["L1H0"]}
    figure = llc_figure(as_metrics(estimates))
    assert [note.text for note in figure.layout.annotations] == [
        "learning coefficient of the head",
        "learning coefficient of the whole model",
        "order of the loss",
        "quartic: flat at the bottom",
        "regular: a parabola",
        "L0H1 × 3",
    ]
    assert [note.y for note in figure.layout.annotations if note.yref == "y3"] == [4.0, 2.0]
    assert [(line.y0, line.y1) for line in figure.layout.shapes if line.yref == "y3"] == [(4.0, 4.0), (2.0, 2.0)]
    markers = drawn(figure, "L0H0", "markers", "y3")
    assert markers.y.tolist() == [2.0, 2.1, 2.6] and hollow(markers) == [False, False, True]
    np.testing.assert_allclose(markers.error_y.array, [0.02, 0.05, 0.3])
    np.testing.assert_allclose(markers.error_y.arrayminus, [0.02, 0.05, 0.3])
    np.testing.assert_allclose(markers.x, [30, 100, 1000], rtol=0.05)
    assert "order 2.60, 95 % interval 2.30 to 2.90, failed: R-hat 1.30 above 1.1" in markers.hovertext[2]
    assert markers.hovertext[2].endswith("failed: R-hat 1.30 above 1.1")
    line = drawn(figure, "L0H0", "lines", "y3")
    assert (line.line.color, line.line.dash) == head_style("L0H0") and line.showlegend is False
    assert {trace.name for trace in figure.data if trace.yaxis == "y3"} == {"L0H0", "L0H1", "whole model"}
    assert figure.layout.yaxis3.range[0] < 1.6 and 4 < figure.layout.yaxis3.range[1] < 4.3
    # Without an interval there is no panel.
    unknown = {"L0H1": [row | order(2.0, NAN) for row in ESTIMATES["L0H1"]]}
    assert len(llc_figure(as_metrics(unknown)).layout.annotations) == 2


def test_the_caption_explains_orders_where_there_are_some(tmp_path):
    for name, margin in (("known", 0.1), ("unknown", NAN)):
        rows = [row | order(2.0, margin) for row in ESTIMATES["L0H1"]]
        page = write_report(write_run(tmp_path / name, as_metrics({"L0H1": rows})).path).read_text()
        assert ("an order of 2 excludes" in " ".join(re.sub("<.*?>", "", page).split())) is (name == "known")


def test_one_estimate():
    metrics = as_metrics()
    metrics = {
        key: (steps[-1:], values[-1:]) if key.startswith("llc/") else (steps, values)
        for key, (steps, values) in metrics.items()
    }
    figure = llc_figure(metrics)
    assert drawn(figure, "L0H1", "markers").y.tolist() == [10.0]
    assert drawn(figure, "L0H1", "markers").error_y.array.tolist() == [1.0]
    # A decade and a half before is in view.
    assert figure.layout.xaxis2.range[0] == pytest.approx(np.log10(1000 / 30) - 0.03)


def test_the_axis_starts_where_estimates_do():
    scores = (np.array([0, 1, 10, 100, 1000, 10_000]), np.ones(6))
    metrics = as_metrics(scores={}) | {f"probe/enrichment/{head}": scores for head in SCORES}
    assert llc_figure(metrics).layout.xaxis2.range[0] == pytest.approx(np.log10(30 / 2) - 0.03)
    metrics = {f"probe/enrichment/{head}": scores for head in SCORES}
    metrics |= {"llc/L0H1/mean": (np.array([0, 1000]), np.ones(2))}
    assert llc_figure(metrics).layout.xaxis.range[0] < np.log10(0.5)


def test_the_orders_of_24_heads_at_the_last_step_are_on_the_axis():
    rows = {
        f"L{layer}H{head}": [row | order(2.0, 0.1) for row in ESTIMATES["L0H1"]]
        for layer in range(3)
        for head in range(8)
    }
    figure = llc_figure(as_metrics(rows))
    last = max(trace.x.max() for trace in figure.data if trace.mode == "markers" and trace.x[-1] is not None)
    assert 1200 < last < 10 ** figure.layout.xaxis2.range[1]


def test_panels_only_for_what_was_logged():
    def titles(metrics):
        return [note.text for note in llc_figure(metrics).layout.annotations]

    assert titles(as_metrics({"model": ESTIMATES["model"]})) == ["learning coefficient of the whole model"]
    heads = as_metrics({"L0H1": ESTIMATES["L0H1"]}, scores={})
    assert titles(heads) == ["learning coefficient of the head"]
    assert [trace.name for trace in llc_figure(heads).data if trace.showlegend] == ["L0H1"]
    assert titles(as_metrics({"L0H1": ESTIMATES["L0H1"]})) == [
        "learning coefficient of the head",
        "L0H1 × 3",
    ]


def test_regions_of_other_networks(tmp_path):
    named = {"first layer": ESTIMATES["L0H1"], "last/layer": ESTIMATES["L0H0"], "model": ESTIMATES["model"]}
    metrics = as_metrics(named, scores={})
    assert regions(metrics) == ["model", "first layer", "last/layer"]
    figure = llc_figure(metrics)
    assert figure.layout.annotations[0].text == "learning coefficient of the region"
    assert drawn(figure, "first layer", "lines", "y").line.color == HUES[0]
    assert drawn(figure, "last/layer", "lines", "y").line.color == HUES[1]
    trace = TRACE | {"columns": ["draw", "model/0", "model/1", "last/layer/0", "last/layer/1"]}
    assert llc_trace_figure(trace).layout.annotations[1].text == "last/layer, 1 dead"
    assert write_report(write_run(tmp_path, metrics, [("llc/trace", trace)]).path).is_file()


def test_the_table_has_the_last_coefficient():
    scored = as_metrics() | {"probe/enrichment/L2H0": (np.array([1]), np.array([1.0]))}
    rows = {row["head"]: row for row in head_table(scored)}
    assert {head: row["llc"] for head, row in rows.items()} == {
        "L0H1": "10.00 ± 0.50",
        "L0H0": "† 0.50 ± 0.10",
        "L1H0": "† 500 ± 90",
        "L2H0": "–",
    }
    last = [estimate(0.52, mcse=0.0043), estimate(35.0, mcse=1.8), estimate(NAN, NAN), estimate(2.0, mcse=NAN)]
    for row, text in zip(last, ["0.520 ± 0.004", "35.0 ± 1.8", "† –", "2.00"], strict=True):
        (found,) = head_table(as_metrics({"L0H1": [row]}, {"L0H1": SCORES["L0H1"]}))
        assert found["llc"] == text
    assert all("llc" not in row for row in head_table(as_metrics({"model": ESTIMATES["model"]})))


def test_the_report_has_the_sections_of_what_was_estimated(tmp_path):
    tables = [("llc/trace", TRACE), ("llc/calibration", CALIBRATION)]
    page = write_report(write_run(tmp_path, as_metrics(), tables).path).read_text()
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    assert not re.search(r"\bsrc=|\bhref=(?!\"#)|url\(|@import|https?:", markup)
    places = [markup.index(f'id="{name}"') for name in ("scores", "llc", "llc_trace", "calibration")]
    assert places == sorted(places)
    assert "<th>LLC</th>" in markup and "<td>10.00 ± 0.50</td>" in markup and "† the estimate failed" in markup
    folded = markup[markup.index("<details ontoggle") :]
    assert 'id="llc_trace"' in folded and "at step 1,000" in folded and "Plotly.Plots.resize" in folded


def test_the_report_tells_the_settings(tmp_path):
    def caption(**settings):
        estimates = {
            "model": [row | {"n_beta": 1000.0, "localization": 10000.0} for row in ESTIMATES["model"]],
            "L0H1": [row | {"n_beta": 1000.0, "localization": 10000.0} | settings for row in ESTIMATES["L0H1"]],
        }
        name = "_".join(map(str, settings.values())) or "equal"
        return write_report(write_run(tmp_path / name, as_metrics(estimates)).path).read_text()

    assert "localization, here 1,000 and 10,000." in caption()
    assert "and these have different ones" in caption(n_beta=100.0)


def test_without_estimates_the_report_is_as_before(tmp_path, capsys):
    run = write_run(tmp_path, as_metrics({}))
    page = re.sub(r"<script.*?</script>", "", write_report(run.path).read_text(), flags=re.S)
    assert 'id="scores"' in page
    for absent in ("learning coefficient", "LLC", 'id="llc', 'id="calibration"', "<details ontoggle", "†"):
        assert absent not in page
    print_summary(run)
    assert "LLC" not in capsys.readouterr().out
    # A calibration alone has its section; tables without rows have none.
    empty = {"step": 1, "columns": ["draw"], "data": []}
    for tables, shown in (([("llc/calibration", CALIBRATION)], True), ([("llc/calibration", empty)], False)):
        run = write_run(tmp_path / str(shown), as_metrics({}), tables)
        assert ('id="calibration"' in write_report(run.path).read_text()) is shown


@pytest.mark.parametrize("row", [{"llc/model/mean": NAN}, {"llc/L0H0/mean": 1.0}, {"llc/L0H0/mean": INF}])
@pytest.mark.parametrize("step", [0, 7])
def test_a_run_that_has_just_begun(tmp_path, row, step):
    run = RunDirectory(tmp_path)
    JsonlLogger(run.metrics).log_metrics(row, step)
    assert 'id="llc"' in write_report(run.path).read_text()
    print_summary(run)


def test_the_summary_has_the_coefficients(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    print_summary(write_run(tmp_path, as_metrics()))
    said = capsys.readouterr().out
    assert re.search(r"step of 3× +LLC", said)
    assert re.search(r"L0H1 \* +9\.0 .* 300 +10\.00 ± 0\.50", said) and re.search(r"L1H0 .* † 500 ± 90", said)
    assert "LLC of the whole model: 31.0 ± 1.0" in said
    assert re.search(r"^† +the estimate has failed its diagnostics", said, re.M)


def test_figures_are_plain_json():
    """W&B takes figures as JSON, which has no NaN."""
    for figure in (llc_figure(as_metrics()), llc_trace_figure(TRACE), calibration_figure(CALIBRATION)):
        assert "NaN" not in figure.to_json() and json.loads(figure.to_json())["layout"]
