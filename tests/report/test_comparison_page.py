"""Pages of several runs, and the headline of one recomputed from its file by other means."""

import json
import math
import re

import numpy as np
import pytest

from lightning_physim.cli.main import main
from lightning_physim.report import runs_headline, write_comparison, write_runs
from lightning_physim.report.comparison_figures import Line, metric_figure, overlay_figure
from lightning_physim.report.loss_scales import on_one_scale
from lightning_physim.report.style import HUES
from lightning_physim.report.summary import headline
from lightning_physim.tracking import JsonlLogger, RunDirectory, read_metrics


def write_run(folder, seed=0, lr=0.1, score=6.0, loss=0.5, name=None):
    run = RunDirectory(folder / (name or f"run-{seed}-{lr:g}"))
    logger = JsonlLogger(run.metrics)
    for step, share in ((0, 0.0), (10, 0.4), (90, 1.0), (95, 1.0), (100, 1.0)):
        row = {"probe/enrichment/L0H0": 1 + (score - 1) * share, "probe/enrichment/L0H1": 1.0}
        row |= {"probe/best_enrichment": 1 + (score - 1) * share}
        if step:
            row |= {"val/loss": loss / share, "val/loss_colliding": loss / share, "val/floor_ballistic_colliding": 4.0}
        logger.log_metrics(row, step)
    run.config.write_text(
        f"seed_everything: {seed}\nmodel: {{lr: {lr}, d_model: 8}}\nrunslike: 1\ntrainer: {{max_steps: 100}}\n"
        f"data: {{cache_dir: /somewhere/{seed}}}\n"
    )
    return run


def cells(page):
    table = re.search(r"<table>(.*?)</table>", page, re.S)[1]
    rows = [re.findall(r"<t[hd]>(.*?)</t[hd]>", row, re.S) for row in re.findall(r"<tr>(.*?)</tr>", table, re.S)]
    return [[re.sub("<.*?>", "", cell) for cell in row] for row in rows]


def test_the_headline_can_be_recomputed_from_the_file(tmp_path):
    """By a reading of ``metrics.jsonl`` that shares no code with ours."""
    run = RunDirectory(tmp_path / "run")
    logger, rng = JsonlLogger(run.metrics), np.random.default_rng(0)
    for step in (0, 1, 3, 10, 30, 100, 300, 1000, 3000):
        rise = step / (step + 30)
        row = {f"probe/enrichment/L0H{i}": 1 + (3 * i) * rise + 0.1 * rng.normal() for i in range(4)}
        row |= {"val/loss_colliding": 5 - 4 * rise, "val/floor_ballistic_colliding": 5.5}
        logger.log_metrics(row, step)

    rows = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    heads = {key.split("/")[-1] for row in rows for key in row if key.startswith("probe/enrichment/")}
    final = {head: rows[-1][f"probe/enrichment/{head}"] for head in heads}
    strong = [head for head in heads if np.mean([row[f"probe/enrichment/{head}"] for row in rows[-3:]]) >= 5]
    since = min(row["step"] for row in rows for head in strong if row[f"probe/enrichment/{head}"] >= 5)
    best = max(final, key=final.get)
    share = 100 * rows[-1]["val/loss_colliding"] / rows[-1]["val/floor_ballistic_colliding"]
    numbers = [len(strong), len(heads), 5, since, int(best[1]), int(best[3]), round(final[best], 1), round(share)]
    assert len(strong) == 2
    said = headline(read_metrics(run.metrics))
    assert [float(x) for x in re.findall(r"[\d.]*\d", said)] == pytest.approx(numbers)


def test_runs_that_differ_by_seed_alone(tmp_path, capsys):
    runs = [write_run(tmp_path / "runs", seed, score=score) for seed, score in ((3, 6.0), (4, 9.0), (5, 2.0))]
    names = [run.path.name for run in runs]
    assert main(["report", *names, "--runs", str(tmp_path / "runs")]) == 0
    assert f"comparison: {tmp_path}/runs/comparison.html" in capsys.readouterr().out
    page = (tmp_path / "runs" / "comparison.html").read_text()
    assert "<h1>Do 3 seeds of one configuration agree?" in page and 'id="metric"' not in page
    header, *rows = cells(page)
    assert header == ["run", "loss", "loss, colliding", "best head, × uniform", "collision heads", "first step of 3×"]
    assert rows[1] == ["seed 4", "0.5", "0.5", "9", "1 of 2", "10"]
    assert rows[2] == ["seed 5", "0.5", "0.5", "2", "0 of 2", "–"]
    assert f'href="{names[0]}/report.html"' in page
    assert "emerged in 2 of 3 runs." in page
    tile = "<dt>uniform attention, by the best head of each run (median 6.0)</dt><dd>2.0 to 9.0 ×</dd>"
    assert tile in page


