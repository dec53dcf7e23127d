"""The house keeps its order: one-way imports, no private names across modules, each key and constant in one place."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from lightning_physim import keys

PACKAGE = Path(__file__).parents[1] / "lightning_physim"
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in FILES}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """``(module, name)`` of everything that a file takes from the package, in functions and for types too."""
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lightning_physim"):
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield (submodule, "") if submodule in MODULES else (node.module or "", alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("lightning_physim"):
                    yield alias.name, ""


def test_no_module_takes_a_private_name_of_another():
    assert len(FILES) > 100
    for path in FILES:
        taken = {name for _, name in imports(path) if name.startswith("_") and not name.startswith("__")}
        modules = {module.rsplit(".", 1)[-1] for module, name in imports(path) if not name}
        for node in ast.walk(TREES[path]):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
                taken |= {node.attr} if re.match("_[a-z]", node.attr) else set()
        assert not taken, f"{path.relative_to(PACKAGE)} takes {taken}"


def test_no_modules_import_each_other_in_a_circle():
    graph = {name: {module for module, _ in imports(path)} & MODULES.keys() for name, path in MODULES.items()}
    done: set[str] = set()

    def walk(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name not in done:
            for other in sorted(graph[name] - {name}):
                walk(other, (*trail, name))
            done.add(name)

    for name in graph:
        walk(name, ())


def strings(tree: ast.Module) -> Iterator[str]:
    """Every string of a file but its docstrings."""
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare:
            yield node.value


def test_no_metric_key_and_no_name_of_a_head_is_spelled_outside_keys():
    families = {key.split("/")[0] for key in (*keys.KEYS, *keys.TABLES)}
    assert families == {"train", "val", "rollout", "probe", "llc", "geometry", "emergence", "time", "report"}
    spelled = re.compile(rf"\W*({'|'.join(families)})/|L\\d\+?H\\d|^L$")
    for path, tree in TREES.items():
        if path.name not in ("keys.py", "key_types.py"):
            literals = [text for text in strings(tree) if spelled.search(text) and " " not in text.strip()]
            assert not literals, f"{path.relative_to(PACKAGE)} spells {literals}"


def test_no_constant_has_its_name_in_two_modules():
    places = defaultdict(list)
    for path, tree in TREES.items():
        for node in tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            for target in targets:
                for name in target.elts if isinstance(target, ast.Tuple) else [target]:
                    if isinstance(name, ast.Name) and re.fullmatch(r"[A-Z][A-Z0-9_]+", name.id):
                        places[name.id].append(str(path.relative_to(PACKAGE)))
    twice = {name: paths for name, paths in places.items() if len(paths) > 1}
    assert not twice, twice
