"""Learning coefficients in the report, from estimates whose place in the figures is known."""

import json
import re

import numpy as np
import pytest

from lightning_physim.llc import LLCResult, RegionResult, diagnose
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
from lightning_physim.report.style import HUES, INK, PAPER, head_style
from lightning_physim.tracking import JsonlLogger, RunDirectory

NAN, INF = float("nan"), float("inf")
STEPS = [30, 100, 300, 1000]
SCORES = {"L0H0": [1.0, 1.1, 1.0, 1.2], "L0H1": [1.0, 1.2, 5.0, 9.0], "L1H0": [0.9, 1.0, 1.0, 0.8]}


def estimate(mean, mcse=0.1, rhat=1.01, ess=100.0, converged=1.0, **other):
    return {"mean": mean, "mcse": mcse, "rhat": rhat, "ess": ess, "n_dead": 0.0, "converged": converged} | other


ESTIMATES = {
    "model": [estimate(mean, mcse=1.0) for mean in (5.0, 9.0, 20.0, 31.0)],
    "L0H0": [estimate(0.2), estimate(-0.4), estimate(0.3), estimate(0.5, rhat=1.3, converged=0.0)],
    "L0H1": [estimate(0.3), estimate(1.0), estimate(6.0, mcse=0.4), estimate(10.0, mcse=0.5)],
    # One that no chain survived, one far off.
    "L1H0": [
        estimate(0.3),
        estimate(NAN, NAN, NAN, NAN, n_dead=4.0, converged=0.0),
        estimate(0.4),
        estimate(500.0, mcse=90.0, n_dead=1.0, step_stability=1.3, converged=0.0),
    ],
}


def as_metrics(estimates=ESTIMATES, scores=SCORES):
    curves = {f"probe/enrichment/{head}": (np.array(STEPS), np.array(values)) for head, values in scores.items()}
    for region, rows in estimates.items():
        for key in set().union(*rows):
            at = [i for i, row in enumerate(rows) if key in row]
            curves[f"llc/{region}/{key}"] = (np.array(STEPS)[at], np.array([rows[i][key] for i in at]))
    return curves


TRACE = {
    "step": 1000,
    "columns": ["draw", "model/0", "model/1", "L0H1/0", "L0H1/1"],
    "data": [[draw, 30.0 + draw, 32.0 - draw, 9.0, None] for draw in range(5)],
}
CALIBRATION = {
    "step": 1000,
    "columns": ["region", "n_beta", "localization", "step_size", "mean", "mcse", "rhat", "ess", "step_stability",
                "noise_ratio", "localization_share", "n_dead", "converged", "recommended"],
    "data": [
        [region, n_beta, localization, step, mean, 0.1, 1.0, 200.0, 0.2, 0.01, 0.1, 0, mean is not None, step == best]
        for region, best in (("model", 1e-4), ("L0H1", None))
        for n_beta, localization in ((100.0, 1.0), (1000.0, 10.0), (1000.0, 1.0))
        for step, mean in ((1e-4, 3.0), (1e-5, 2.9), (1e-3, None))
    ],
}  # fmt: skip


def write_run(path, metrics, tables=()):
    """A run directory as a fit leaves it."""
    run = RunDirectory(path / "20260101-000000-demo-abcd")
    logger = JsonlLogger(run.metrics)
    for step in sorted({int(step) for steps, _ in metrics.values() for step in steps}):
        at_step = {key: values[steps == step][0] for key, (steps, values) in metrics.items() if step in steps}
        logger.log_metrics(at_step, step)
    for key, table in tables:
        logger.log_table(key, table["columns"], table["data"], step=table["step"])
    return run


def drawn(figure, name, mode, panel="y2"):
    """The trace of a region in the panel of heads, its ``mode`` "lines", "markers" or, for the band, "fill"."""
    (trace,) = (
        trace
        for trace in figure.data
        if trace.name == name
        and trace.yaxis == panel
        and ("fill" if trace.fill else trace.mode) == mode
        and trace.x[0] is not None
    )
    return trace


def hollow(markers):
    return [color == PAPER for color in markers.marker.color]


