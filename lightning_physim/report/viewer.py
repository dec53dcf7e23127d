"""The viewer: what a head looks at and the network beside the truth, at the training step of one scrubber."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from lightning_physim import keys
from lightning_physim.curves import COLLISION_HEAD, Curve, Metrics, head_curves
from lightning_physim.report.page import asset, caption_html, rendered
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
    shown = rendered(
        "viewer.html",
        heads=[(head["name"], head["color"], key_svg(*head_style(head["name"]))) for head in data["heads"]],
        states=_numbered("state", len(scene["states"])) if "attention" in data else [],
        paths=_numbered("trajectory", data["paths"]) if "rollout" in data else [],
    )
    text = json.dumps(data, separators=(",", ":")).replace("</", "<\\/")
    return (
        f"<style>{asset('viewer.css')}</style>"
        f"{shown}{caption_html(caption, more)}"
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


def _numbered(what: str, n: int) -> list[tuple[int, str]]:
    return [(i, f"{what} {i + 1} of {n}") for i in range(n)]
