"""Figures, summary and the HTML report, from curves whose answers are known."""

import base64
import gzip
import json
import re

import numpy as np
import pytest
from plotly.offline import get_plotlyjs

from lightning_physim import keys
from lightning_physim.curves import collision_heads
from lightning_physim.emergence import growth_of_collision_heads, label
from lightning_physim.errors import InputError
from lightning_physim.report import (
    attention_distance_figure,
    attention_map_figure,
    correlation_figure,
    head_table,
    headline,
    loss_figure,
    print_summary,
    rollout_animation_figure,
    rollout_figure,
    scores_figure,
    viewer,
    write_report,
)
from lightning_physim.report.curve_figures import log_bins
from lightning_physim.report.growth_figures import emergence_figure
from lightning_physim.report.heads import table_text
from lightning_physim.report.style import DARK, head_style, nth_style
from lightning_physim.tracking import JsonlLogger, RunDirectory, read_metrics

STEPS = np.array([0, 1, 10, 100, 1000])


def curve(*values):
    return STEPS[: len(values)], np.array(values, dtype=float)


@pytest.fixture
def metrics():
    return {
        "train/loss": curve(1.0, 1.0, 0.8, 0.5, 0.1),
        "val/loss": curve(1.0, 1.0, 0.8, 0.5, 0.1),
        "val/loss_colliding": curve(6.0, 6.0, 5.0, 3.0, 0.45),
        "val/floor_ballistic_colliding": curve(6.0, 6.0, 6.0, 6.0, 6.0),
        "val/floor_no_pair_colliding": curve(5.5, 5.5, 5.5, 5.5, 5.5),
        "probe/enrichment/L0H0": curve(1.0, 1.0, 2.9, 6.5, 6.0),
        "probe/enrichment/L0H1": curve(1.0, 1.0, 1.2, 5.5, 9.0),
        "probe/enrichment/L1H0": curve(1.0, 0.9, 0.9, 0.8, 0.7),
        "probe/partner_score/L0H1": curve(0.1, 0.1, 0.12, 0.5, 0.75),
        "rollout/mse@2": curve(1.0, 0.9, 0.5, 0.2, 0.1),
        "rollout/mse@10": curve(9.0, 8.0, 5.0, 2.0, 1.0),
        "rollout/energy_error@2": curve(0.5, 0.4, 0.3, 0.2, 0.05),
    }


TABLE = {
    "step": 1000,
    "columns": ["distance_from", "distance_to", "uniform", "L0H0", "L0H1"],
    "data": [[0.0, 1.0, 0.1, None, None], [1.0, 2.0, 0.1, 0.2, 0.6], [2.0, 3.0, 0.1, 0.15, 0.01]],
}


@pytest.fixture
def run(tmp_path, metrics):
    """A run directory as a fit leaves it."""
    run = RunDirectory(tmp_path / "20260101-000000-demo-abcd")
    logger = JsonlLogger(run.metrics)
    for step in STEPS:
        row = {key: values[steps == step][0] for key, (steps, values) in metrics.items()}
        logger.log_metrics(row, int(step))
    logger.log_table("probe/attention_distance", TABLE["columns"], TABLE["data"], step=1000)
    run.config.write_text(
        "seed_everything: 3\nmodel: {n_layers: 2, n_heads: 2, d_model: 32}\n"
        "data: {system: {n_particles: 16}}\ntrainer: {max_steps: 2000}\nnote: </pre><script>alert(1)</script>\n"
    )
    return run


def lines(figure):
    return {trace.name: (np.array(trace.x), np.array(trace.y)) for trace in figure.data}


def test_losses_with_their_floors(metrics):
    figure = loss_figure(metrics)
    drawn = lines(figure)
    assert list(drawn) == ["training", "colliding", "all", "free flight, colliding", "no-pair oracle, colliding"]
    # The untrained network has its place left of step 1, under a tick that says 0.
    assert drawn["colliding"][0].tolist() == [0.5, 1, 10, 100, 1000]
    assert drawn["colliding"][1].tolist() == [6.0, 6.0, 5.0, 3.0, 0.45]
    axis = figure.layout.xaxis
    assert (axis.tickvals[0], axis.ticktext[0], axis.tickvals[-1], axis.ticktext[-1]) == (0.5, "0", 1000, "1k")
    assert axis.range[0] < np.log10(0.5) and axis.range[1] > 3
    assert drawn["no-pair oracle, colliding"][1].tolist() == [5.5, 5.5]
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "log"


