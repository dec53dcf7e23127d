"""What is seen inside the heads, as a figure and as a table."""

import numpy as np

from lightning_physim.inside import Circuit, Intervention, Patching, Views
from lightning_physim.report import inside_figure
from lightning_physim.report.inside_table import inside_notes, inside_table


def views(**left_out: None) -> Views:
    """One layer of two heads; the scores of the second one are high in a single cell."""
    maps = np.zeros((1, 2, 3, 4))
    maps[0, 1, 2, 1] = 5.0
    circuit = Circuit(
        np.linspace(1, 4, 4), np.linspace(-2, 2, 5), np.full((3, 4), 7.0), maps, np.array([[0.0, 2.5]]),
        np.array([[np.nan, 0.5]]), np.array([[np.nan, 0.75]]),
    )  # fmt: skip
    numbers = {
        name: np.array([[0.125 * i, 0.25 * i]]) for i, name in enumerate((*Patching._fields, *Intervention._fields))
    }
    patching = Patching(*(numbers[name] for name in Patching._fields))
    patching = patching._replace(whole=np.array(0.75), whole_error=np.array(0.0625), cases=np.array(42))
    seen = Views(circuit, patching, Intervention(*(numbers[name] for name in Intervention._fields)))
    return seen._replace(**left_out)


def test_a_map_has_distance_across_and_approach_upwards_and_bars_are_two_errors():
    seen = views()
    figure = inside_figure(seen, ["L0H1"])
    (drawn,) = (trace for trace in figure.data if trace.type == "heatmap")
    assert np.argwhere(np.array(drawn.z)).tolist() == [[1, 2]] and drawn.z[1][2] == 2.0  # in units of the spread
    assert drawn.x[2] == 3.5 and drawn.y[1] == -0.5
    bars = {trace.name: trace for trace in figure.data if trace.type == "bar"}
    lost = bars["lost without the head"]
    assert [*lost.x] == ["L0H0", "L0H1"] and [*lost.y] == seen.patching.lost[0].tolist()
    assert [*lost.error_y.array] == (2 * seen.patching.lost_error[0]).tolist()
    assert len(bars) == 4


def test_a_uniform_head_has_no_map_and_what_was_not_seen_no_bars():
    figure = inside_figure(views(patching=None, intervention=None))
    assert [trace.type for trace in figure.data] == ["heatmap", "scatter"]
    titles, rows = inside_table(views(patching=None, intervention=None))
    assert titles == ["head", "spread", "distance", "both"]
    assert rows == [["L0H0", "0.00", "–", "–"], ["L0H1", "2.50", "0.50", "0.75"]]


def test_without_a_partner_there_is_nothing_to_draw():
    seen = views(patching=None, intervention=None)
    assert inside_figure(seen._replace(circuit=seen.circuit._replace(by_both=np.full((1, 2), np.nan)))) is None


def test_the_table_explains_each_of_its_columns():
    titles, rows = inside_table(views())
    assert rows[1][titles.index("restored")] == "0.50±0.75"
    *notes, whole = inside_notes(views())
    assert [note.partition(":")[0] for note in notes] == titles[1:]
    assert "0.75±0.06" in whole and "42 cases" in whole
    narrow, _ = inside_table(views(), narrow=True)
    assert "restored" in titles and "restored" not in narrow
