"""What parameters of a sweep can be: W&B's distributions against scipy's, and what is refused."""

from datetime import date

import numpy as np
import pytest
import scipy.stats

from lightning_physim.errors import InputError
from lightning_physim.sweeps.parameters import DISTRIBUTIONS, Parameter, read_parameters

# W&B's words for each distribution: a function of X, and the law that it follows.
SPELLED = [
    ({"distribution": "uniform", "min": -1, "max": 3}, lambda x: x, scipy.stats.uniform(-1, 4)),
    ({"distribution": "log_uniform", "min": -7, "max": 1}, np.log, scipy.stats.uniform(-7, 8)),
    ({"distribution": "log_uniform_values", "min": 1.0e-4, "max": 1}, np.log10, scipy.stats.uniform(-4, 4)),
    ({"distribution": "inv_log_uniform", "min": -1, "max": 7}, lambda x: np.log(1 / x), scipy.stats.uniform(-1, 8)),
    ({"distribution": "inv_log_uniform_values", "min": 0.01, "max": 10}, lambda x: np.log10(1 / x),
     scipy.stats.uniform(-1, 3)),
    ({"distribution": "normal"}, lambda x: x, scipy.stats.norm()),
    ({"distribution": "normal", "mu": 3, "sigma": 0.5}, lambda x: (x - 3) / 0.5, scipy.stats.norm()),
    ({"distribution": "log_normal", "mu": -2, "sigma": 0.5}, np.log, scipy.stats.norm(-2, 0.5)),
    ({"distribution": "beta", "a": 2, "b": 1}, np.square, scipy.stats.uniform()),  # its CDF is the square of X
]  # fmt: skip


def parameter(**given) -> Parameter:
    (found,) = read_parameters({"x": given})
    return found


def draws(found: Parameter, count: int = 1500) -> list:
    generator = np.random.default_rng(0)
    return [found.draw(generator) for _ in range(count)]


@pytest.mark.parametrize("given, function, law", SPELLED, ids=lambda x: x["distribution"] if type(x) is dict else "")
def test_draws_follow_wandbs_words_and_shares_go_back(given, function, law):
    found = parameter(**given)
    drawn = draws(found)
    assert {type(x) for x in drawn} == {float}
    assert scipy.stats.kstest(function(np.array(drawn)), law.cdf).pvalue > 0.01
    shares = np.linspace(0.01, 0.99, 9)
    assert [found.share(found.at(share)) for share in shares] == pytest.approx(shares)
    if "max" in given and "values" in given["distribution"]:
        assert (found.at(0.0), found.at(1.0)) == (given["min"], given["max"])


@pytest.mark.parametrize("kind", [kind for kind in DISTRIBUTIONS if kind.startswith("q_")])
def test_quantised_draws_are_the_rounded_ones(kind):
    given = next(given for given, *_ in SPELLED if given["distribution"] == kind.removeprefix("q_"))
    plain, rounded = draws(parameter(**given), 200), draws(parameter(**given | {"distribution": kind, "q": 0.1}), 200)
    assert rounded == pytest.approx([np.round(x / 0.1) * 0.1 for x in plain])
    assert all(len(str(x).partition(".")[2]) == 1 for x in rounded)  # not 0.30000000000000004
    default = draws(parameter(**given | {"distribution": kind}), 20)
    assert default == [round(x) for x in plain[:20]] and {type(x) for x in default} == {float}
    assert {type(x) for x in draws(parameter(**given | {"distribution": kind, "q": 1}), 20)} == {int}  # as by W&B


