"""What is written can be read: no long sentence, and no result without date, version, machine and command."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RESULTS = [page for page in PAGES if page.parent.name == "results"]
LONGEST = 35  # words; the aim is 25
MEASURED = re.compile(r"> \*\*Measured\*\* (\d+ )?[A-Z][a-z]+ \d{4} · version \d+\.\d+\.\d+[^·]*· [^·]+ · .*`[^`]+`")


def paragraphs(text: str) -> list[str]:
    """The running text of a page, without code, tables, headings and what sections say of their origin."""
    text = re.sub(r"^( *)```.*?^\1```$|<!--.*?-->", "", text, flags=re.M | re.S)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"`[^`]*`", "Code", text))
    blocks = re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", text)
    kept = [[line for line in block.splitlines() if not re.match(r"[|#>]| {4}", line)] for block in blocks]
    return [" ".join(line.strip() for line in lines) for lines in kept if lines]


def sentences(paragraph: str) -> list[str]:
    return re.split(r"(?<=[.!?])[*)”\"]*\s+(?=[*_(“\"]*[A-Z0-9])", paragraph)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_sentence_is_long(page):
    long = [s for p in paragraphs(page.read_text()) for s in sentences(p) if len(s.split()) > LONGEST]
    assert not long, long


@pytest.mark.parametrize("page", RESULTS, ids=lambda page: page.name)
def test_every_result_says_when_with_what_and_by_which_command(page):
    sections = page.read_text().split("\n## ")[1:]
    assert sections
    for section in sections:
        title, _, body = section.partition("\n")
        assert MEASURED.match(body.strip()), title


def test_long_sentences_and_results_of_unknown_origin_are_found():
    long = "This is " + "very " * 34 + "long."
    assert [s for p in paragraphs(f"Short one. {long}\n\n- `code` ends. It is short.") for s in sentences(p)][1] == long
    assert not MEASURED.match("> **Measured** in November · `physim fit`")
    assert not MEASURED.match("> **Measured** 24 November 2026 · version 0.1.0 · one core · by hand")