def test_a_run_that_starts_after_step_0_has_no_such_tick():
    figure = loss_figure({"val/loss": (np.array([10, 100]), np.array([1.0, 0.5]))})
    assert "0" not in figure.layout.xaxis.ticktext
    assert lines(figure)["all"][0].tolist() == [10, 100]


def test_log_bins_keep_the_mean_and_the_span():
    rng = np.random.default_rng(0)
    steps, values = np.arange(0, 50_000, 10), rng.exponential(size=5000)
    binned, means = log_bins(steps, values)
    assert len(binned) <= 200 and np.all(np.diff(binned) > 0)
    late = binned > 5000
    assert np.mean(means[late]) == pytest.approx(np.mean(values[steps > 5000]), rel=0.02)
    assert np.std(means[late]) < 0.3 * np.std(values)


def test_scores_are_sorted_and_styled_the_same_everywhere(metrics):
    figure = scores_figure(metrics)
    assert list(lines(figure)) == ["L0H1", "L0H0", "L1H0"]
    (uniform,) = figure.layout.shapes
    assert uniform.y0 == uniform.y1 == 1.0 and figure.layout.annotations[0].y == 0.0  # a logarithm
    assert figure.layout.yaxis.type == "log"
    other = {trace.name: (trace.line.color, trace.line.dash) for trace in attention_distance_figure(TABLE).data}
    for trace in figure.data:
        assert other.get(trace.name, head_style(trace.name)) == (trace.line.color, trace.line.dash)
    assert len({head_style(f"L{layer}H{head}") for layer in range(3) for head in range(16)}) == 48


def test_scores_that_may_be_negative_keep_a_linear_axis():
    figure = scores_figure({"probe/ablation/L0H0": curve(-0.1, 0.0, 0.2)}, key=keys.ABLATION)
    assert figure.layout.yaxis.type != "log" and not figure.layout.shapes
    assert lines(figure)["L0H0"][1].tolist() == [-0.1, 0.0, 0.2]


def test_attention_against_distance():
    figure = attention_distance_figure(TABLE)
    drawn = lines(figure)
    assert list(drawn) == ["L0H1", "L0H0"]
    assert drawn["L0H1"][0].tolist() == [0.5, 1.5, 2.5]
    assert np.isnan(drawn["L0H1"][1][0]) and drawn["L0H1"][1][1:].tolist() == [0.6, 0.01]
    uniform, contact = figure.layout.shapes
    assert uniform.y0 == 0.1 and contact.x0 == contact.x1 == 1.0
    assert figure.layout.yaxis.range[0] == pytest.approx(
        -4
    )  # a thousandth of uniform: far particles get next to nothing


def test_the_correlation_function_over_training_is_that_of_the_head_with_the_most_attention():
    rows = [[step, *row[:3], row[3], factor * row[4] if row[4] else None]
            for step, factor in ((1, 0.2), (1000, 1.0)) for row in TABLE["data"]]  # fmt: skip
    table = TABLE | {"columns": ["step", *TABLE["columns"]], "data": rows}
    figure = correlation_figure(table)
    drawn = lines(figure)
    assert list(drawn) == ["step 1", "step 1,000"]
    np.testing.assert_allclose(drawn["step 1"][1], [np.nan, 1.2, 0.02])
    np.testing.assert_allclose(drawn["step 1,000"][1], [np.nan, 6.0, 0.1])  # uniform attention is 0.1
    assert figure.layout.shapes[0].y0 == 1.0 and figure.layout.yaxis.range == (-3, pytest.approx(1.1))
    of_last = lines(attention_distance_figure(table))
    assert of_last.keys() == {"L0H0", "L0H1"} and of_last["L0H1"][1][1:].tolist() == [0.6, 0.01]
    assert correlation_figure(TABLE) is None  # of an older run, the last step alone


