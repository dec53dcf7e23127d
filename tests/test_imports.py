"""Imports point one way."""

import ast
import re
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "lightning_physim"
# Parsed when tests are collected: late in a long process CPython 3.11 can fail to (gh-106905).
TREES = {path: ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}
PAGE = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text()
LAYERS = [set(re.findall(r"`(\w+)`", rooms)) for rooms in re.findall(r"^\| \d+ \| ([^|]*) \|", PAGE, re.M)]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def modules() -> list[tuple[str, Path]]:
    """Every module below the package's own two front doors, with the layer it belongs to."""
    files = [path for path in PACKAGE.rglob("*.py") if path.name not in ("__main__.py",)]
    return [
        (path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path)
        for path in files
        if path.relative_to(PACKAGE) != Path("__init__.py")
    ]


def test_every_module_has_a_layer_and_imports_only_from_below():
    assert len(modules()) > 20
    for layer, path in modules():
        for name in imports(path):
            if name.startswith("lightning_physim."):
                other = name.split(".")[1]
                assert other == layer or LEVEL[other] < LEVEL[layer], f"{path.name} imports {name}"


def test_layers_keep_to_their_packages():
    for layer, path in modules():
        roots = {name.split(".")[0] for name in imports(path)}
        assert "lightning" not in roots, path
        if layer in ("physics", "probes", "inside", "llc", "emergence", "model"):
            assert not roots & {"pytorch_lightning", "wandb"}, path
        if layer not in ("tracking", "sweeps"):
            assert "wandb" not in roots, path
        if layer == "physics":
            assert "torch" not in roots, path
