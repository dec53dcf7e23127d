"""What the site needs beside Markdown: files that lie outside ``docs``, pages made by the package, roles of docstrings.

``mkdocs.yml`` names this file twice, as a hook of MkDocs and as an extension of Griffe.
"""

import json
import os
import re
import runpy
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from griffe import Alias, Class, Docstring, Extension, Function, Module, NameResolutionError, Object
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
OUTSIDE = ("examples/*.py", "sweeps/*.yaml", "lightning_physim/configs/*.yaml", "CHANGELOG.md", "CONTRIBUTING.md")
SAME_AS_FIT = ("validate", "test", "predict")  # their help repeats that of fit


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what pages lead to and does not lie in ``docs``: files, notebooks, the command line, the gallery."""
    for pattern in OUTSIDE:
        for path in sorted(ROOT.glob(pattern)):
            files.append(File.generated(config, str(path.relative_to(ROOT)), abs_src_path=str(path)))
    for path in sorted(ROOT.glob("examples/*.ipynb")):
        page = notebook(json.loads(path.read_text()))
        files.append(File.generated(config, str(path.relative_to(ROOT).with_suffix(".md")), content=page))
    files.append(File.generated(config, "reference/commands.md", content=commands()))
    write_gallery = runpy.run_path(str(ROOT / "docs" / "gallery" / "pages.py"))["write_gallery"]
    for path in write_gallery(Path(mkdtemp())):
        files.append(File.generated(config, f"gallery/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Let links out of ``docs`` lead to the copies on the site, and links into it from outside to its pages."""
    if page.file.src_uri in ("CHANGELOG.md", "CONTRIBUTING.md"):
        return re.sub(r"\]\(docs/", "](", markdown)
    up = "../" * (page.file.src_uri.count("/") + 1)
    inside = re.sub(rf"\]\({re.escape(up)}(?!\.\.)", f"]({up.removeprefix('../')}", markdown)
    return re.sub(r"\]\(([\w./-]*)\.ipynb", r"](\1.md", inside)


def notebook(content: dict[str, Any]) -> str:
    """A notebook with its stored outputs as Markdown."""
    page = []
    for cell in content["cells"]:
        source = "".join(cell["source"]).replace("](../docs/", "](../")
        page.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            data = output.get("data", {"text/plain": output.get("text", [])})
            if "image/png" in data:
                page.append(
                    f'<img alt="output of the cell above" src="data:image/png;base64,{data["image/png"].strip()}">'
                )
            elif "text/plain" in data:
                page.append(f"```text\n{''.join(data['text/plain']).rstrip()}\n```")
    return "\n\n".join(page) + "\n"


def commands() -> str:
    """The help of every command, as the package prints it."""
    from lightning_physim.cli.main import COMMANDS, main

    sys.argv[0], os.environ["COLUMNS"] = "physim", "110"
    page = [
        "# Command line\n\nThe help of every command, made by the package when the site is built. "
        f"{', '.join(f'`{name}`' for name in SAME_AS_FIT)} take the options of `fit`.\n"
    ]
    for words in ([], *([name] for name in COMMANDS if name not in SAME_AS_FIT)):
        shown = StringIO()
        with redirect_stdout(shown):
            try:
                main([*words, "--help"])
            except SystemExit:
                pass
        text = re.sub(r"\x1b\[[0-9;]*m", "", shown.getvalue()).strip()
        page.append(f"## `{' '.join(['physim', *words])}`\n\n```text\n{text}\n```\n")
    return "\n".join(page)


class Roles(Extension):
    """Sphinx's roles in docstrings, such as ``:class:`Run```, become links of the site."""

    def on_package(self, *, pkg: Module, **_: Any) -> None:
        self._visit(pkg)

    def _visit(self, thing: Object) -> None:
        if thing.docstring is not None:
            thing.docstring.value = linked(thing.docstring)
        for member in thing.members.values():
            if not isinstance(member, Alias):
                self._visit(member)


def linked(docstring: Docstring) -> str:
    """The text of a docstring with Markdown's links in place of roles."""

    def link(match: re.Match[str]) -> str:
        name = match[1].lstrip("~")
        scope = docstring.parent
        while scope is not None and not isinstance(scope, Class | Function | Module):
            scope = scope.parent
        try:
            target = scope.resolve(name) if scope is not None else name
        except NameResolutionError:
            target = name
        public = target.startswith("lightning_physim.")
        shown = name.rsplit(".", 1)[-1] if match[1].startswith("~") or public else name
        return f"[`{shown}`][{target}]" if public else f"`{shown}`"

    return re.sub(r":(?:class|func|meth|attr|mod|data|exc):`([^`]+)`", link, docstring.value)