def test_rollout_horizons_are_in_order_and_the_last_curve_is_the_last_step(metrics):
    figure = rollout_figure(metrics)
    first_panel = [trace for trace in figure.data if trace.yaxis == "y"]
    assert [trace.name for trace in first_panel] == ["step 0", "step 1", "step 10", "step 100", "step 1,000"]
    assert list(first_panel[-1].x) == [2, 10] and list(first_panel[-1].y) == [0.1, 1.0]
    assert [trace.name for trace in figure.data if trace.yaxis == "y2"] == [trace.name for trace in first_panel]
    assert {annotation.text for annotation in figure.layout.annotations} == {
        "position, squared units of length",
        "energy, relative",
    }


SNAPSHOT = {
    "attention": np.round(255 * np.array([[[[[0, 0.9, 0.1], [0.5, 0, 0.5], [0.02, 0.98, 0]]] * 2]] * 2)).astype(
        np.uint8
    ),
    "states": np.array([[[0.2, 0.2, 0, 0], [0.8, 0.2, 0, 0], [0.5, 1.5, 0, 0]]], dtype=np.float32),
    "touching": np.array([[[False, True, False], [True, False, False], [False, False, False]]]),
    "radii": np.array([0.1, 0.1, 0.2], dtype=np.float32),
    "box": np.array([1.0, 2.0], dtype=np.float32),
    "interval": np.float32(0.1),
    "near": np.float32(1.5),
    "truth": np.linspace(0, 1, 24).reshape(1, 4, 3, 2).astype(np.float16),
    "rollout": np.linspace(0, 1, 24).reshape(1, 4, 3, 2).astype(np.float16),
}


def test_attention_on_the_particles_of_every_head():
    figure = attention_map_figure({0: SNAPSHOT, 50: SNAPSHOT})
    assert figure.layout.title.text == "Attention at step 50"
    assert {note.text for note in figure.layout.annotations} == {"L0H0", "L0H1", "L1H0", "L1H1"}
    panel = [trace for trace in figure.data if trace.yaxis == "y2"]
    plain, marked, *lines = panel
    radius = np.hypot(np.array(plain.x) - 0.5, np.array(plain.y) - 1.5)
    assert radius[np.isfinite(radius)] == pytest.approx(0.2, abs=1e-3)  # the one that touches nothing
    assert np.isnan(marked.x).sum() == 2 and marked.line.width > plain.line.width
    shown = {text for trace in lines for text in trace.text if text}
    assert shown == {"0.90", "0.10", "0.50", "0.98"}  # 0.02 is below the lowest class
    heavy = next(trace for trace in lines if "0.98" in trace.text)
    assert heavy.line.width == max(trace.line.width for trace in lines)
    assert heavy.marker.color == head_style("L0H1")[0]
    assert (heavy.x[0], heavy.x[1]) == pytest.approx((0.2, 0.8))
    only = attention_map_figure({0: SNAPSHOT}, head_names=["L1H0"])
    assert {trace.yaxis for trace in only.data} == {"y3"}


def test_an_animation_has_a_frame_per_time_and_leaves_out_what_is_lost():
    lost = SNAPSHOT["rollout"].copy()
    lost[0, 2:, 1] = np.inf
    figure = rollout_animation_figure({7: SNAPSHOT | {"rollout": lost}})
    assert [frame.name for frame in figure.frames] == ["0", "0.1", "0.2", "0.3"]
    network, truth = figure.frames[3].data
    assert network.name == "network" and truth.name == "truth"
    first, second = np.array(truth.x)[:25], np.array(network.x)[26:51]
    assert (np.min(first) + np.max(first)) / 2 == pytest.approx(float(SNAPSHOT["truth"][0, 3, 0, 0]), abs=1e-3)
    assert np.isnan(second).all() and np.isfinite(np.array(network.x)[:25]).all()


