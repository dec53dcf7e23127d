"use strict";
// The page of a training that goes on reads itself again, unless its reader is at work on it or looks elsewhere.
{
  const QUIET = 20_000;
  let touched = performance.now();
  for (const what of ["pointerdown", "pointermove", "keydown", "wheel", "touchmove"])
    addEventListener(what, () => { touched = performance.now(); }, { passive: true });
  setInterval(() => { if (!document.hidden && performance.now() - touched > QUIET) location.reload(); }, 1000);
}
