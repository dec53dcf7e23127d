"""The viewer: what a head looks at and the network beside the truth, at the training step of one scrubber."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from lightning_physim import keys
from lightning_physim.curves import COLLISION_HEAD, Curve, Metrics, head_curves
from lightning_physim.report.page import asset, caption_html
from lightning_physim.report.style import SVG_DASHES, head_style, key_svg

Snapshots = Mapping[int, Mapping[str, np.ndarray]]
"""Arrays as :class:`lightning_physim.callbacks.Snapshots` records them, by training step."""

MAX_BYTES = 2_500_000
"""Of attention and rollouts in a page; of more, every second snapshot goes until it fits."""
LOST = 65535
"""Of a position that is not finite, or a box's width or more outside of it."""

CAPTION = """Lines in the colour of the head run from the particle that looks to those it looks at. <i>Do not
    believe</i> a head because of one state that suits it: the scores are over a probe set."""
MORE_CAPTION = """<b>Attention:</b> a held-out state in which some particles are about to touch (heavy rings, dotted
    links). Thin lines show where each is bound for in one interval. Lines are wider for more weight, and the dotted
    circle is what counts as near. Point at a particle, tap it, or use the arrow keys to let it look. <b>Rollout:</b>
    a validation trajectory (rings) and the network applied to its own output (discs), an orange line between the
    two. <i>Do not believe</i> that attention shows what a head does: it shows where a head reads from. <i>Do not
    believe</i> that rollouts tell networks apart after a few collisions: the true system is chaotic."""


def viewer_html(
    snapshots: Snapshots, metrics: Metrics | None = None, caption: str = CAPTION, more: str = MORE_CAPTION
) -> str:
    """The content of a section that holds the viewer; one to a page.

    Args:
        snapshots: at least one.
        metrics: for the scores of the heads over the scrubber.
        caption, more: HTML, what is shown and what is folded.
    """
    snapshots = _thinned(snapshots)
    scene = next(iter(snapshots.values()))
    data = _data(snapshots, metrics or {})
    parts = [
        f'<div class="v-controls">{_STEPS}{_heads(data["heads"]) if data["heads"] else ""}</div>',
        '<div class="v-boxes">',
        _ATTENTION.replace("{{states}}", _options("state", len(scene["states"]))) if "attention" in data else "",
        _ROLLOUT.replace("{{paths}}", _options("trajectory", data["paths"])) if "rollout" in data else "",
        "</div>",
    ]
    text = json.dumps(data, separators=(",", ":")).replace("</", "<\\/")
    return (
        f"<style>{asset('viewer.css')}</style>"
        f'<div id="viewer" class="viewer">{"".join(parts)}</div>{caption_html(caption, more)}'
        f'<script type="application/json" id="viewer-data">{text}</script>'
        f"<script>{asset('particles.js')}</script><script>{asset('viewer.js')}</script>"
    )


def _thinned(snapshots: Snapshots) -> Snapshots:
    """Every second snapshot, again and again until they are small enough; the last stays."""
    steps = sorted(snapshots)
    size = sum(snapshots[steps[-1]][name].nbytes for name in ("attention", "rollout") if name in snapshots[steps[-1]])
    while len(steps) > 2 and size * len(steps) > MAX_BYTES:
        steps = sorted(steps[::-2])  # counted from the last
    return {step: snapshots[step] for step in steps}