def test_a_page_keeps_every_second_snapshot_until_they_fit(monkeypatch):
    monkeypatch.setattr(viewer, "MAX_BYTES", 4 * (SNAPSHOT["attention"].nbytes + SNAPSHOT["rollout"].nbytes))
    steps = range(0, 130, 10)
    page = viewer.viewer_html({step: SNAPSHOT for step in steps})
    data = json.loads(re.search(r'id="viewer-data">(.*?)</script>', page)[1])
    assert data["steps"] == [0, 40, 80, 120]
    stored = np.frombuffer(base64.b64decode(data["attention"]), np.uint8)
    assert np.array_equal(stored.reshape(4, *SNAPSHOT["attention"].shape)[2], SNAPSHOT["attention"])
    path = np.frombuffer(base64.b64decode(data["truth"]), "<u2") * data["scale"] + data["low"]
    assert path == pytest.approx(SNAPSHOT["truth"].astype(float).ravel(), abs=1e-4)


def test_a_power_law_is_drawn_where_there_is_one_and_only_there():
    rng, steps = np.random.default_rng(0), np.unique(np.geomspace(1, 30_000, 90).round()).astype(int)
    noise = 0.02 * rng.normal(size=len(steps))
    law = 10 - 9 * (1 + np.maximum(steps - 20, 0) / 60.0) ** -0.8 + noise
    flat = 1 + noise
    metrics = {"probe/enrichment/L0H0": (steps, law), "probe/enrichment/L0H1": (steps, flat + 6)}
    metrics |= {key.replace("enrichment", "partner_score"): (steps, y / 10) for key, (steps, y) in metrics.items()}
    growth = growth_of_collision_heads(metrics)
    assert growth["L0H0"].verdict in ("power_law", "broken_power_law") and growth["L0H1"].verdict == "undecided"
    at, line = growth["L0H0"].line()
    assert 10 * line == pytest.approx(np.interp(np.log(at), np.log(steps), law), abs=0.15)
    assert growth["L0H1"].line() is None and growth["L0H1"].text == "undecided"
    assert growth["L0H0"].text.startswith(label(growth["L0H0"].verdict) + ", α 0.")


def test_forecasts_and_exponents_with_their_intervals():
    logged = {f"emergence/L1H0/exponent{end}": curve(*x) for end, x in
              (("", (1.0, 2.0)), ("_lo", (0.5, 1.5)), ("_hi", (4.0, 2.25)))}  # fmt: skip
    logged |= {f"emergence/L1H0/forecast{end}": curve(x) for end, x in (("", 0.7), ("_lo", 0.5), ("_hi", 0.8))}
    logged |= {
        f"probe/{key}/{head}": curve(0.1, 0.5) for key in ("enrichment", "partner_score") for head in ("L0H0", "L1H0")
    }
    figure = emergence_figure(logged)
    score, forecast, exponent = figure.data
    assert {trace.name for trace in (score, forecast, exponent)} == {"L1H0"}
    assert list(score.y) == [0.5] and list(forecast.y) == [0.7]
    np.testing.assert_allclose([*forecast.error_y.array, *forecast.error_y.arrayminus], [0.1, 0.2])
    # Of the exponents the last, in a row of the head's own.
    assert list(exponent.x) == [2.0] and list(exponent.y) == ["L1H0"]
    assert list(exponent.error_x.array) == [0.25] and list(exponent.error_x.arrayminus) == [0.5]
    (uniform,) = figure.layout.shapes
    assert uniform.y0 == 1.0  # scores and enrichments are the same numbers here


def test_forecasts_fill_their_panel():
    steps = np.array([1, 10, 100, 1000, 2000, 5000, 10_000])
    late = steps[steps >= 1000]
    logged = {"probe/enrichment/L0H0": (steps, steps / 1000), "probe/partner_score/L0H0": (steps, steps / 1e4)}
    logged |= {f"emergence/L0H0/forecast{end}": (late, late / 1e4) for end in ("", "_lo", "_hi")}
    low, high = emergence_figure(logged).layout.xaxis.range
    assert 500 < 10**low < 1000 and 10_000 < 10**high < 15_000