def test_runs_that_differ_otherwise_go_where_they_are_told(tmp_path):
    runs = [write_run(tmp_path, seed, lr) for lr in (0.1, 0.4) for seed in (0, 1)]
    output = tmp_path / "pages" / "lr.html"
    assert main(["report", *(str(run.path) for run in runs), "--output", str(output)]) == 0
    page = output.read_text()
    assert "they differ in seed_everything, lr" in page and 'id="metric"' in page
    assert 'id="onset"' not in page  # of all at one step
    later = write_run(tmp_path, 7, 0.8, score=4.0)  # passes 3 at step 90, the others at step 10
    assert main(["report", str(runs[0].path), str(runs[1].path), str(later.path), "--output", str(output)]) == 0
    assert 'id="onset"' in output.read_text()
    assert cells(page)[0][:3] == ["run", "seed_everything", "model.lr"]
    assert f'href="../{runs[0].path.name}/report.html"' in page


def test_a_configuration_that_cannot_be_read_is_named(tmp_path, capsys):
    runs = [write_run(tmp_path, seed) for seed in (0, 1)]
    for content in ("model: {", "[1, 2]"):
        runs[1].config.write_text(content)
        assert main(["report", *(str(run.path) for run in runs), f"--output={tmp_path / 'out.html'}"]) == 2
        assert str(runs[1].config) in capsys.readouterr().err
    assert main(["report", str(runs[0].path), f"--output={tmp_path}"]) == 2
    assert f"what is written goes to a file; got the folder {tmp_path}" in capsys.readouterr().err


def test_what_is_measured_makes_no_other_run_and_few_runs_that_differ_in_much_stand_beside_each_other(tmp_path):
    runs = [write_run(tmp_path, seed) for seed in (0, 1)]
    with runs[1].config.open("a") as file:
        file.write("wandb: false\nllc: {enabled: false}\nprobe: {enabled: true}\n")
    output = tmp_path / "out.html"
    assert "Do 2 seeds of one configuration agree?" in write_runs(output, runs).read_text()
    with runs[1].config.open("a") as file:
        file.write("a: {b: 1, c: 2, d: 3, e: 4, f: 5}\n")
    page = write_runs(output, runs).read_text()
    assert cells(page)[0] == ["run", "run-0-0.1", "run-1-0.1"] and ["a.c", "None", "2"] in cells(page)


def test_a_sweep_of_what_is_measured_tells_its_parameters(tmp_path):
    runs = {n_beta: write_run(tmp_path, name=f"r{n_beta}") for n_beta in (300, 3000)}
    rows = [
        {"trial": i, "parameters": {"llc.sgld.n_beta": n_beta}, "run_id": run.path.name, "state": "finished",
         "metric": i}
        for i, (n_beta, run) in enumerate(runs.items())
    ]  # fmt: skip
    (tmp_path / "sweep").mkdir()
    page = write_comparison(tmp_path / "sweep", {"metric": {"name": "llc/L0H0/mcse"}}, rows).read_text()
    assert "llc.sgld.n_beta" in cells(page)[0]


def test_a_metric_is_drawn_against_each_parameter_with_a_power_to_compare_with():
    parameters = [{"lr": lr, "optimizer": o} for o in ("adam", "sgd") for lr in (0.001, 0.01, 0.1)]
    lines = [Line(f"run {i}", "", {}, i) for i in range(6)]
    onsets = [1000.0, 100.0, math.nan, math.nan, 4000.0, 400.0]
    figure = metric_figure(lines, parameters, onsets, "first step of 3×", power=-1.0)
    points, adam, sgd, *_ = figure.data
    assert list(points.x) == [0.001, 0.01, 0.1] * 2 and [y for y in points.y if y] == [1000, 100, 4000, 400]
    assert points.marker.symbol == ("circle",) * 3 + ("diamond-open",) * 3
    np.testing.assert_allclose([adam.x, adam.y], [[0.001, 0.01], [1000, 100]])
    np.testing.assert_allclose([sgd.x, sgd.y], [[0.01, 0.1], [4000, 400]])
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "log" and figure.layout.xaxis2.type == "category"
    # Ticks at 1, 2 and 5 are none between 200 and 500.
    assert figure.layout.yaxis.dtick is None and figure.layout.xaxis.tickvals == (0.001, 0.01, 0.1)
    assert [trace.name for trace in figure.data if trace.showlegend is not False] == ["adam", "sgd"]
    plain = metric_figure(lines, [{"lr": point["lr"]} for point in parameters], onsets, "loss")
    assert len(plain.data) == 1 and plain.layout.yaxis.type is None and set(plain.data[0].marker.symbol) == {"circle"}


def test_one_run_goes_where_it_is_told_too(tmp_path, capsys):
    run = write_run(tmp_path)
    assert main(["report", str(run.path), "--output", str(tmp_path / "one.html")]) == 0
    assert capsys.readouterr().out.endswith(f"report: {tmp_path / 'one.html'} (open it in a browser)\n")
    assert "1 of 2 attention heads has learned" in (tmp_path / "one.html").read_text() and not run.report.exists()


