"""What is read of a run's files, and what is left out."""

import numpy as np
import pytest

from lightning_physim.errors import InputError
from lightning_physim.tracking.reading import array_files, last_row, read_arrays, read_metrics, read_rows


def test_curves_are_ordered_by_step_and_the_last_row_of_a_step_counts(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = ['{"step": 3, "a": 1, "b": 5}', '{"step": 1, "a": 2}', '{"step": 3, "b": 6, "a": 7}', '{"step": 3, "a": 8}']
    path.write_text("\n".join(lines) + "\n")
    found = read_metrics(path)
    assert {key: [values.tolist() for values in curve] for key, curve in found.items()} == {
        "a": [[1, 3], [2.0, 8.0]], "b": [[3], [6.0]],
    }  # fmt: skip
    assert found["a"][0].dtype == np.int64 and found["a"][1].dtype == np.float64
    assert list(read_rows(path))[1] == (1, {"a": 2.0})


@pytest.mark.parametrize(
    "row", ["[]", "3", '{"a": 1}', '{"step": 1.0}', '{"step": true}', '{"step": 1, "a": []}', '{"step": 1, "a": "x"}',
            '{"step": 4611686018427387904}', '{"step": -4611686018427387904}', ""],
)  # fmt: skip
def test_a_line_that_is_no_row_is_named_and_at_the_end_is_torn(tmp_path, row):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "a": 1}\n' + row + '\n{"step": 2, "a": 1}\n')
    with pytest.raises(InputError, match="in line 2; remove that line"):
        list(read_rows(path))
    path.write_text('{"step": 1, "a": 1}\n' + row + "\n")
    assert list(read_rows(path)) == [(1, {"a": 1.0})]


def test_the_largest_step_and_strict_nan_are_numbers_and_a_line_without_an_end_is_torn(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 4611686018427387903, "a": "NaN", "b": "-Infinity"}\n{"step": 2, "a": 1}')
    ((step, row),) = read_rows(path)
    assert step == 2**62 - 1 and np.isnan(row["a"]) and row["b"] == -np.inf


def test_arrays_that_cannot_be_read_are_left_out_with_a_line(tmp_path, caplog):
    for step in (20, 3):
        np.savez(tmp_path / f"step-{step:08d}.npz", x=np.arange(step))
    (tmp_path / "step-00000004.npz").write_bytes(b"")
    (tmp_path / "step-00000005.npz").write_bytes((tmp_path / "step-00000020.npz").read_bytes()[:50])
    (tmp_path / "step-last.npz").touch()
    (tmp_path / "other.npz").touch()
    np.savez(tmp_path / "step-1.npz", x=np.arange(1))
    assert [path.name[-6:-4] for path in array_files(tmp_path)] == ["-1", "03", "04", "05", "20"]
    found = read_arrays(tmp_path)
    assert list(found) == [1, 3, 20] and found[20]["x"].tolist() == list(range(20))
    assert len(caplog.messages) == 2 and "step-00000004.npz is left out, it cannot be read" in caplog.text


def test_the_last_row_of_a_step_counts_whatever_the_other_keys_of_its_rows(tmp_path):
    path = tmp_path / "metrics.jsonl"
    # Rows of "b" and "a" begin first and end last: in the order of their keys, the row of "a" alone would win step 3.
    lines = ['{"step": 1, "b": 0, "a": 1}', '{"step": 3, "a": 2}', '{"step": 3, "b": 5, "a": 7}']
    path.write_text("\n".join(lines) + "\n")
    assert [values.tolist() for values in read_metrics(path)["a"]] == [[1, 3], [1.0, 7.0]]


@pytest.mark.parametrize(
    "text, row",
    [
        ("", {}),
        ('{"step": 3, "a": 0.5}\n', {"step": 3, "a": 0.5}),
        ('{"step": 3}\n{"ste', {"step": 3}),
        ("[]\n", {}),
        ('{"step": 1}\n' * 20_000 + '{"step": 2, "a": "NaN"}\n', {"step": 2, "a": float("nan")}),
    ],
)
def test_the_last_row_is_the_last_whole_one(tmp_path, text, row):
    (tmp_path / "metrics.jsonl").write_text(text)
    assert last_row(tmp_path / "metrics.jsonl") == pytest.approx(row, nan_ok=True)
    assert last_row(tmp_path / "none") == {}