def test_all_heads_are_read_at_one_step_with_their_units(metrics):
    for figure in (scores_figure(metrics), loss_figure(metrics), rollout_figure(metrics)):
        assert figure.layout.hovermode == "x unified" and "%{x" in figure.layout.xaxis.unifiedhovertitle.text
        templates = {trace.hovertemplate for trace in figure.data}
        assert all("%{x" not in template and "%{fullData.name}" in template for template in templates)
    assert "× uniform" in scores_figure(metrics).data[0].hovertemplate


def test_positions_are_compared_with_a_diameter(metrics):
    (line,) = rollout_figure(metrics, diameter=0.2).layout.shapes
    assert line.y0 == line.y1 == pytest.approx(0.04) and line.yref == "y"


def test_rollouts_stand_beside_those_of_predictors_that_know_less(metrics):
    columns = ["floor", "mse@2", "mse@10", "energy_error@2"]
    floors = {"columns": columns, "data": [["ballistic", 0.5, 2.0, 0.9], ["no_pair", 0.1, 0.7, 0.3]]}
    drawn = {trace.name: trace.y for trace in rollout_figure(metrics, floors=floors).data if trace.showlegend}
    assert drawn["free flight"].tolist() == [0.5, 2.0] and drawn["no-pair oracle"].tolist() == [0.1, 0.7]


def test_an_exponent_alone_is_drawn_too():
    logged = {f"emergence/L1H0/exponent{end}": curve(0.5, 1.0) for end in ("", "_lo", "_hi")}
    logged |= {"probe/enrichment/L1H0": curve(0.1, 0.5)}
    assert len(emergence_figure(logged).data) == 1


def test_classifiers_and_ablation_are_in_the_table_where_they_were_logged(metrics):
    assert not {"auroc", "ablation"} & head_table(metrics)[0].keys()
    more = {"probe/auroc/L0H1": curve(0.5, 0.9), "probe/ablation/L0H1": curve(0.0, -0.25)}
    titles, rows = table_text(head_table(metrics | more))
    assert titles == ["head", "× uniform", "partner score", "AUROC", "ablation", "step of 3×"]
    assert rows[0] == ["L0H1", "9.0", "0.750", "0.900", "-0.250", "100"]
    assert rows[1][2:5] == ["–", "–", "–"]


def test_head_table(metrics):
    rows = head_table(metrics)
    assert [row["head"] for row in rows] == ["L0H1", "L0H0", "L1H0"]
    assert [row["reached_onset"] for row in rows] == [100, 100, None]
    assert rows[0]["partner_score"] == 0.75 and np.isnan(rows[1]["partner_score"])


def test_headline(metrics):
    assert headline(metrics) == (
        "2 of 3 attention heads have learned to find near particles: the first passed 5 times uniform attention "
        "at step 100, and the strongest, L0H1, has reached 9.0 times; "
        "the loss on colliding particles is 7.5\u00a0% of free flight’s."
    )
    flat = {"probe/enrichment/L0H3": curve(1.0, 1.8)}
    assert headline(flat) == (
        "None of 1 heads puts 5 times the uniform attention on near particles; the highest, L0H3, puts 1.8 times."
    )
    unknown = {"probe/enrichment/L0H0": curve(np.nan, np.nan)}  # as where every particle is near
    assert headline(flat | unknown).endswith("L0H3, puts 1.8 times.")
    assert headline(unknown).startswith("Attention of heads cannot be compared with uniform attention: every")
    alone = {"llc/L0H0/mean": curve(1.0, 2.0)}
    assert headline(alone) == "Neither scores of heads nor a loss on colliding particles are known."
    losses = {key: value for key, value in metrics.items() if key.startswith("val/")}
    assert headline(losses) == "The loss on colliding particles is 7.5\u00a0% of free flight’s."
    assert headline({}) == "Nothing has been measured yet."


