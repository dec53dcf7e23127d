"""The list of sections of the page of a run."""

import numpy as np

from lightning_physim.keys import SECTIONS
from lightning_physim.report import claims_page, viewer
from lightning_physim.report.comparison_page import OVERLAYS
from lightning_physim.report.sections import CONTENTS, RunContent
from lightning_physim.tracking import JsonlLogger, RunDirectory


def test_every_section_has_its_content_and_no_other_is_drawn():
    assert list(CONTENTS) == [section.name for section in SECTIONS]
    assert {content.folded_into for content in CONTENTS.values()} - {""} <= CONTENTS.keys()


def test_every_caption_says_what_not_to_believe():
    captions = [content.caption for content in CONTENTS.values() if content.caption]
    captions += [
        *claims_page.CLAIM_CAPTIONS.values(),
        viewer.CAPTION,
        *(caption for _, _, caption in OVERLAYS.values()),
    ]
    assert len(captions) > 15
    for caption in captions:
        assert "Do not believe" in " ".join(caption.split())


def test_page_and_loggers_share_one_drawing_of_a_figure(tmp_path):
    run = RunDirectory(tmp_path)
    logger = JsonlLogger(run.metrics)
    for step in np.arange(3):
        logger.log_metrics({"val/loss": 1.0, "probe/enrichment/L0H0": 1.0}, int(step))
    content = RunContent(run)
    assert list(content.figures()) == ["scores", "loss"]
    assert content.figures()["loss"] is content.figure("loss") is content.figures()["loss"]
    assert content.figure("llc") is None
