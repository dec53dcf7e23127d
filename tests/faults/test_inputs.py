"""Bad values of every option, made from the options themselves: no traceback, one line, nothing left over."""

import sys
from argparse import Action
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from lightning_physim.cli.arguments import expand
from lightning_physim.cli.train import DryCLI
from tests.helpers.faults import forked, trouble
from tests.helpers.fits import TINY, physim

NUMBERS = ("0", "-1", ".nan", ".inf", "1e300", "1e12", "1e-300", "99999999999999999999")
WORDS = ("text", "", "null", "[1, two]", "{a: 1}", "x" * 300)
ENDLESS = {"trainer.max_steps": ("-1", "1e300", "1e12", "99999999999999999999")}
"""Values that mean a training without an end, which is what they say."""
NOT_TRIED = ("help", "config", "ckpt_path", "print_config")


class Case(NamedTuple):
    option: str
    value: str

    def __str__(self) -> str:
        return f"{self.option}={self.value[:24]}"


class _Parsed(Exception):
    """Carries the parser out of a command that goes no further."""


class _ParserOnly(DryCLI):
    def before_instantiate_classes(self) -> None:
        raise _Parsed(self._parser("fit"))


def options() -> list[str]:
    """Every option of ``physim fit``."""
    arguments = expand(["fit", "--config", "smoke"])
    typed, sys.argv = sys.argv, ["physim", *arguments.words]
    try:
        _ParserOnly(arguments, ExitStack())
    except _Parsed as parsed:
        actions: list[Action] = parsed.args[0]._actions
    finally:
        sys.argv = typed
    names = [action.dest for action in actions if action.option_strings]
    return [name for name in names if name not in NOT_TRIED and not name.endswith(".help")]


def cases() -> list[Case]:
    """Every value for every option."""
    return [
        Case(option, value)
        for option in options()
        for value in (*NUMBERS, *WORDS)
        if value not in ENDLESS.get(option, ())
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "tiny.yaml").write_text(
        yaml.safe_dump(TINY | {"data": TINY["data"] | {"cache_dir": str(folder / "data")}})
    )
    physim("fit", "--config", "tiny.yaml", "--trainer.max_steps=2", cwd=folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("case", cases(), ids=str)
def test_a_bad_value_is_refused_or_taken_in_one_line(folder, case, tmp_path):
    words = ["fit", "--config", str(folder / "tiny.yaml"), "--trainer.max_steps=2", "--llc.sgld.n_draws=6"]
    outcome = forked(*words, f"--{case.option}={case.value}", cwd=tmp_path)
    left = [path for path in tmp_path.glob("**/metrics.jsonl")] + list(tmp_path.glob("runs/*"))
    assert not trouble(outcome, left), outcome.said[-1500:]