def test_the_report_is_one_file_that_asks_for_nothing(run):
    run.report.write_text("older")
    assert write_report(run.path) == run.report
    page = run.report.read_text()
    assert run.report.stat().st_size < 3e6
    (packed,) = re.findall(r'<script type="gzip" id="plotly">([^<]*)</script>', page)
    assert gzip.decompress(base64.b64decode(packed)).decode() == get_plotlyjs()
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    assert not re.search(r"\bsrc=|\bhref=(?!\"#)|url\(|@import|https?:", markup)
    assert "default-src 'none'" in markup
    for section in ("loss", "scores", "attention_distance", "rollout"):
        assert f'id="{section}"' in markup
    assert "2 of 3 attention heads" in markup and "seed 3 · 2 layers of 2 heads, width 32 · 16 particles" in markup
    assert "step 1,000 of 2,000" in markup
    assert "&lt;script&gt;alert(1)" in markup and "alert(1)</script>" not in page
    assert sorted(path.name for path in run.path.iterdir()) == [
        "config.yaml",
        "figures",
        "metrics.jsonl",
        "report.html",
    ]


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"train/loss": 1.0},
        {"val/loss": float("nan"), "val/floor_ballistic": 1.0},
        {"probe/enrichment/L0H0": float("nan")},
        {"probe/enrichment/L0H0": 1.0},
        {"rollout/mse@1": 0.5},
        {"time/train": 1.0, "epoch": 0},
    ],
)
@pytest.mark.parametrize("step", [0, 7])
def test_a_run_that_has_just_begun(tmp_path, row, step):
    run = RunDirectory(tmp_path)
    JsonlLogger(run.metrics).log_metrics(row, step)
    assert write_report(run.path).is_file()
    print_summary(run)


def test_a_failed_write_leaves_the_older_report(run, monkeypatch):
    run.report.write_text("older")
    monkeypatch.setattr("pathlib.Path.replace", lambda self, target: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_report(run.path)
    assert run.report.read_text() == "older"


def test_no_metrics_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="found no file"):
        write_report(tmp_path)


def test_the_summary_names_heads_losses_and_the_report(run, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    write_report(run.path)
    print_summary(run)
    said = capsys.readouterr().out
    assert re.search(r"L0H1 \* +9\.0 +0\.750 +100", said)
    assert re.search(r"loss +network +free flight +no-pair oracle\ncolliding +0\.45 +6 +5\.5", said)
    assert f"report: {run.report}" in said.replace("\n", "")
    marked = re.findall(r"^(L\dH\d) \*", said, re.M)
    assert sorted(marked) == sorted(collision_heads(read_metrics(run.metrics))) and len(marked) < len(
        re.findall(r"^L\dH\d", said, re.M)
    )
    assert "next:" not in said  # there is no checkpoint to go on with
    table = said.index("L0H1 *")
    for title in ("× uniform", "partner score", "step of 3×"):  # explained before the table, each in a line
        assert re.search(rf"^{title} +\w.{{10,64}}$", said[:table], re.M)


def test_a_score_of_nothing_has_no_sign():
    assert keys.ABLATION.column.form.format(-0.0001) == "0.000"


# Machado, Oliveira and Fernandes 2009, table 1, severity 1.0: what the eye of a dichromat makes of linear RGB.
DICHROMATS = {
    "none": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def lab(color, eye):
    """CIE L*a*b* (D65) of "#rrggbb" as a dichromat sees it."""
    rgb = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(DICHROMATS[eye]) @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    f = np.cbrt(xyz / [0.9505, 1.0, 1.089])
    f = np.where(f**3 > 0.008856, f, 7.787 * f**3 + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eye", DICHROMATS)
@pytest.mark.parametrize(("shade", "paper"), [(str, "#fdfcf9"), (DARK.get, "#14161a")], ids=["light", "dark"])
def test_ten_heads_or_runs_are_told_apart_by_every_kind_of_eye(eye, shade, paper):
    """Some 2.3 units are just noticeable; lines need several times that. Measured: 16.1 at least (tritan)."""
    assert [head_style(f"L0H{i}") for i in range(10)] == [nth_style(i) for i in range(10)]
    colors = [lab(shade(nth_style(i)[0]), eye) for i in range(10)]
    apart = [[np.linalg.norm(a - b) for b in colors[:i]] for i, a in enumerate(colors)]
    assert min(min(row) for row in apart[1:]) > 15
    assert min(np.linalg.norm(color - lab(paper, eye)) for color in colors) > 30
