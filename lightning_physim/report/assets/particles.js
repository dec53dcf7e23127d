"use strict";
// A box of particles on a canvas, for the animation of a data set and the viewer of a report.
const particles = {
  bytes: text => Uint8Array.from(atob(text), c => c.charCodeAt(0)),

  colour: name => getComputedStyle(document.documentElement).getPropertyValue(name).trim(),

  // A hue of the figures as it is on this paper, light or dark.
  shade: hue => particles.colour("--" + hue.slice(1)) || hue,

  // Clears the canvas, calls draw(pen, pixel) in the units of the box with y upwards, and draws the walls over it.
  // `pixel` is a CSS pixel in those units.
  paint(canvas, [width, height], draw) {
    const sharp = window.devicePixelRatio || 1, pen = canvas.getContext("2d");
    const w = Math.round(canvas.clientWidth * sharp), h = Math.round(canvas.clientHeight * sharp);
    if (!w || !h) return;
    if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
    const wall = 2 * sharp, scale = (w - 2 * wall) / width;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.globalAlpha = 1;
    pen.fillStyle = particles.colour("--floor");
    pen.fillRect(0, 0, w, h);
    pen.setTransform(scale, 0, 0, -scale, wall, h - wall);
    draw(pen, sharp / scale);
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.globalAlpha = 1;
    pen.setLineDash([]);
    pen.lineWidth = wall;
    pen.strokeStyle = particles.colour("--wall");
    pen.strokeRect(wall / 2, wall / 2, w - wall, h - wall);
  },

  // The edge lies within the radius.
  disc(pen, x, y, radius, fill, edge, line) {
    line = Math.min(line, radius / 3);
    pen.beginPath();
    pen.arc(x, y, radius - line / 2, 0, 2 * Math.PI);
    if (fill) { pen.fillStyle = fill; pen.fill(); }
    pen.lineWidth = line;
    pen.strokeStyle = edge;
    pen.stroke();
  },

  // Upright text where y points upwards.
  text(pen, x, y, words, size, pixel) {
    pen.save();
    pen.translate(x, y);
    pen.scale(pixel, -pixel);
    pen.font = `600 ${size}px system-ui, sans-serif`;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.lineWidth = 4;
    pen.lineJoin = "round";
    pen.strokeStyle = particles.colour("--floor");
    pen.strokeText(words, 0, 0);
    pen.fillText(words, 0, 0);
    pen.restore();
  },

  // A button that plays: advance(seconds) until it says that it is done. What is returned turns it on and off.
  player(button, advance) {
    let playing = false, before = 0;
    const icon = button.querySelector("path"), label = button.getAttribute("aria-label");
    function frame(time) {
      if (!playing) return;
      const more = advance(Math.min(0.1, Math.max(0, time - before) / 1000));
      before = time;
      if (more) requestAnimationFrame(frame); else play(false);
    }
    function play(on) {
      if (on && !playing) { before = performance.now(); requestAnimationFrame(frame); }
      playing = on;
      icon.setAttribute("d", on ? "M3 2h3.6v12H3zM9.4 2H13v12H9.4z" : "M4 1.6 14 8 4 14.4z");
      button.setAttribute("aria-label", on ? "Pause" : label);
    }
    button.onclick = () => play(!playing);
    play(false);
    return play;
  },
};
