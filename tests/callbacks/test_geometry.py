"""The callback: when it measures, that training does not notice, and that it finds what its functions find."""

import csv
import json

import pytest
import torch
from pytorch_lightning.loggers import CSVLogger

from lightning_physim import keys
from lightning_physim.callbacks import Geometry
from lightning_physim.errors import InputError
from lightning_physim.llc import gauss_newton_spectra
from tests.helpers.fits import TINY, only_run, physim, rows, without
from tests.helpers.plain import Diary, data, everything, train

REGIONS = {"model": None, "first": {"net.0.weight": None, "net.0.bias": None}}


def residual_fn(module, batch):
    return module(batch[0]) - batch[1]


def make(**kwargs) -> Geometry:
    return Geometry(**({"residual_fn": residual_fn, "data": data(), "regions": REGIONS} | kwargs))


def test_training_is_bit_identical_with_and_without_it(tmp_path):
    diary, other = Diary(), Diary()
    expected = everything(*train([diary], tmp_path))
    got = everything(*train([make(steps_per_decade=10), other], tmp_path))
    assert got.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(got[name], tensor), name
    assert other.pages == diary.pages


def test_it_measures_on_its_schedule_and_the_whole_less_often(tmp_path):
    geometry = make(steps_per_decade=4, every=2)
    _, module = train([geometry], tmp_path, logger=CSVLogger(tmp_path, name="", version=""), steps=12)
    # 10 ** (i / 4): 1, 2, 3, 6, 10; in full every second one, before training and at the end.
    assert {step: list(found) for step, found in geometry.results.items()} == {
        0: ["model", "first"], 1: ["model", "first"], 2: ["first"], 3: ["model", "first"], 6: ["first"],
        10: ["model", "first"], 12: ["model", "first"],
    }  # fmt: skip
    assert geometry.results[2]["first"].half is None and geometry.results[3]["first"].half is not None
    with (tmp_path / "metrics.csv").open() as file:
        logged = {int(row["step"]): row for row in csv.DictReader(file)}
    expected = gauss_newton_spectra(module, residual_fn, data(), REGIONS)
    for region, spectrum in expected.items():
        told = spectrum.metrics()
        assert told.keys() == keys.GEOMETRY.keys()
        for quantity, value in told.items():
            assert float(logged[12][f"geometry/{region}/{quantity}"]) == pytest.approx(value, rel=1e-4, abs=1e-6)
    assert logged[2]["geometry/first/trace"] and not logged[2]["geometry/model/trace"]
    assert not logged[2]["geometry/first/doubling/c1"] and float(logged[12]["time/geometry"]) > 0


def test_it_goes_on_where_it_was_after_a_resume(tmp_path):
    geometry = make()
    train([geometry], tmp_path, steps=5)
    resumed = make()
    resumed.load_state_dict(json.loads(json.dumps(geometry.state_dict())))
    assert resumed.seconds == geometry.seconds > 0 and resumed.last_step == 5


def test_where_nothing_is_to_be_found_it_says_what_to_give(tmp_path):
    with pytest.raises(InputError, match=r"Geometry needs a module with estimation_residuals\(batch\).*residual_fn"):
        train([make(residual_fn=None)], tmp_path)
    with pytest.raises(InputError, match=r"Geometry needs a data module with estimation_set\(n\).*give data="):
        train([make(data=None)], tmp_path)
    for options, words in (({"n_states": 1}, "n_states"), ({"every": 0}, "every"), ({"steps_per_decade": 0}, "steps")):
        with pytest.raises(InputError, match=words):
            Geometry(**options)


def test_a_fit_has_the_geometry_of_its_model_and_heads(tmp_path):
    (tmp_path / "tiny.yaml").write_text(json.dumps(without("llc", "snapshots") | {"geometry": {"n_states": 8}}))
    physim("fit", "--config", "tiny.yaml", "--trainer.max_steps=10", cwd=tmp_path)
    last = {key: value for row in rows(only_run(tmp_path)) if row["step"] == 10 for key, value in row.items()}
    for region in ("model", "L0H0", "L0H1", "L1H0", "L1H1"):
        assert last[f"geometry/{region}/n_states"] == 8
        counted = [last[f"geometry/{region}/d_eff/{c}"] for c in ("c10", "c1", "c0p1")]
        assert 0 < counted[0] < counted[1] < counted[2]
        assert last[f"geometry/{region}/trace"] >= 10 * counted[0]  # h / (h + c) is at most h / c
    assert "In how many directions the loss is curved" in (only_run(tmp_path) / "report.html").read_text()
    assert TINY["model"]["n_heads"] == 2