def test_medians_are_of_the_runs_of_a_kind_at_the_steps_they_share():
    def line(kind, index, *values):
        steps = np.array([0, 10, 100, 1000][: len(values)])
        return Line(f"{kind}{index}", kind, {"k": (steps, np.array(values, dtype=float))}, index)

    same = [line("a", 0, 1, 2, 3), line("a", 0, 3, 4, 5, 9), line("a", 0, 8, 9, 10)]
    figure = overlay_figure([*same, line("b", 1, 7, 8)], "k", "y")
    drawn = {trace.name: trace for trace in figure.data}
    assert list(drawn["median a"].x) == [5, 10, 100] and list(drawn["median a"].y) == [3, 4, 5]
    assert "median b" not in drawn and drawn["b1"].line.color == HUES[1]
    assert drawn["median a"].line.color == HUES[0]  # which has a shade for dark pages


def test_the_folder_of_a_sweep_is_compared_as_the_sweep_asks(tmp_path, capsys):
    folder = tmp_path / "runs" / "toy-sweep"
    folder.mkdir(parents=True)
    rows = []
    for i, score in enumerate((3.0, 8.0)):
        run = write_run(tmp_path / "runs", lr=i + 1, score=score, name=f"toy-{i}")
        row = {"trial": i, "parameters": {"model.lr": i + 1}, "run_id": run.path.name, "metric": score}
        rows.append(row | {"state": "finished", "exit_code": 0})
    (folder / "sweep.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [rows[0] | {"metric": None}, *rows]))
    write_comparison(folder, {"metric": {"name": "probe/best_enrichment", "goal": "maximize"}}, [])
    assert main(["report", "toy-sweep", "--runs", str(tmp_path / "runs")]) == 0
    page = (folder / "report.html").read_text()
    assert "Trial 1 has the best probe/best_enrichment, 8 of 3 to 8 in 2 trials, with model.lr 2." in page
    assert "<h1>Which lr give the highest probe/best_enrichment?" in page
    (folder / "sweep.yaml").unlink()  # killed before its end: judged by the loss on colliding particles
    assert main(["report", str(folder)]) == 0
    assert "No trial stands out: val/loss_colliding is 0.5 to 0.5 in 2 trials" in (folder / "report.html").read_text()
    # Among other runs its trials are runs like them.
    other = write_run(tmp_path / "runs", seed=9)
    assert main(["report", str(folder), str(other.path), "--output", str(tmp_path / "all.html")]) == 0
    assert len(cells((tmp_path / "all.html").read_text())) == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["run-0-0.1", "run-0-0.1"], "got one twice"), (["run-0-0.1", "empty"], "has metrics.jsonl once")],
)
def test_what_is_refused(tmp_path, capsys, arguments, words):
    write_run(tmp_path)
    (tmp_path / "empty" / "checkpoints").mkdir(parents=True)
    assert main(["report", *arguments, "--runs", str(tmp_path)]) == 2
    error = capsys.readouterr().err.strip()
    assert words in error and "\n" not in error


def test_a_sentence_about_runs_that_have_measured_nothing():
    assert runs_headline([{}, {}]) == "Nothing has been measured yet."


def losses(scale, floor=None):
    steps = np.array([1, 10])
    metrics = {"val/loss_colliding": (steps, scale * np.array([1.0, 0.5]))}
    return metrics | ({"val/floor_ballistic_colliding": (steps, np.full(2, floor))} if floor else {})


def test_losses_of_other_data_are_divided_by_free_flight_or_not_compared():
    (one, other), note = on_one_scale([losses(2.0, 2.0), losses(6.0, 6.0)], ["data.system.interval"])
    assert "over free flight" in note
    assert one["val/loss_colliding"][1].tolist() == other["val/loss_colliding"][1].tolist() == [1.0, 0.5]
    # The same data, and more of them: as they are.
    same = [losses(2.0, 2.0), losses(1.0, 2.02)]
    assert on_one_scale(same, ["data.n_train", "model.lr"]) == (same, "")
    # Whatever the configurations say, floors tell other scales.
    assert "over free flight" in on_one_scale([losses(2.0, 2.0), losses(1.0, 2.4)], [])[1]
    without, note = on_one_scale([losses(2.0, 2.0), losses(6.0)], ["data.system.interval"])
    assert "no losses are compared" in note and all("val/loss_colliding" not in metrics for metrics in without)


def test_two_runs_tell_no_parameters_apart(tmp_path):
    one, other = write_run(tmp_path, lr=0.1), write_run(tmp_path, lr=0.4)
    other.config.write_text(other.config.read_text().replace("d_model: 8", "d_model: 16"))
    assert main(["report", str(one.path), str(other.path), "--output", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "2 parameters differ among 2 runs: their effects cannot be told apart." in page and 'id="metric"' not in page
    assert "<h1>Which lr and d_model make a difference?" in page
