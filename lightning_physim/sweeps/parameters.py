"""What a parameter of a sweep can be: the distributions of W&B's sweep format, each by its percentiles."""

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from lightning_physim.errors import InputError

ELSEWHERE = "or let W&B's server run it: --online"


class Law(NamedTuple):
    """A distribution of W&B's with a density.

    Args:
        make: gives scipy's distribution; its arguments are the keys in the file.
        needed: keys that must be given.
        defaults: keys that need not, with W&B's own defaults.
    """

    make: Callable[..., Any]
    needed: tuple[str, ...] = ("min", "max")
    defaults: Mapping[str, float] = {}


def _log_uniform(min: float, max: float) -> Any:
    return stats.loguniform(math.exp(min), math.exp(max))


# W&B's are of 1/X: -log X between bounds, or X itself between them, where it is log_uniform_values by another name.
def _inv_log_uniform(min: float, max: float) -> Any:
    return stats.loguniform(math.exp(-max), math.exp(-min))


CONTINUOUS = {
    "uniform": Law(lambda min, max: stats.uniform(min, max - min)),
    "log_uniform": Law(_log_uniform),
    "log_uniform_values": Law(lambda min, max: stats.loguniform(min, max)),
    "inv_log_uniform": Law(_inv_log_uniform),
    "inv_log_uniform_values": Law(lambda min, max: stats.loguniform(min, max)),
    "normal": Law(lambda mu, sigma: stats.norm(mu, sigma), (), {"mu": 0.0, "sigma": 1.0}),
    "log_normal": Law(lambda mu, sigma: stats.lognorm(sigma, scale=math.exp(mu)), (), {"mu": 0.0, "sigma": 1.0}),
    "beta": Law(lambda a, b: stats.beta(a, b), (), {"a": 1.0, "b": 1.0}),
}
QUANTISED = {f"q_{name}": law for name, law in CONTINUOUS.items() if not name.startswith("inv")}
"""The same, with draws that are rounded to multiples of ``q``, by default 1."""
CHOICES = {
    "constant": ("value",),
    "categorical": ("values",),
    "categorical_w_probabilities": ("values", "probabilities"),
    "int_uniform": ("min", "max"),
}
"""Distributions over values that can be counted, with the keys that each needs."""
DISTRIBUTIONS = (*CHOICES, *CONTINUOUS, *QUANTISED)


@dataclass(frozen=True)
class Parameter:
    """What one parameter of a sweep can be: one of ``values``, or what ``law`` draws.

    Args:
        name: its keys from the outside in, one unless ``parameters`` are nested.
        values: in their order; empty where there is a law.
        probabilities: of the values; empty where they are alike.
        law: a distribution of scipy's.
        low, high: bounds of what the law draws, inclusive: those of the file, which scipy meets up to rounding.
        quantum: draws are rounded to its multiples, which may lie beyond the bounds; None where they are not.
    """

    name: tuple[str, ...]
    values: Sequence[Any] = ()
    probabilities: tuple[float, ...] = ()
    law: Any = None
    low: float = -math.inf
    high: float = math.inf
    quantum: float | None = None

    @property
    def varies(self) -> bool:
        """Whether there is more than one value."""
        return len(self.values) != 1

    def grid(self) -> Sequence[Any]:
        """Every value, in order."""
        if not self.values:
            raise InputError(
                f"a grid needs values, or min and max that are integers; got a range for {'.'.join(self.name)}: "
                "list values, or type method: random"
            )
        return self.values

    def draw(self, generator: np.random.Generator) -> Any:
        """A random value."""
        return self.at(generator.random())

    def at(self, share: float) -> Any:
        """The value below which this share of all draws lies, from 0 to 1, of Python's own types.

        numpy's would be spelled ``np.float64(0.1)`` in nested parameters.
        """
        if self.values:
            if self.probabilities:
                index = int(np.searchsorted(np.cumsum(self.probabilities), share, side="right"))
            else:
                index = int(share * len(self.values))
            return self.values[min(index, len(self.values) - 1)]
        value = min(max(float(self.law.ppf(share)), self.low), self.high)
        if self.quantum is None:
            return value
        if isinstance(self.quantum, int):
            return round(value / self.quantum) * self.quantum
        # Rounded to the decimals of the quantum: 3 * 0.1 is 0.30000000000000004.
        return round(round(value / self.quantum) * self.quantum, 12)

    def share(self, value: float) -> float:
        """The share of draws below a value, the inverse of :meth:`at`; for parameters with a law."""
        return float(self.law.cdf(value))

    def index(self, value: Any) -> int:
        """Where a value stands among those of the file; ``1``, ``1.0`` and ``true`` are three."""
        if isinstance(self.values, range):
            return self.values.index(value)
        return [json.dumps(each) for each in self.values].index(json.dumps(value))


def read_parameters(section: Any, outer: tuple[str, ...] = ()) -> Iterator[Parameter]:
    """The parameters of a sweep file, in its order.

    Args:
        section: what the file has under ``parameters``.
        outer: keys around it.

    Raises:
        InputError: what W&B would refuse, and a law that draws nothing, or one value only.
    """
    if not isinstance(section, dict) or not section:
        raise InputError(
            f"parameters must be names with what they can be; got {section}: type model.n_heads: {{values: [2, 4]}}"
        )
    for key, given in section.items():
        name = (*outer, str(key))
        if isinstance(given, dict) and "parameters" in given:
            check_known(given, ("parameters",), ".".join(name))
            yield from read_parameters(given["parameters"], name)
        else:
            yield _parameter(name, given)