def test_scores_and_coefficients_of_a_head_share_colour_and_axis():
    metrics = as_metrics()
    figure = llc_figure(metrics)
    titles = [note.text for note in figure.layout.annotations]
    assert titles == [
        "attention to near particles, × uniform",
        "learning coefficient of the head",
        "learning coefficient of the whole model",
    ]
    for head in SCORES:
        score, coefficient = drawn(figure, head, "lines", "y"), drawn(figure, head, "lines")
        assert (score.line.color, score.line.dash) == (coefficient.line.color, coefficient.line.dash)
        assert (score.line.color, score.line.dash) == head_style(head)
        assert score.legendgroup == coefficient.legendgroup == drawn(figure, head, "markers").legendgroup
        assert score.xaxis == coefficient.xaxis == "x3"
    assert drawn(figure, "L0H1", "lines").y.tolist() == [0.3, 1.0, 6.0, 10.0]
    assert drawn(figure, "L0H1", "lines").x.tolist() == STEPS
    assert drawn(figure, "model", "lines", "y3").y.tolist() == [5.0, 9.0, 20.0, 31.0]
    assert drawn(figure, "model", "lines", "y3").line.color == INK
    # Every head has one entry in the legend, in the order of the scores.
    named = [trace.name for trace in figure.data if trace.showlegend is not False]
    assert named == [trace.name for trace in scores_figure(metrics).data] + ["failed a diagnostic"]
    layout = figure.layout
    assert (layout.xaxis3.type, layout.yaxis.type, layout.yaxis2.type) == ("log", "log", None)
    assert layout.yaxis2.range[0] < -0.4 and layout.yaxis3.range[0] <= 0
    # The collision head's onset stands in all panels.
    onsets = [shape for shape in layout.shapes if shape.line.color == head_style("L0H1")[0]]
    assert {shape.x0 for shape in onsets} == {300} and len(onsets) == 3


def test_bands_are_two_standard_errors_and_stop_where_there_is_no_estimate():
    figure = llc_figure(as_metrics())
    band = drawn(figure, "L0H1", "fill")
    assert band.x.tolist() == [*STEPS, *STEPS[::-1]]
    np.testing.assert_allclose(band.y, [0.1, 0.8, 5.2, 9.0, 11.0, 6.8, 1.2, 0.5])
    assert re.fullmatch(r"rgba\(\d+, \d+, \d+, 0\.1\d\)", band.fillcolor) and band.line.width == 0
    # A head without two neighbouring estimates has no band, but bars.
    assert not [trace for trace in figure.data if trace.name == "L1H0" and trace.fill]
    np.testing.assert_allclose(drawn(figure, "L1H0", "markers").error_y.array, [0.2, 0, 0.2, 0])
    assert drawn(figure, "L0H1", "markers").error_y.array is None


def test_failed_estimates_are_hollow_and_say_why():
    figure = llc_figure(as_metrics())
    assert hollow(drawn(figure, "L0H0", "markers")) == [False, False, False, True]
    assert hollow(drawn(figure, "L0H1", "markers")) == [False] * 4
    markers = drawn(figure, "L0H0", "markers")
    assert set(markers.marker.line.color.split()) == {head_style("L0H0")[0]}
    assert markers.hovertext[1] == (
        "<b>L0H0</b>, step 100<br>-0.4 ± 0.1 (standard error)<br>R-hat 1.010, effective sample size 100"
    )
    assert markers.hovertext[3].endswith("failed: R-hat 1.30 above 1.1")
    # None and far-off estimates keep a place of their own, and do not flatten the others.
    markers = drawn(figure, "L1H0", "markers")
    low, high = figure.layout.yaxis2.range
    assert list(markers.marker.symbol) == ["circle", "x", "circle", "triangle-up"]
    assert hollow(markers) == [False, True, False, True]
    assert 10 < markers.y[3] < high < 15 and low < markers.y[1] < 0
    assert markers.hovertext[1].endswith("no finite value<br>failed: no chain survived; 4 chains diverged")
    assert "500 ± 90" in markers.hovertext[3]
    assert markers.hovertext[3].endswith("failed: 1 chain diverged; step size 1.3 times the limit of stability")
    np.testing.assert_array_equal(drawn(figure, "L1H0", "lines").y, [0.3, NAN, 0.4, NAN])


def test_nothing_failed_leaves_hollow_markers_unexplained():
    figure = llc_figure(as_metrics({"L0H1": ESTIMATES["L0H1"]}))
    assert "failed a diagnostic" not in [trace.name for trace in figure.data]


def test_estimates_that_fail_by_little_have_their_place():
    """However many there are, and however far they rise above those that pass."""
    rows = [estimate(3.0), *(estimate(mean, noise_ratio=0.12, converged=0.0) for mean in (2.0, 15.0, 30.0))]
    figure = llc_figure(as_metrics({"model": rows}, scores={}))
    markers = drawn(figure, "model", "markers", "y")
    assert hollow(markers) == [False, True, True, True] and set(markers.marker.symbol) == {"circle"}
    assert markers.y.tolist() == drawn(figure, "model", "lines", "y").y.tolist() == [3.0, 2.0, 15.0, 30.0]
    for gross in ({"noise_ratio": 3.0}, {"rhat": 4.0}, {"n_dead": 1.0}, {"step_stability": 1.1}):
        figure = llc_figure(as_metrics({"model": [*rows[:3], estimate(300.0, converged=0.0) | gross]}, scores={}))
        assert list(drawn(figure, "model", "markers", "y").marker.symbol) == ["circle"] * 3 + ["triangle-up"]
        assert figure.layout.yaxis.range[1] < 20


