// Draws the figures: unpacks plotly, which is two thirds of a page packed and nine tenths of it otherwise, and runs what
// each figure has left for it. `drawn` is done when all are.
"use strict";
const plots = () => document.querySelectorAll(".js-plotly-plot");
const drawn = (async () => {
  const run = code => {
    const script = document.createElement("script");
    script.textContent = code;
    document.head.append(script);
  };
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), c => c.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  run(await new Response(unpacked).text());
  for (const figure of document.querySelectorAll("script[type=figure]")) run(figure.textContent);
  if (matchMedia("(max-width: 42rem)").matches) for (const plot of plots()) await narrowed(plot);
  document.dispatchEvent(new Event("drawn"));
})();

// On a telephone panels stand one below the other, and the lines of a legend take no height from them.
async function narrowed(plot) {
  const put = change => {
    plot.style.height = plot.parentElement.style.height = change.height + "px";
    return Plotly.relayout(plot, { width: null, autosize: true, ...change });
  };
  const change = stacked(plot.layout);
  if (change) await put(change);
  const legend = plot._fullLayout.legend, more = (legend && legend._height || 0) - 25;
  if (more > 0) await put({ height: plot.layout.height + more });
}

// The change of a layout with panels beside each other to one below the other, each as high as it was.
function stacked(layout) {
  const GAP = 70, ABOVE = 30, LEGEND = 60;
  if (!layout.yaxis2) return null;
  const panels = Object.keys(layout).filter(name => /^yaxis\d*$/.test(name)).map(name => {
    const x = layout[name.replace("y", "x")].domain, [bottom, top] = layout[name].domain;
    return { name, x, bottom, top, pixels: (top - bottom) * (layout.height - ABOVE - LEGEND) };
  }).sort((a, b) => b.top - a.top || a.x[0] - b.x[0]);
  if (panels.every((panel, i) => !i || panel.top < panels[i - 1].bottom)) return null;
  const total = panels.reduce((sum, panel) => sum + panel.pixels, GAP * (panels.length - 1));
  const change = { height: total + ABOVE + LEGEND };
  let top = 1;
  for (const panel of panels) {
    const title = (layout.annotations || []).findIndex(note => note.yref === "paper" &&
      Math.abs(note.y - panel.top) < 1e-6 && note.x >= panel.x[0] - 1e-6 && note.x <= panel.x[1] + 1e-6);
    change[panel.name + ".domain"] = [Math.max(0, top - panel.pixels / total), top];
    change[panel.name.replace("y", "x") + ".domain"] = [0, 1];
    // From the left edge of the figure, where there is room for all of it.
    if (title >= 0) Object.assign(change, Object.fromEntries(Object.entries({ x: 0, y: top, xanchor: "left",
      xshift: 12 - layout.margin.l }).map(([key, value]) => [`annotations[${title}].${key}`, value])));
    top -= (panel.pixels + GAP) / total;
  }
  return change;
}

// Figures are as wide as the window; on paper they are drawn so wide, and the style makes them as wide as its text.
addEventListener("beforeprint", () => plots().forEach(plot => Plotly.relayout(plot, { width: 960 })));
addEventListener("afterprint", () => plots().forEach(plot => Plotly.relayout(plot, { width: null, autosize: true })));
