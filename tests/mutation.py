"""``python -m tests.mutation [FOLDER ...]``: change the code at random, one place at a time; do its tests notice?

A mutant turns a comparison round, swaps an arithmetic or boolean operator, drops a ``not``, or moves a constant. It
lives in a copy of the repository, and the default tests of its folder run there until the first that fails. What
survives is printed with its line, to be killed by a test or named as equivalent.
"""

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from coverage import CoverageData

ROOT = Path(__file__).parents[1]
TESTS = {
    "llc": ["tests/llc"],
    "emergence": ["tests/emergence", "tests/test_emergence.py", "tests/claims"],
    "claims": ["tests/claims", "tests/emergence"],
    "probes": ["tests/probes", "tests/callbacks"],
    "data": ["tests/data"],
    "tracking": ["tests/tracking", "tests/report"],
    "sweeps": ["tests/sweeps", "tests/claims"],
    "callbacks": ["tests/callbacks", "tests/test_fit.py"],
}
"""The tests that are to notice, by folder of the package; the quickest to fail first."""
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
    try:
        return subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=seconds).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def tests_by_line(copy: Path, folder: str) -> dict[str, dict[int, set[str]]]:
    """The tests that come by each line of each file of a folder: those are run first."""
    settings = copy / "mutation.ini"
    settings.write_text(f"[run]\ndynamic_context = test_function\nsource = lightning_physim/{folder}\n")
    if not run_tests(copy, TESTS[folder], 3600.0, "coverage", "run", f"--rcfile={settings}", "-m"):
        raise SystemExit(f"the tests of {folder} fail without any change")
    found = CoverageData(str(copy / ".coverage"))
    found.read()
    return {
        str(Path(path).relative_to(copy.resolve())): {
            line: {context for context in contexts if context}
            for line, contexts in found.contexts_by_lineno(path).items()
        }
        for path in found.measured_files()
    }


def is_caught(copy: Path, folder: str, first: set[str], limit: float) -> bool:
    """Whether the tests of a folder fail; those that come by the changed line first, as they are quick to tell."""
    # "tests.llc.test_numbers.test_it" is in "tests/llc/test_numbers.py".
    names = sorted(name.rpartition(".") for name in first if name.startswith("tests."))
    some = [f"{module.replace('.', '/')}.py::{test}" for module, _, test in names]
    if some and not run_tests(copy, some, limit):
        return True
    return not run_tests(copy, TESTS[folder], limit)


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
        begin = time.monotonic()
        tests = tests_by_line(copy, folder)
        limit = 60.0 + 3 * (time.monotonic() - begin)
        for number, mutant in enumerate(chosen, 1):
            original = (copy / mutant.path).read_text()
            (copy / mutant.path).write_text(mutant.source)
            caught = is_caught(copy, folder, tests.get(str(mutant.path), {}).get(mutant.line, set()), limit)
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
