"""What the site needs beside Markdown: files that lie outside ``docs``, pages made by the package, roles of docstrings.

``mkdocs.yml`` names this file twice, as a hook of MkDocs and as an extension of Griffe.
"""

import os
import re
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from griffe import Alias, Class, Docstring, Extension, Function, Module, NameResolutionError, Object
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
OUTSIDE = ("examples/*.py", "sweeps/*.yaml", "lightning_physim/configs/*.yaml", "CHANGELOG.md", "CONTRIBUTING.md")
COMMANDS = "reference/commands.md"
SAME_AS_FIT = ("validate", "test", "predict")  # their help repeats that of fit


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files outside ``docs`` that pages lead to, and the page of the command line."""
    for pattern in OUTSIDE:
        for path in sorted(ROOT.glob(pattern)):
            files.append(File.generated(config, str(path.relative_to(ROOT)), abs_src_path=str(path)))
    files.append(File.generated(config, COMMANDS, content=commands()))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Let links out of ``docs`` lead to the copies on the site, and links into it from outside to its pages."""
    if page.file.src_uri in ("CHANGELOG.md", "CONTRIBUTING.md"):
        return re.sub(r"\]\(docs/", "](", markdown)
    up = "../" * (page.file.src_uri.count("/") + 1)
    return re.sub(rf"\]\({re.escape(up)}(?!\.\.)", f"]({up.removeprefix('../')}", markdown)


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