def check_known(given: Mapping[str, Any], keys: Sequence[str], where: str) -> None:
    """Refuse keys that nothing here reads.

    Raises:
        InputError: there is one.
    """
    unknown = [str(key) for key in given if key not in keys]
    if unknown:
        raise InputError(f"{where} can have {', '.join(keys)}; got {', '.join(unknown)}: remove it, {ELSEWHERE}")


def check_words(label: str, value: Any) -> None:
    """Refuse what ``sweep.jsonl`` or a command cannot hold.

    Raises:
        InputError: a date, a number that is not finite, or text with what no command takes.
    """
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        held = "\0" not in str(value)
    except (TypeError, ValueError):
        held = False
    if not held:
        raise InputError(
            f"{label} must be text, finite numbers, true, false, null, or lists and mappings of them; got "
            f"{str(value)!r}: put it in quotes, or remove it"
        )


def _parameter(name: tuple[str, ...], given: Any) -> Parameter:
    label = ".".join(name)
    check_words("the name of a parameter", label)
    if not isinstance(given, dict):
        raise InputError(f"{label} must have value, values, or min and max; got {given}: type {{value: {given}}}")
    kind = given.get("distribution") or _implied(given)
    if kind not in DISTRIBUTIONS:
        raise InputError(
            f"the distribution of {label} must be {', '.join(DISTRIBUTIONS)}; got {kind}: change it, {ELSEWHERE}"
        )
    law = CONTINUOUS.get(kind) or QUANTISED.get(kind)
    needed = law.needed if law else CHOICES[kind]
    defaults = {**(law.defaults if law else {}), **({"q": 1.0} if kind in QUANTISED else {})}
    got = {key: value for key, value in given.items() if key != "distribution"}
    if not {*needed} <= got.keys() <= {*needed, *defaults}:
        can = f", and can have {' and '.join(defaults)}," if defaults else ""
        raise InputError(
            f"{kind} needs {' and '.join(needed) or 'no key'}{can} for {label}; got {', '.join(sorted(got)) or None}"
        )
    settings = defaults | got
    if law is None:
        return _choice(name, kind, settings)
    for key, value in settings.items():
        _check_number(label, key, value)
    if "min" in settings and not settings["min"] < settings["max"]:
        raise InputError(f"{label} must have min < max; got min {settings['min']} and max {settings['max']}")
    if kind.endswith("_values") and settings["min"] <= 0:
        raise InputError(f"{label} must have 0 < min < max; got min {settings['min']} and max {settings['max']}")
    quantum = settings.pop("q", None)
    try:
        made = law.make(**settings)
        finite = math.isfinite(made.ppf(0.5))
    except OverflowError:
        finite = False
    if not finite:
        raise InputError(
            f"{kind} must draw finite numbers for {label}; got {settings}, which it takes the exponentials of"
        )
    plain = kind.removeprefix("q_") in ("uniform", "log_uniform_values", "inv_log_uniform_values")
    bounds = (settings["min"], settings["max"]) if plain else made.support()
    return Parameter(name, law=made, low=float(bounds[0]), high=float(bounds[1]), quantum=quantum)


def _choice(name: tuple[str, ...], kind: str, settings: Mapping[str, Any]) -> Parameter:
    label = ".".join(name)
    for value in settings["values"] if isinstance(settings.get("values"), list) else [settings.get("value")]:
        check_words(label, value)
    if kind == "constant":
        return Parameter(name, (settings["value"],))
    if kind == "int_uniform":
        low, high = settings["min"], settings["max"]
        if any(type(x) is not int for x in (low, high)) or not low < high:
            raise InputError(f"min and max of {label} must be integers with min < max; got {low!r} and {high!r}")
        if high - low >= sys.maxsize:
            raise InputError(f"{label} must have a range below {sys.maxsize:,}; got min {low} and max {high}")
        return Parameter(name, range(low, high + 1))
    values, probabilities = settings["values"], settings.get("probabilities")
    if not isinstance(values, list) or not values:
        raise InputError(f"values of {label} must be a list; got {values}: type [1, 2]")
    if probabilities is None:
        return Parameter(name, tuple(values))
    if not isinstance(probabilities, list) or len(probabilities) != len(values):
        raise InputError(f"probabilities of {label} must be as many as its {len(values)} values; got {probabilities}")
    for each in probabilities:
        _check_number(label, "probabilities", each)
    if min(probabilities) < 0 or not math.isclose(sum(probabilities), 1.0, abs_tol=1e-6):
        raise InputError(f"probabilities of {label} must add up to 1, none below 0; got {probabilities}")
    return Parameter(name, tuple(values), tuple(map(float, probabilities)))


def _check_number(label: str, key: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(
            f"{key} of {label} must be a number; got {value!r} (YAML reads 1.0e-3 as a number, 1e-3 as text)"
        )
    if key in ("q", "sigma", "a", "b") and not value > 0:
        raise InputError(f"{key} of {label} must be a positive number; got {value}")


def _implied(given: Mapping[str, Any]) -> str:
    """What W&B takes a parameter without a distribution to be."""
    if "values" in given:
        return "categorical_w_probabilities" if "probabilities" in given else "categorical"
    if "value" in given:
        return "constant"
    bounds = (given.get("min"), given.get("max"))
    return "int_uniform" if all(type(x) is int for x in bounds) else "uniform"
