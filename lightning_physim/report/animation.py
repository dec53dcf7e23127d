"""One trajectory as one small HTML file that plays anywhere: no server, no network, no plug-in."""

import base64
import html
import json
from pathlib import Path

import numpy as np

from lightning_physim.errors import InputError
from lightning_physim.report.viewer import asset


def write_animation(
    path: str | Path,
    positions: np.ndarray,
    box: tuple[float, float],
    radii: np.ndarray,
    contacts: np.ndarray,
    interval: float,
    title: str,
    subtitle: str = "",
) -> Path:
    """Writes :func:`animation_html` to ``path``, making its folder if need be.

    Raises:
        InputError: the file cannot be written, or the arrays do not fit together.
    """
    target = Path(path)
    page = animation_html(positions, box, radii, contacts, interval, title, subtitle)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"an animation goes to a file that can be written; got {error.strerror} for {target}: "
            "choose another, e.g. --animate=elsewhere.html"
        ) from error
    return target


def animation_html(
    positions: np.ndarray,
    box: tuple[float, float],
    radii: np.ndarray,
    contacts: np.ndarray,
    interval: float,
    title: str,
    subtitle: str = "",
) -> str:
    """A self-contained page: discs move, light up while they touch, and can be paused, scrubbed and slowed down.

    Args:
        positions: ``[T+1, N, 2]``, in units of length; drawn to 1/65535 of their range.
        box: width and height of the box with its corner at the origin.
        radii: ``[N]``.
        contacts: bool ``[T, N, N]``, which pairs touched during each interval.
        interval: time between two rows of ``positions``.
        title, subtitle: plain text above the picture.

    Raises:
        InputError: the shapes do not fit together, or a position is not finite.
    """
    n_times, n_particles = positions.shape[:2]
    expected = {
        "positions": (n_times, n_particles, 2),
        "radii": (n_particles,),
        "contacts": (n_times - 1, n_particles, n_particles),
    }
    for name, array in {"positions": positions, "radii": radii, "contacts": contacts}.items():
        if np.shape(array) != expected[name]:
            raise InputError(f"{name} must have the shape {expected[name]}; got {np.shape(array)}")
    if not np.isfinite(positions).all():
        raise InputError("positions must be finite; got NaN or infinity")
    low, high = float(min(0.0, positions.min())), float(max(*box, positions.max()))
    steps = np.rint((positions - low) / (high - low) * 65535).astype("<u2")
    data = {
        "n": n_particles,
        "box": [float(side) for side in box],
        "radii": [round(float(radius), 6) for radius in radii],
        "interval": interval,
        "low": low,
        "scale": (high - low) / 65535,
        "positions": base64.b64encode(steps.tobytes()).decode(),
        "touching": [np.flatnonzero(row).tolist() for row in np.any(contacts, axis=-1)],
    }
    page = _PAGE.replace("{{title}}", html.escape(title)).replace("{{subtitle}}", html.escape(subtitle))
    page = page.replace("{{particles}}", asset("particles.js"))
    return page.replace("{{data}}", json.dumps(data, separators=(",", ":")))


