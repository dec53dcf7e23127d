"""The list of sections of the page of a run."""

import re
from pathlib import Path

import numpy as np

from lightning_physim.keys import SECTIONS
from lightning_physim.report import claims_page, viewer
from lightning_physim.report.comparison_page import OVERLAYS
from lightning_physim.report.sections import CONTENTS, RunContent
from lightning_physim.report.words import WORDS, linked
from lightning_physim.tracking import JsonlLogger, RunDirectory


def test_every_section_has_its_content_and_no_other_is_drawn():
    assert list(CONTENTS) == [section.name for section in SECTIONS]
    assert {content.folded_into for content in CONTENTS.values()} - {""} <= CONTENTS.keys()


CAPTIONS = [
    *(content.caption for content in CONTENTS.values() if content.caption),
    *(caption for caption, _ in claims_page.CLAIM_CAPTIONS.values()),
    viewer.CAPTION,
    *(caption for _, _, caption in OVERLAYS.values()),
]


def test_every_caption_is_two_sentences_of_which_one_says_what_not_to_believe():
    assert len(CAPTIONS) > 15
    for caption in CAPTIONS:
        words = " ".join(re.sub("<.*?>", "", caption).split())
        assert "Do not believe" in words
        assert len(re.findall(r"[.?](?= |$)", words)) == 2, words
        assert len(words) < 260, words


def test_words_are_those_of_the_glossary():
    glossary = (Path(__file__).parents[2] / "docs" / "glossary.md").read_text()
    rows = re.findall(r"^\| (.*?) \| (.*?) \|$", glossary, re.M)
    meanings = {term.strip(): meaning.replace("\\", "") for terms, meaning in rows for term in terms.split(",")}
    for word, meaning in WORDS.items():
        assert meanings[word] == meaning


def test_the_first_mention_of_a_word_leads_to_its_meaning():
    assert linked("<i>Do not</i> a Collision head, two collision heads") == (
        '<i>Do not</i> a <a href="#word-collision-head">Collision head</a>, two collision heads'
    )
    assert linked('<b title="floor">x</b>') == '<b title="floor">x</b>'


def test_page_and_loggers_share_one_drawing_of_a_figure(tmp_path):
    run = RunDirectory(tmp_path)
    logger = JsonlLogger(run.metrics)
    for step in np.arange(3):
        logger.log_metrics({"val/loss": 1.0, "probe/enrichment/L0H0": 1.0}, int(step))
    content = RunContent(run)
    assert list(content.figures()) == ["scores", "loss"]
    assert content.figures()["loss"] is content.figure("loss") is content.figures()["loss"]
    assert content.figure("llc") is None