@pytest.mark.parametrize("mean", [NAN, INF, -INF])
def test_estimates_without_a_finite_value_are_marked(mean):
    figure = llc_figure(as_metrics({"L0H1": [estimate(0.3), estimate(mean), estimate(0.5), estimate(0.7, mcse=INF)]}))
    markers = drawn(figure, "L0H1", "markers")
    assert hollow(markers) == [False, True, False, False]
    assert markers.marker.symbol[1] == {NAN: "x", INF: "triangle-up", -INF: "triangle-down"}.get(mean, "x")
    assert np.isfinite(markers.y).all() and np.isfinite(figure.layout.yaxis2.range).all()
    assert markers.hovertext[1].endswith("failed: no chain survived")


@pytest.mark.parametrize(
    ("quantity", "changes"),
    [
        ("n_dead", {"n_dead": 1.0}),
        ("step_stability", {"step_stability": 1.5}),
        ("rhat", {"rhat": 1.2}),
        ("ess", {"ess": 10.0}),
        ("noise_ratio", {"noise_ratio": 0.3}),
        ("virial", {"virial": 2.0, "virial_mcse": 0.1}),
        ("mean", {"mean": NAN}),
    ],
)
def test_whatever_refuses_an_estimate_is_logged_and_told_on_the_page(quantity, changes):
    values = dict.fromkeys(RegionResult.__dataclass_fields__, 0.0) | {"mean": 1.0, "trace": [0, 0], "ess": 100.0}
    sound, refused = RegionResult(**values), RegionResult(**(values | changes))
    assert sound.converged and list(refused.failures) == [quantity]
    rows = [{key: [value] for key, value in LLCResult(model=result).metrics().items()} for result in (sound, refused)]
    metrics = {key: (np.array([10, 100]), np.array(rows[0][key] + rows[1][key], dtype=float)) for key in rows[0]}
    markers = drawn(llc_figure(metrics), "model", "markers", "y")
    assert "failed" not in markers.hovertext[0]
    assert markers.hovertext[1].endswith(f"failed: {refused.failures[quantity]}")


def test_a_row_of_which_nothing_was_logged_has_failed_in_nothing_but_its_mean():
    assert list(diagnose({})) == ["mean"] and diagnose({"mean": 1.0, "rhat": NAN}) == {}


def test_one_estimate():
    metrics = as_metrics()
    metrics = {
        key: (steps[-1:], values[-1:]) if key.startswith("llc/") else (steps, values)
        for key, (steps, values) in metrics.items()
    }
    figure = llc_figure(metrics)
    assert drawn(figure, "L0H1", "markers").y.tolist() == [10.0]
    assert drawn(figure, "L0H1", "markers").error_y.array.tolist() == [1.0]
    # The scores of the three decades before are in view.
    assert figure.layout.xaxis3.range[0] <= np.log10(30)


def test_the_axis_starts_where_estimates_do():
    scores = (np.array([0, 1, 10, 100, 1000, 10_000]), np.ones(6))
    metrics = as_metrics(scores={}) | {f"probe/enrichment/{head}": scores for head in SCORES}
    assert llc_figure(metrics).layout.xaxis3.range[0] == pytest.approx(1)  # three decades
    metrics = {f"probe/enrichment/{head}": scores for head in SCORES}
    metrics |= {"llc/L0H1/mean": (np.array([0, 1000]), np.ones(2))}
    assert llc_figure(metrics).layout.xaxis2.range[0] < np.log10(0.5)


def test_panels_only_for_what_was_logged():
    def titles(metrics):
        return [note.text for note in llc_figure(metrics).layout.annotations]

    assert titles(as_metrics({"model": ESTIMATES["model"]})) == ["learning coefficient of the whole model"]
    heads = as_metrics({"L0H1": ESTIMATES["L0H1"]}, scores={})
    assert titles(heads) == ["learning coefficient of the head"]
    assert [trace.name for trace in llc_figure(heads).data if trace.showlegend] == ["L0H1"]
    assert titles(as_metrics({"L0H1": ESTIMATES["L0H1"]})) == [
        "attention to near particles, × uniform",
        "learning coefficient of the head",
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
    assert not re.search(r"\b(src|href)=|url\(|@import|https?:", markup)
    places = [markup.index(f'id="{name}"') for name in ("scores", "llc", "llc_trace", "calibration")]
    assert places == sorted(places)
    assert "<th>LLC</th>" in markup and "<td>10.00 ± 0.50</td>" in markup and "† the estimate failed" in markup
    folded = markup[markup.index("<details") : markup.index("</details>")]
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
    for absent in ("learning coefficient", "LLC", 'id="llc', 'id="calibration"', "<details", "†"):
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
    assert re.search(r"L0H1 +9\.0 .* 300 +10\.00 ± 0\.50", said) and re.search(r"L1H0 .* † 500 ± 90", said)
    assert re.search(r"LLC +whole model +31\.0 ± 1\.0", said)
    assert "† failed its diagnostics" in said


def test_figures_are_plain_json():
    """W&B takes figures as JSON, which has no NaN."""
    for figure in (llc_figure(as_metrics()), llc_trace_figure(TRACE), calibration_figure(CALIBRATION)):
        assert "NaN" not in figure.to_json() and json.loads(figure.to_json())["layout"]
