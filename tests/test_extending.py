"""The recipes of docs/extending.md: applied to a copy of the package, in as few files as they promise, and checked."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RECIPES = (ROOT / "docs" / "extending.md").read_text().split("\n## ")[1:]


def block(language: str, recipe: str) -> str:
    (code,) = re.findall(rf"^```{language}\n(.*?)\n```$", recipe, re.M | re.S)
    return code + "\n"


def test_the_recipes_are_these():
    kinds = [recipe.split(",")[0] for recipe in RECIPES]
    assert kinds == [
        "A probe score", "A network", "A growth law", "A contact law", "A section of the report", "A logger",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=[recipe.split(",")[0] for recipe in RECIPES])
def test_a_recipe_works_and_touches_no_more_files_than_it_promises(recipe, tmp_path):
    change = block("diff", recipe)
    touched = re.findall(r"^\+\+\+ b/(\S+)$", change, re.M)
    assert len(touched) == int(re.search(r"in (\d) files?$", recipe.splitlines()[0])[1])
    # With their dates, by which numba knows the machine code that is still good.
    shutil.copytree(ROOT / "lightning_physim", tmp_path / "lightning_physim")
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=change, text=True, check=True)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "PL_", "PHYSIM"))}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", block("python", recipe)],
        cwd=tmp_path,
        env=clean | {"PYTHONPATH": str(tmp_path), "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
