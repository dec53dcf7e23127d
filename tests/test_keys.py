"""The keys that are listed, and those that a run logs, are the same."""

from pathlib import Path

import pytest

from lightning_physim import keys
from lightning_physim.key_types import FIELDS
from lightning_physim.keys import Key

DOCS = Path(__file__).parents[1] / "docs"


def test_the_page_of_keys_is_made_from_the_keys():
    assert (DOCS / "keys.md").read_text().endswith(keys.markdown_table())


@pytest.mark.parametrize("key", keys.KEYS)
def test_a_key_reads_back_what_it_was_filled_with(key: Key):
    field = next((name for name in FIELDS if f"{{{name}}}" in key), None)
    value = {"head": "L0H12", "region": "blocks.0.mlp", "k": "20"}.get(field or "", "")
    filled = key.of(**({field: value} if field else {}))
    assert key.match(filled) == (value or filled)
    assert keys.find(filled) is key, "no other row takes it"
    assert key.match("x" + filled) is None and key.match(filled + "x") is None or field == "region"


def test_names_of_heads_are_read_back_and_other_regions_are_none():
    assert keys.head_place(keys.head_name(2, 13)) == (2, 13)
    assert keys.is_head("L0H0") and not keys.is_head("model") and not keys.is_head("L0H0.weight")


def test_every_chart_belongs_to_a_section_and_no_key_is_drawn_twice_in_one():
    names = {section.name for section in keys.SECTIONS}
    assert len(names) == len(keys.SECTIONS)
    for key in keys.KEYS:
        assert {chart.section for chart in key.charts} <= names
    titles = [chart.title for section in keys.SECTIONS for chart, _ in section.charts()]
    assert len(titles) == len(set(titles))
