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
from tests.helpers.plain import Diary, Plain, data, everything, train

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
        assert told.keys() == {name for name in keys.GEOMETRY if "error" not in name}  # nothing is sampled
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
    Geometry().setup(None, Plain(), "test")  # only a fit needs any of it
    assert Geometry(n_states=2).n_states == 2
    for options, words in (({"n_states": 1}, "n_states"), ({"every": 0}, "every"), ({"steps_per_decade": 0}, "steps")):
        with pytest.raises(InputError, match=words):
            Geometry(**options)