@pytest.mark.parametrize(
    "given, values, weights",
    [
        ({"min": 2, "max": 5}, [2, 3, 4, 5], [1, 1, 1, 1]),
        ({"values": [None, True, "a"]}, [None, True, "a"], [1, 1, 1]),
        ({"values": [1, True, 0.5], "probabilities": [0.1, 0.6, 0.3]}, [1, True, 0.5], [0.1, 0.6, 0.3]),
        ({"values": ["a", "b"], "probabilities": [0, 1]}, ["b"], [1]),
        ({"distribution": "constant", "value": [1, 2]}, [[1, 2]], [1]),
    ],
)
def test_choices_have_their_weights(given, values, weights):
    found = parameter(**given)
    drawn = draws(found)
    counts = [sum(type(x) is type(y) and x == y for x in drawn) for y in values]
    assert sum(counts) == len(drawn)
    expected = np.array(weights) / np.sum(weights) * len(drawn)
    assert len(values) == 1 or scipy.stats.chisquare(counts, expected).pvalue > 0.01
    assert [found.index(value) for value in found.grid()] == list(range(len(found.values)))
    assert found.at(1.0) == values[-1] and found.varies == (len(given.get("values", "ab")) > 1 and "value" not in given)


@pytest.mark.parametrize(
    "given, words",
    [
        ({"min": 1.0, "max": 1.0}, "must have min < max; got min 1.0 and max 1.0"),
        ({"min": 1.0, "max": float("inf")}, "max of x must be a number; got inf"),
        ({"min": 0.0, "max": True}, "max of x must be a number; got True"),
        ({"min": "1e-3", "max": 1.0}, "YAML reads 1.0e-3 as a number"),
        ({"distribution": "log_uniform_values", "min": 0, "max": 1}, "must have 0 < min < max"),
        ({"distribution": "log_uniform", "min": 1.0e3, "max": 1.0e6}, "log_uniform must draw finite numbers for x"),
        ({"distribution": "log_normal", "mu": 1.0e6}, "log_normal must draw finite numbers for x"),
        ({"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0}, "q of x must be a positive number; got 0"),
        ({"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": True}, "q of x must be a number; got True"),
        ({"distribution": "normal", "sigma": 0}, "sigma of x must be a positive number; got 0"),
        ({"distribution": "normal", "min": 0}, "normal needs no key, and can have mu and sigma, for x; got min"),
        ({"distribution": "int_uniform", "min": 0, "max": 1.5}, "must be integers with min < max; got 0 and 1.5"),
        ({"min": 0, "max": 10**19}, "x must have a range below 9,223,372,036,854,775,807; got min 0 and max 1000000"),
        ({"distribution": "gamma"}, "the distribution of x must be constant, categorical, "),
        ({"values": [2, date(2026, 1, 1)]}, "x must be text, finite numbers, true, false, null, or lists and mappings "
         "of them; got '2026-01-01': put it in quotes, or remove it"),
        ({"values": [float("nan"), 2]}, "got 'nan': put it in quotes"),
        ({"value": {"a": [float("inf")]}}, "got \"{'a': [inf]}\": put it in quotes"),
        ({"value": "a\0b"}, "got 'a\\x00b': put it in quotes, or remove it"),
        ({"value": "\ud800"}, "got '\\ud800': put it in quotes, or remove it"),
        ({"values": []}, "values of x must be a list"),
        ({"values": [1], "valeu": 2}, "categorical needs values for x; got valeu, values"),
        ({"value": 1, "values": [1]}, "categorical needs values for x; got value, values"),
        ({"values": [1, 2], "probabilities": [1]}, "probabilities of x must be as many as its 2 values"),
        ({"values": [1, 2], "probabilities": [0.5, 0.6]}, "must add up to 1, none below 0"),
        ({"values": [1, 2], "probabilities": [1.5, -0.5]}, "must add up to 1, none below 0"),
    ],
)  # fmt: skip
def test_a_parameter_that_is_none_is_refused(given, words):
    with pytest.raises(InputError) as refused:
        parameter(**given)
    assert words in str(refused.value)


def test_a_name_that_no_command_can_hold_is_refused():
    with pytest.raises(InputError, match="the name of a parameter must be text, .*; got 'a.x00b': put it in quotes"):
        list(read_parameters({"a\0b": {"value": 1}}))


def test_a_grid_has_every_value_and_a_range_of_numbers_none():
    assert list(parameter(min=1, max=3).grid()) == [1, 2, 3]
    with pytest.raises(InputError, match="a grid needs values, or min and max that are integers; got a range for x"):
        parameter(min=0.5, max=1.0).grid()
