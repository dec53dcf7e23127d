// Draws the figures: unpacks plotly, which is two thirds of a page packed and nine tenths of it otherwise, and runs what
// each figure has left for it. `drawn` is done when all are.
"use strict";
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
  document.dispatchEvent(new Event("drawn"));
})();
// Figures are as wide as the window; on paper they are as wide as its text.
const plots = () => document.querySelectorAll(".js-plotly-plot");
addEventListener("beforeprint", () => plots().forEach(plot => Plotly.relayout(plot, { width: 680 })));
addEventListener("afterprint", () => plots().forEach(plot => Plotly.relayout(plot, { width: null, autosize: true })));