def _data(snapshots: Snapshots, metrics: Metrics) -> dict[str, Any]:
    """All that ``assets/viewer.js`` draws."""
    scene = next(iter(snapshots.values()))
    curves = head_curves(metrics, keys.ENRICHMENT)
    data: dict[str, Any] = {
        "steps": list(snapshots),
        "n": len(scene["radii"]),
        "box": _rounded(scene["box"]),
        "radii": _rounded(scene["radii"]),
        "interval": float(scene["interval"]),
        "near": float(scene["near"]),
        "states": _rounded(scene["states"]),
        "touching": [[[int(i), int(j)] for i, j in np.argwhere(np.triu(pairs))] for pairs in scene["touching"]],
        "threshold": COLLISION_HEAD,
        "heads": [],
        "best": next(iter(curves), None),
    }
    if "attention" in scene:
        stack = np.stack([arrays["attention"] for arrays in snapshots.values()])
        _, data["layers"], _, n_heads = stack.shape[:4]
        data["attention"] = _base64(stack)
        data["heads"] = [
            _head(layer, head, n_heads, curves) for layer in range(data["layers"]) for head in range(n_heads)
        ]
    if "rollout" in scene:
        stack = np.stack([arrays["rollout"] for arrays in snapshots.values()])
        data["paths"], data["times"] = stack.shape[1:3]
        size = float(np.max(scene["box"]))
        data["low"], data["scale"] = -size, 3 * size / (LOST - 1)
        for name, path in (("rollout", stack), ("truth", scene["truth"])):
            data[name] = _base64(_positions(path, data["low"], data["scale"]))
    return data


def _head(layer: int, index: int, per_layer: int, curves: Mapping[str, Curve]) -> dict[str, Any]:
    name = keys.head_name(layer, index)
    color, dash = head_style(name)
    head: dict[str, Any] = {"name": name, "layer": layer, "index": index, "per_layer": per_layer, "color": color}
    head["dash"] = SVG_DASHES[dash]
    if name in curves:
        steps, values = curves[name]
        head["curve"] = [steps.tolist(), [round(float(v), 3) for v in np.nan_to_num(values)]]
    return head


def _positions(path: np.ndarray, low: float, scale: float) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        units = np.rint((path.astype(np.float64) - low) / scale)
    inside = np.isfinite(units) & (units >= 0) & (units < LOST)
    # A position is lost as a whole.
    return np.where(inside.all(-1, keepdims=True), np.where(inside, units, 0), LOST).astype("<u2")


def _rounded(array: np.ndarray) -> Any:
    return np.round(array.astype(np.float64), 4).tolist()


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def _options(what: str, n: int) -> str:
    return "".join(f'<option value="{i}">{what} {i + 1} of {n}</option>' for i in range(n))


def _heads(heads: list[dict[str, Any]]) -> str:
    labels = "".join(
        f'<label style="--head:var(--{head["color"][1:]}, {head["color"]})">'
        f'<input type="radio" name="head" value="{head["name"]}">'
        f'{key_svg(*head_style(head["name"]))}{head["name"]}<span class="v-score"></span></label>'
        for head in heads
    )
    return f'<fieldset class="v-heads" aria-label="Head">{labels}</fieldset>'


_BUTTON = (
    '<button type="button" data-part="{0}" aria-label="{1}" title="{1}"><svg viewBox="0 0 16 16"><path/></svg></button>'
)
_STEPS = f"""<p class="v-step" data-part="now" aria-live="polite"></p>
<div class="v-time"><canvas data-part="strip" role="img"
aria-label="Attention of every head to near particles, times uniform, over training steps"></canvas>
{_BUTTON.format("play-steps", "Play the training")}
<input type="range" data-part="step" min="0" step="1" aria-label="Training step"></div>"""
_ATTENTION = """<figure class="v-attention"><h3>Attention, just before collisions</h3>
<canvas data-part="attention" tabindex="0" role="img"
aria-label="Particles with lines of attention; arrow keys choose the particle that looks"></canvas>
<div class="v-row"><select data-part="scene" aria-label="Held-out state">{{states}}</select>
<select data-part="from" aria-label="Who looks"><option value="one">from one particle</option>
<option value="all">from all particles</option></select></div>
<p class="v-say" data-part="say" aria-live="polite"></p></figure>"""
_ROLLOUT = f"""<figure><h3>Network (discs) and truth (rings)</h3>
<canvas data-part="rollout" role="img"
aria-label="Particles as the network moves them, and rings where they truly are"></canvas>
<div class="v-row">{_BUTTON.format("play-rollout", "Play the rollout")}
<input type="range" data-part="time" min="0" step="any" aria-label="Time">
<select data-part="path" aria-label="Validation trajectory">{{{{paths}}}}</select></div>
<p class="v-say" data-part="error"></p></figure>"""
