"""The words of the page of a run, as `docs/glossary.md` has them, and links from captions to them."""

import re
from collections.abc import Iterable, Iterator
from html import escape

from lightning_physim.report.page import Part, section

WORDS = {
    "contact diameter": "The sum of two radii, the unit of distances between particles. Particles touch at 1.",
    "colliding": "A colliding particle has a contact with another particle in the interval. All others are free.",
    "free flight": "Motion under gravity alone, without contacts. Keys call it `ballistic`.",
    "floor": "The loss of an exact predictor that knows less than the data: `ballistic` knows no contacts, `no_pair` "
    "no neighbours.",
    "probe set": "Fixed held-out states on which all heads are scored.",
    "partner score": "Attention mass on partners, self excluded and the rest renormalised, over queries that have a "
    "partner.",
    "uniform attention": "That of a head which looks at all other particles alike.",
    "enrichment": "Partner score over the value of uniform attention. 1 is chance.",
    "collision head": "A head whose final enrichment is at least 5. Final means the mean of the last three "
    "measurements in the second half of training.",
    "ablation effect": "Rise of the loss on colliding particles when the head's near keys are dropped and the rest "
    "renormalised.",
    "growth law": "A form in which a score approaches its plateau: power law, exponential, stretched exponential, "
    "logistic, broken power law.",
    "forecast": "The score to expect at a later step, by a damped trend in the logarithm of the step.",
    "phase portrait": "Velocity against the score itself: where one coordinate rolls down a potential, a single line.",
    "learning coefficient": "Local learning coefficient λ of a region of the weights at w*, estimated by SGLD.",
    "order": "Of a basin: p = 2 equipartition / LLC. 2 is a regular basin, 4 a quartic one.",
    "occupancy": "Mean of `f = h/(h + c)` weighted by f. At 1 `d_eff` counts directions, at 0 it is the trace over c.",
}
"""Terms and what they stand for."""
_TERMS = re.compile(rf"\b({'|'.join(map(re.escape, WORDS))})s?\b(?![^<]*>)", re.IGNORECASE)


def linked(html: str) -> str:
    """A caption in which the first mention of each word leads to :func:`words_html`."""
    seen: set[str] = set()

    def link(found: "re.Match[str]") -> str:
        word = found[1].lower()
        if word in seen:
            return found[0]
        seen.add(word)
        return f'<a href="#{_anchor(word)}">{found[0]}</a>'

    return _TERMS.sub(link, html)


def with_words(parts: Iterable[Part]) -> Iterator[Part]:
    """The sections of a page, and one more with the words that their links lead to."""
    shown = ""
    for part in parts:
        shown += part.content
        yield part
    if words := words_html(shown):
        yield section("Words", words)


def words_html(page: str) -> str:
    """The words that links of a page lead to, with their meanings; empty where there are none."""
    words = [word for word in sorted(WORDS) if f'href="#{_anchor(word)}"' in page]
    rows = (f'<dt id="{_anchor(word)}">{escape(word)}</dt><dd>{_code(WORDS[word])}</dd>' for word in words)
    return f'<dl class="words">{"".join(rows)}</dl>' if words else ""


def _anchor(word: str) -> str:
    return "word-" + word.replace(" ", "-")


def _code(text: str) -> str:
    return re.sub("`(.*?)`", r"<code>\1</code>", escape(text))