# Blue and orange of Okabe and Ito, told apart by every kind of colour vision; a touching disc also gets a ring.
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{title}}</title>
<style>
:root {
  color-scheme: light dark;
  --page: #faf9f6; --ink: #1b1d21; --quiet: #62666e; --rule: #d9d7d0; --floor: #ffffff; --wall: #3c4048;
  --disc: #0072b2; --edge: #00517f; --touch: #e69f00; --ring: #a85f00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14161a; --ink: #eceae4; --quiet: #9a9fa8; --rule: #343840; --floor: #1b1e24; --wall: #8a909b;
    --disc: #56b4e9; --edge: #2f7fae; --touch: #ffb52e; --ring: #ffe0a0;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; min-height: 100vh; padding: clamp(1rem, 3vmin, 2.5rem);
  display: flex; flex-direction: column; align-items: center; justify-content: center;
  background: var(--page); color: var(--ink);
  font: clamp(15px, 0.9vw + 0.35rem, 22px)/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
main { width: min(100%, calc((100vh - 14.5em) * var(--ratio, 1))); min-width: min(100%, 18rem); }
h1 { margin: 0; font-size: 1.4em; font-weight: 650; letter-spacing: -0.012em; line-height: 1.2; text-wrap: balance; }
p { margin: 0.3em 0 0; color: var(--quiet); text-wrap: balance; }
canvas { display: block; width: 100%; margin: 0.9em 0 0.7em; aspect-ratio: var(--ratio, 1); cursor: pointer; }
.controls { display: flex; align-items: center; gap: 0.7em; }
button, select {
  font: inherit; color: inherit; background: transparent; border: 1px solid var(--rule); border-radius: 0.5em;
  height: 2.4em; cursor: pointer;
}
button { width: 2.4em; padding: 0; display: grid; place-items: center; flex: none; }
button:hover, select:hover { border-color: var(--quiet); }
:focus-visible { outline: 2px solid var(--disc); outline-offset: 2px; }
button svg { width: 1em; height: 1em; fill: currentColor; }
select { padding: 0 0.4em; flex: none; }
select option { background: var(--page); }
input { flex: 1; min-width: 4rem; height: 2.4em; margin: 0; accent-color: var(--disc); cursor: pointer; }
.foot { display: flex; flex-wrap: wrap; gap: 0 1.4em; margin-top: 0.5em; font-size: 0.88em; color: var(--quiet); }
.foot output { margin-left: auto; font-variant-numeric: tabular-nums; }
.dot {
  display: inline-block; width: 0.72em; height: 0.72em; margin-right: 0.45em; border-radius: 50%;
  background: var(--disc); border: 1.5px solid var(--edge);
}
.dot.touch { background: var(--touch); border-color: var(--ring); }
</style>
</head>
<body>
<main>
<h1>{{title}}</h1>
<p>{{subtitle}}</p>
<canvas role="img" aria-label="Animation of discs moving and colliding in a box"></canvas>
<div class="controls">
  <button type="button" aria-label="Pause" title="Play or pause (space)"><svg viewBox="0 0 16 16"><path/></svg></button>
  <input type="range" min="0" step="any" value="0" aria-label="Time" title="Arrow keys step by one interval">
  <select aria-label="Speed">
    <option value="0.25">&frac14;&times;</option><option value="0.5">&frac12;&times;</option>
    <option value="1" selected>1&times;</option><option value="2">2&times;</option><option value="4">4&times;</option>
  </select>
</div>
<div class="foot">
  <span><span class="dot"></span>particle</span><span><span class="dot touch"></span>touching another</span>
  <output></output>
</div>
</main>
<script>
{{particles}}
const data = {{data}};
const raw = new DataView(particles.bytes(data.positions).buffer);
const last = data.touching.length;
const coordinate = (time, i, axis) => data.low + data.scale * raw.getUint16(4 * (time * data.n + i) + 2 * axis, true);
const touching = data.touching.map(row => new Set(row));

const root = document.documentElement, canvas = document.querySelector("canvas");
const button = document.querySelector("button"), icon = document.querySelector("path");
const slider = document.querySelector("input"), speed = document.querySelector("select");
const readout = document.querySelector("output");
root.style.setProperty("--ratio", data.box[0] / data.box[1]);
slider.max = last;

let at = 0, playing = false, before = 0;

function draw() {
  particles.paint(canvas, data.box, (pen, pixel) => {
    const k = Math.min(Math.floor(at), last - 1), part = at - k;
    for (let i = 0; i < data.n; i++) {
      const x = coordinate(k, i, 0) * (1 - part) + coordinate(k + 1, i, 0) * part;
      const y = coordinate(k, i, 1) * (1 - part) + coordinate(k + 1, i, 1) * part;
      const hot = touching[k].has(i);
      particles.disc(pen, x, y, data.radii[i], particles.colour(hot ? "--touch" : "--disc"),
        particles.colour(hot ? "--ring" : "--edge"), (hot ? 3 : 1.5) * pixel);
    }
  });
  slider.value = at;
  const time = (at * data.interval).toFixed(2);
  slider.setAttribute("aria-valuetext", "time " + time);
  readout.textContent = "t = " + time + " of " + (last * data.interval).toFixed(2);
}

function frame(now) {
  if (!playing) return;
  at += Math.min(0.1, Math.max(0, now - before) / 1000) / data.interval * speed.value;
  before = now;
  if (at >= last) at = 0;
  draw();
  requestAnimationFrame(frame);
}

function play(on) {
  playing = on;
  button.setAttribute("aria-label", on ? "Pause" : "Play");
  icon.setAttribute("d", particles.icon(on));
  if (on) { before = performance.now(); requestAnimationFrame(frame); }
}

function seek(time) { at = Math.max(0, Math.min(last, time)); draw(); }

button.onclick = canvas.onclick = () => play(!playing);
slider.oninput = () => { play(false); seek(+slider.value); };
addEventListener("keydown", event => {
  if (event.key === " " && event.target !== button && event.target !== speed) play(!playing);
  else if (event.key === "ArrowRight" && event.target !== speed) { play(false); seek(Math.floor(at + 1e-6) + 1); }
  else if (event.key === "ArrowLeft" && event.target !== speed) { play(false); seek(Math.ceil(at - 1e-6) - 1); }
  else return;
  event.preventDefault();
});
new ResizeObserver(draw).observe(canvas);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
draw();
play(!matchMedia("(prefers-reduced-motion: reduce)").matches);
</script>
</body>
</html>
"""
