"use strict";
// The viewer: what a head looks at, and the network beside the truth, at the training step of one scrubber.
addEventListener("DOMContentLoaded", () => {
  const data = JSON.parse(document.getElementById("viewer-data").textContent);
  const root = document.getElementById("viewer"), part = name => root.querySelector(`[data-part="${name}"]`);
  const { n, heads, steps, radii, box, interval } = data;
  const weights = data.attention && particles.bytes(data.attention);
  const paths = data.rollout && { network: data.rollout, truth: data.truth };
  for (const name in paths) paths[name] = new DataView(particles.bytes(paths[name]).buffer);
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const now = {
    step: steps.length - 1, head: Math.max(0, heads.findIndex(head => head.name === data.best)), scene: 0, query: 0,
    all: false, time: 0, path: 0,
  };
  const ink = () => particles.colour("--ink");
  root.style.setProperty("--ratio", box[0] / box[1]);
  const name = head => heads[head].name, colour = head => particles.shade(heads[head].color);

  // Attention of a head at the step of the scrubber; a snapshot is [layers, states, heads, query, key].
  function weight(query, key, head = now.head) {
    const { layer, index, per_layer: wide } = heads[head];
    const row = ((now.step * data.layers + layer) * data.states.length + now.scene) * wide + index;
    return weights[(row * n + query) * n + key] / 255;
  }
  const pairs = () => data.touching[now.scene];
  const partners = i => pairs().filter(pair => pair.includes(i)).map(([a, b]) => a === i ? b : a);
  const distance = (i, j) => {
    const [a, b] = [data.states[now.scene][i], data.states[now.scene][j]];
    return Math.hypot(a[0] - b[0], a[1] - b[1]);
  };
  const near = (i, j) => i !== j && distance(i, j) < data.near * (radii[i] + radii[j]);
  const dotted = (pen, pixel, on) => pen.setLineDash(on ? [4 * pixel, 4 * pixel] : []);

  function link(pen, from, to, w, pixel) {
    const [x0, y0] = from, [x1, y1] = to, [dx, dy] = [x1 - x0, y1 - y0];
    pen.globalAlpha = Math.min(1, 0.15 + w);
    pen.strokeStyle = pen.fillStyle = colour(now.head);
    pen.lineWidth = Math.min(10 * pixel, radii[0] * 0.8) * Math.max(w, 0.06);
    pen.beginPath();
    pen.moveTo(x0, y0);
    // Bent a little, so that two particles that look at each other have two lines.
    pen.quadraticCurveTo((x0 + x1) / 2 - 0.12 * dy, (y0 + y1) / 2 + 0.12 * dx, x1, y1);
    pen.stroke();
    pen.beginPath();
    pen.arc(x1, y1, Math.min(7 * pixel, radii[0] * 0.5) * Math.sqrt(w), 0, 2 * Math.PI);
    pen.fill();
    pen.globalAlpha = 1;
  }

  function drawAttention() {
    const scene = data.states[now.scene], marked = new Set(pairs().flat());
    particles.paint(part("attention"), box, (pen, pixel) => {
      const at = i => [scene[i][0], scene[i][1]];
      const looking = now.all ? [...scene.keys()] : [now.query];
      for (let i = 0; i < n; i++) {
        const mark = marked.has(i);
        particles.disc(pen, ...at(i), radii[i], particles.colour("--disc"),
          particles.colour(mark ? "--mark" : "--edge"), (mark ? 3 : 1.2) * pixel);
        if (!now.all && i !== now.query) {
          pen.globalAlpha = 0.85 * weight(now.query, i);
          particles.disc(pen, ...at(i), radii[i] * 0.86, colour(now.head), colour(now.head), pixel);
          pen.globalAlpha = 1;
        }
      }
      pen.lineWidth = 1.5 * pixel;
      pen.strokeStyle = particles.colour("--mark");
      for (const [x, y, vx, vy] of scene) {  // where each one is bound for in the interval
        pen.beginPath();
        pen.moveTo(x, y);
        pen.lineTo(x + vx * interval, y + vy * interval);
        pen.stroke();
      }
      dotted(pen, pixel, true);
      for (const [i, j] of pairs()) {
        pen.beginPath(); pen.moveTo(...at(i)); pen.lineTo(...at(j)); pen.stroke();
      }
      if (!now.all) {
        pen.strokeStyle = colour(now.head);
        pen.beginPath();
        pen.arc(...at(now.query), data.near * 2 * radii[now.query], 0, 2 * Math.PI);
        pen.stroke();
      }
      dotted(pen, pixel, false);
      for (const i of looking)
        for (let j = 0; j < n; j++) if (i !== j && weight(i, j) >= 0.02) link(pen, at(i), at(j), weight(i, j), pixel);
      if (!now.all) {
        particles.disc(pen, ...at(now.query), radii[now.query] * 0.55, colour(now.head), ink(), 2 * pixel);
        for (let j = 0; j < n; j++) {
          const w = weight(now.query, j), [x, y] = at(j);
          pen.fillStyle = ink();
          const above = Math.min(y + radii[j] + 9 * pixel, box[1] - 9 * pixel);
          if (j !== now.query && w >= 0.1) particles.text(pen, x, above, w.toFixed(2), 14, pixel);
        }
      }
    });
    const number = i => `particle ${i + 1}`, step = steps[now.step].toLocaleString("en");
    const others = [...scene.keys()].filter(i => i !== now.query), close = others.filter(i => near(now.query, i));
    const sum = close.reduce((total, i) => total + weight(now.query, i), 0);
    const share = others.reduce((total, i) => total + weight(now.query, i), 0);
    const fate = partners(now.query).length
      ? ` is about to touch ${partners(now.query).map(i => number(i)).join(" and ")}` : " is about to touch nothing";
    part("say").textContent = now.all
      ? `${name(now.head)} from every particle, at step ${step}. Lines end in a dot at the particle that is looked at.`
      : `Particle ${now.query + 1}${fate}. At step ${step}, ${name(now.head)} gives ` +
        (close.length ? `${sum.toFixed(2)} of its attention to the ${close.length} near it ` +
          `(all alike: ${(close.length * share / others.length).toFixed(2)}).` : "its attention to others: none is near.");
  }

  // Position of a particle, null where the rollout is lost.
  function place(which, snap, time, i) {
    const row = ((which === "truth" ? now.path : snap * data.paths + now.path) * data.times + time) * n + i;
    const [x, y] = [0, 2].map(offset => paths[which].getUint16(4 * row + offset, true));
    return x === 65535 ? null : [data.low + data.scale * x, data.low + data.scale * y];
  }
  function between(which, i) {
    const k = Math.min(Math.floor(now.time), data.times - 2), share = now.time - k;
    const [a, b] = [place(which, now.step, k, i), place(which, now.step, k + 1, i)];
    return share === 0 ? a : a && b && [a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])];
  }

  function drawRollout() {
    let error = 0, lost = 0;
    particles.paint(part("rollout"), box, (pen, pixel) => {
      const all = [...Array(n).keys()].map(i => [between("truth", i), between("network", i)]);
      pen.lineCap = "round";
      all.forEach(([truth, network], i) => {
        if (!network) { lost++; return; }
        error += Math.hypot(truth[0] - network[0], truth[1] - network[1]) / (2 * radii[i]) / n;
        pen.globalAlpha = 0.8;
        particles.disc(pen, ...network, radii[i], particles.colour("--net"), particles.colour("--net"), pixel);
        pen.globalAlpha = 1;
      });
      all.forEach(([truth, network], i) => {
        particles.disc(pen, ...truth, radii[i], null, ink(), 2 * pixel);
        if (!network) return;
        pen.lineWidth = 1.6 * pixel;
        pen.strokeStyle = particles.colour("--miss");
        pen.beginPath(); pen.moveTo(...truth); pen.lineTo(...network); pen.stroke();
      });
    });
    part("time").value = now.time;
    part("time").setAttribute("aria-valuetext", `${+now.time.toFixed(1)} intervals`);
    part("error").textContent = `After ${+now.time.toFixed(1)} intervals the network of step ` +
      `${steps[now.step].toLocaleString("en")} ` +
      (lost ? `has lost ${lost} of ${n} particles.` : `is ${error.toFixed(2)} diameters off, on average.`);
  }

  // The strip: score of every head over the steps, on the scale of the scrubber beneath it.
  const margin = 8;
  function along(step) {  // 0 to 1
    let i = 1;
    while (i < steps.length - 1 && steps[i] < step) i++;
    if (steps.length < 2) return 0.5;
    const [a, b] = [steps[i - 1], steps[i]].map(s => Math.log(Math.max(s, 0.5))), s = Math.log(Math.max(step, 0.5));
    return (i - 1 + Math.max(0, Math.min(1, (s - a) / (b - a)))) / (steps.length - 1);
  }
  const scoreAt = (head, step) => {
    const [at, values] = head.curve;
    let i = at.length - 1;
    while (i > 0 && at[i] > step) i--;
    return values[i];
  };
  function drawStrip() {
    const canvas = part("strip"), sharp = window.devicePixelRatio || 1, pen = canvas.getContext("2d");
    const [w, h] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = w * sharp; canvas.height = h * sharp;
    pen.setTransform(sharp, 0, 0, sharp, 0, 0);
    const shown = heads.filter(head => head.curve), values = shown.flatMap(head => head.curve[1].filter(v => v > 0));
    const low = Math.log(0.75 * Math.min(1, ...values)), high = Math.log(Math.max(6, ...values) * 1.1);
    const x = step => margin + along(step) * (w - 2 * margin);
    const y = v => 4 + (h - 24) * (1 - (Math.log(Math.max(v, 1e-3)) - low) / (high - low));
    pen.font = "12px system-ui, sans-serif";
    pen.fillStyle = particles.colour("--soft");
    pen.strokeStyle = particles.colour("--line");
    pen.textAlign = "center";
    let last = -1e9;
    for (const step of [0, 1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8]) {
      if (step < steps[0] || step > steps[steps.length - 1]) continue;
      const words = step >= 1e6 ? step / 1e6 + "M" : step >= 1e3 ? step / 1e3 + "k" : `${step}`;
      const half = pen.measureText(words).width / 2;
      if (x(step) - last > 26) pen.fillText(words, Math.max(half, Math.min(w - half, x(step))), h - 4);
      last = x(step);
    }
    pen.textAlign = "left";
    const levels = [[1, "× 1: uniform attention"], [data.threshold, `× ${data.threshold}: a collision head`]];
    for (const [v] of levels) {
      pen.setLineDash([2, 3]);
      pen.strokeStyle = particles.colour("--soft");
      pen.lineWidth = 1;
      pen.beginPath(); pen.moveTo(margin, y(v)); pen.lineTo(w - margin, y(v)); pen.stroke();
    }
    for (const head of [...shown].sort((a, b) => (a === heads[now.head]) - (b === heads[now.head]))) {
      const chosen = head === heads[now.head];
      pen.globalAlpha = chosen ? 1 : 0.4;
      pen.lineWidth = chosen ? 3.2 : 1.6;
      pen.strokeStyle = particles.shade(head.color);
      pen.setLineDash(head.dash ? head.dash.split(" ").map(Number) : []);
      pen.beginPath();
      head.curve[0].forEach((step, i) => pen.lineTo(x(step), y(head.curve[1][i])));
      pen.stroke();
    }
    pen.globalAlpha = 1;
    pen.setLineDash([]);
    pen.lineWidth = 4;
    pen.lineJoin = "round";
    pen.strokeStyle = particles.colour("--paper");
    for (const [v, words] of levels) {
      const place = [words, margin, y(v) - (v === 1 ? 16 : 5)]; // the heads begin at 1
      pen.strokeText(...place);
      pen.fillText(...place);
    }
    pen.lineWidth = 1.5;
    pen.strokeStyle = ink();
    const here = margin + (w - 2 * margin) * (steps.length < 2 ? 0.5 : now.step / (steps.length - 1));
    pen.beginPath(); pen.moveTo(here, 0); pen.lineTo(here, h - 18); pen.stroke();
    const chosen = heads[now.head];
    if (chosen && chosen.curve) {
      pen.fillStyle = particles.shade(chosen.color);
      pen.beginPath(); pen.arc(here, y(scoreAt(chosen, steps[now.step])), 5, 0, 2 * Math.PI); pen.fill();
    }
  }

  // The same step in the figures below that have one.
  const shapes = new Map();
  let asked = false;
  function follow() {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      for (const id of ["scores", "loss"]) {
        const plot = document.getElementById(id);
        if (!plot || !plot.layout) continue; // not there, or not drawn yet
        if (!shapes.has(id)) shapes.set(id, plot.layout.shapes || []);
        const x = Math.max(steps[now.step], plot.layout.xaxis.tickvals[0]);
        const line = { type: "line", x0: x, x1: x, y0: 0, y1: 1, yref: "paper", line: { color: ink(), width: 1.5 } };
        Plotly.relayout(plot, { shapes: [...shapes.get(id), line] });
      }
    });
  }
  document.addEventListener("drawn", follow);

  function seek(step) {
    now.step = Math.max(0, Math.min(steps.length - 1, step));
    part("step").value = now.step;
    part("step").setAttribute("aria-valuetext", `training step ${steps[now.step]}`);
    follow();
    draw();
  }
  function draw() {
    part("now").innerHTML = `Training step <b>${steps[now.step].toLocaleString("en")}</b>`;
    heads.forEach((head, i) => {
      if (!head.curve) return;
      root.querySelectorAll(".v-score")[i].textContent = "×" + scoreAt(head, steps[now.step]).toFixed(1);
    });
    if (heads.some(head => head.curve)) drawStrip();
    if (weights) drawAttention();
    if (paths) drawRollout();
  }

  let reached = 0;
  const playSteps = particles.player(part("play-steps"), seconds => {
    reached += 5 * seconds;
    if (Math.floor(reached) !== now.step) seek(Math.floor(reached));
    return now.step < steps.length - 1;
  });
  const startSteps = part("play-steps").onclick;
  part("play-steps").onclick = () => {
    reached = now.step;
    if (now.step === steps.length - 1) { seek(0); reached = 0; }
    startSteps();
  };
  part("step").max = steps.length - 1;
  part("step").oninput = () => { playSteps(false); seek(+part("step").value); };
  if (heads.some(head => head.curve)) {
    const strip = part("strip");
    strip.onpointerdown = strip.onpointermove = event => {
      if (event.type === "pointermove" && !event.buttons) return;
      const share = (event.offsetX - margin) / (strip.clientWidth - 2 * margin);
      playSteps(false);
      seek(Math.round(share * (steps.length - 1)));
    };
    new ResizeObserver(drawStrip).observe(strip);
  } else part("strip").remove();

  if (weights) {
    const canvas = part("attention"), first = () => pairs().length ? pairs()[0][0] : 0;
    root.querySelectorAll("[name=head]").forEach((input, i) => {
      input.checked = i === now.head;
      input.onchange = () => { now.head = i; draw(); };
    });
    part("scene").onchange = () => { now.scene = +part("scene").value; now.query = first(); drawAttention(); };
    part("from").onchange = () => { now.all = part("from").value === "all"; drawAttention(); };
    const under = event => {
      const x = event.offsetX / canvas.clientWidth * box[0], y = (1 - event.offsetY / canvas.clientHeight) * box[1];
      const found = data.states[now.scene].map((s, i) => [Math.hypot(s[0] - x, s[1] - y) / radii[i], i]);
      return found.sort((a, b) => a[0] - b[0])[0];
    };
    const choose = i => { now.query = i; now.all = false; part("from").value = "one"; drawAttention(); };
    canvas.onclick = event => choose(under(event)[1]);
    canvas.onpointermove = event => {
      const [far, i] = under(event);
      if (event.pointerType === "mouse" && far < 1 && !now.all && i !== now.query) choose(i);
    };
    canvas.onkeydown = event => {
      const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (by) { event.preventDefault(); choose((now.query + by + n) % n); }
    };
    now.query = first();
    new ResizeObserver(drawAttention).observe(canvas);
  }
  if (paths) {
    let reachedTime = 0, wanted = !calm;
    const playRollout = particles.player(part("play-rollout"), seconds => {
      // A breath at the end, and again.
      reachedTime += 4 * seconds;
      if (reachedTime > data.times + 3) reachedTime = 0;
      now.time = Math.min(reachedTime, data.times - 1);
      drawRollout();
      return true;
    });
    const toggle = part("play-rollout").onclick;
    part("play-rollout").onclick = () => {
      reachedTime = now.time >= data.times - 1 ? 0 : now.time;
      wanted = part("play-rollout").getAttribute("aria-label") !== "Pause";
      toggle();
    };
    part("time").max = data.times - 1;
    part("time").oninput = () => { wanted = false; playRollout(false); now.time = +part("time").value; drawRollout(); };
    part("path").onchange = () => { now.path = +part("path").value; drawRollout(); };
    new ResizeObserver(drawRollout).observe(part("rollout"));
    now.time = calm ? Math.min(5, data.times - 1) : 0;
    // It moves only where it is seen.
    new IntersectionObserver(([entry]) => playRollout(wanted && entry.isIntersecting)).observe(part("rollout"));
  }
  seek(now.step);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
});
