"""``python -m tests.mutation [FOLDER ...]``: change the code at random, one place at a time; do its tests notice?

A mutant turns a comparison round, swaps an arithmetic or boolean operator, drops a ``not``, or moves a constant. It
lives in a copy of the repository, and the default tests of its folder run there until the first that fails. What
survives is printed with its line, to be killed by a test or named as equivalent.
"""

import argparse
import ast
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
from coverage import CoverageData

ROOT = Path(__file__).parents[1]
TESTS = {
    "llc": ["tests/llc"],
    "emergence": ["tests/emergence"],
    "claims": ["tests/claims"],
    "probes": ["tests/probes"],
    "data": ["tests/data"],
    "tracking": ["tests/tracking"],
    "sweeps": ["tests/sweeps", "tests/claims/test_reproduction.py"],
    "callbacks": ["tests/callbacks", "tests/test_fit.py"],
}
"""The tests that are to notice, by folder of the package: its own."""
SWAPS: dict[type, type] = {
    ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.Add: ast.Sub, ast.Sub: ast.Add,
    ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.And: ast.Or,
    ast.Or: ast.And,
}  # fmt: skip


class Mutant(NamedTuple):
    """One change.

    Args:
        path: of the file, below the root.
        line: where.
        what: the change in words.
        source: of the whole file, changed.
    """

    path: Path
    line: int
    what: str
    source: str


def mutants(path: Path) -> Iterator[Mutant]:
    """All changes of a file."""
    text = (ROOT / path).read_text()
    number = 0
    while True:
        tree = ast.parse(text)
        sites = list(_sites(tree))
        if number >= len(sites):
            return
        node, change = sites[number]
        before = ast.unparse(node)
        change()
        yield Mutant(path, node.lineno, f"{before}  ->  {ast.unparse(node)}"[:150], ast.unparse(tree))
        number += 1


def _sites(tree: ast.AST) -> Iterator[tuple[ast.expr, "object"]]:
    """Every place that can be changed, with what changes it."""
    skipped = set()
    for node in ast.walk(tree):  # types say nothing that runs
        for hint in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if hint is not None:
                skipped |= set(ast.walk(hint))
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped |= set(ast.walk(node))
        if isinstance(node, ast.Raise):  # nor do the words of a refusal
            skipped |= set(ast.walk(node))
        if isinstance(node, ast.keyword) and node.arg in ("strict", "frozen"):  # guards that right code never meets
            skipped |= set(ast.walk(node))
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Compare):
            for i, op in enumerate(node.ops):
                if type(op) in SWAPS:
                    yield node, lambda node=node, i=i, op=op: node.ops.__setitem__(i, SWAPS[type(op)]())
        elif isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in SWAPS:
            if not any(isinstance(part, ast.Constant | ast.JoinedStr) and isinstance(getattr(part, "value", ""), str)
                       for part in ast.iter_child_nodes(node)):  # fmt: skip
                yield node, lambda node=node: setattr(node, "op", SWAPS[type(node.op)]())
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield node, lambda node=node: setattr(node, "operand", ast.UnaryOp(ast.Not(), node.operand))
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
            value = node.value
            yield (
                node,
                lambda node=node, value=value: setattr(
                    node, "value", (not value) if isinstance(value, bool) else value + 1 if value else 1
                ),
            )


def run_tests(copy: Path, tests: list[str], seconds: float, *coverage: str) -> bool:
    """Whether tests pass in a copy of the repository, within a time."""
    command = [sys.executable, "-m", *coverage, "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTHONPATH": str(copy)}  # for the commands that tests start, too
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=copy, env=environment, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        return process.wait(seconds) in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    except subprocess.TimeoutExpired:
        return False
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with the processes that its tests have started


class Suite:
    """The tests of a folder, which lines they come by, and how long they take.

    Args:
        copy: of the repository.
        folder: of the package.
    """

    def __init__(self, copy: Path, folder: str) -> None:
        self.copy = copy
        settings, report = copy / "mutation.ini", copy / "mutation.xml"
        settings.write_text(f"[run]\ndynamic_context = test_function\nsource = lightning_physim/{folder}\n")
        self.tests = TESTS[folder]
        coverage = ("coverage", "run", f"--rcfile={settings}", "-m")
        if not run_tests(copy, [*self.tests, f"--junitxml={report}"], 3600.0, *coverage):
            raise SystemExit(f"the tests of {folder} fail without any change")
        self.coverage = CoverageData(str(copy / ".coverage"))
        self.coverage.read()
        self.seconds: Counter[str] = Counter()
        for case in ET.parse(report).iter("testcase"):
            name = f"{case.attrib['classname']}.{case.attrib['name'].split('[')[0]}"
            self.seconds[name] += float(case.attrib["time"])

    def coming_by(self, path: Path, line: int) -> list[str]:
        """The tests that come by a line, ``module.function``, the quickest first."""
        contexts = self.coverage.contexts_by_lineno(str((self.copy / path).resolve())).get(line, [])
        return sorted(set(contexts) & self.seconds.keys(), key=self.seconds.__getitem__)

    def notice(self, path: Path, line: int) -> bool:
        """Whether tests fail, or take far too long; those that come by the changed line first, and then the others."""
        first = self.coming_by(path, line)
        parts = [test.rpartition(".") for test in first]
        names = [f"{module.replace('.', '/')}.py::{function}" for module, _, function in parts]
        if names and not run_tests(self.copy, names, 30.0 + 3 * sum(self.seconds[test] for test in first)):
            return True
        others = [f"--deselect={name}" for name in names]
        return not run_tests(self.copy, [*self.tests, *others], 60.0 + 3 * self.seconds.total())


def judge(folder: str, n: int, seed: int) -> tuple[list[Mutant], int]:
    """Survivors among ``n`` random mutants of a folder, and how many there were."""
    paths = sorted(path.relative_to(ROOT) for path in (ROOT / "lightning_physim" / folder).glob("*.py"))
    every = [mutant for path in paths if path.name != "__init__.py" for mutant in mutants(path)]
    chosen = random.Random(f"{folder} {seed}").sample(every, min(n, len(every)))
    survivors = []
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "copy"
        shutil.copytree(
            ROOT, copy, ignore=shutil.ignore_patterns(".git", ".*_cache", ".venv", "runs", "data.old", "__pycache__")
        )
        suite = Suite(copy, folder)
        for number, mutant in enumerate(chosen, 1):
            original = (copy / mutant.path).read_text()
            (copy / mutant.path).write_text(mutant.source)
            caught = suite.notice(mutant.path, mutant.line)
            (copy / mutant.path).write_text(original)
            if not caught:
                survivors.append(mutant)
            mark = "caught" if caught else "SURVIVED"
            print(f"{folder} {number}/{len(chosen)} {mark} {mutant.path}:{mutant.line}  {mutant.what}", flush=True)
    return survivors, len(chosen)


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.mutation", description=__doc__)
    parser.add_argument("folders", nargs="*", default=list(TESTS), help="of the package (default: %(default)s)")
    parser.add_argument("--n", type=int, default=20, help="mutants of each folder (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="folders at a time (default: %(default)s)")
    given = parser.parse_args()
    with ThreadPoolExecutor(given.jobs) as pool:
        results = list(pool.map(lambda folder: judge(folder, given.n, given.seed), given.folders))
    print("\n| folder | mutants | caught | share |\n|---|---|---|---|")
    for folder, (survivors, n) in zip(given.folders, results, strict=True):
        print(f"| {folder} | {n} | {n - len(survivors)} | {(n - len(survivors)) / n:.0%} |")


if __name__ == "__main__":
    main()
