"""``python -m benchmarks [names]``: run benchmarks, keep what they found, and say what has got worse.

Whatever is compared runs in alternation in one process, on one core unless said otherwise, by CPU seconds, so that what
else the machine does falls on both alike. A peer that is not installed is left out, with a line.
"""

import argparse
import sys
from importlib import import_module

from benchmarks.table import HEADER, Row, last, machine, store, worse

BENCHMARKS = {
    "step": "a training step, eager and compiled, against plain PyTorch and a JAX jit; what Lightning adds",
    "growth": "how a step grows with particles, batch, heads and layers",
    "simulator": "particle-steps a second against LAMMPS; how they grow with particles and threads",
    "probes": "what measuring the heads costs, in training steps",
    "llc": "a step of the sampler against devinterp and canonical-interp",
    "waterfall": "where the time of a run goes, cold and warm",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    about = "; ".join(f"{name}: {what}" for name, what in BENCHMARKS.items())
    parser.add_argument("names", nargs="*", metavar="NAME", help=about)
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the work: to see that it runs; nothing is kept"
    )
    parser.add_argument("--plots", action="store_true", help="draw the plots of docs/ from what was kept, and stop")
    given = parser.parse_args()
    if unknown := set(given.names) - set(BENCHMARKS):
        parser.error(f"a benchmark is one of {', '.join(BENCHMARKS)}; got {', '.join(sorted(unknown))}")
    if given.plots:
        from benchmarks.plots import draw

        draw()
        return 0
    print(machine())
    for name in given.names or BENCHMARKS:
        print(f"\n## {name}: {BENCHMARKS[name]}\n\n{HEADER}", flush=True)
        before, rows = last(name), []
        for found in import_module(f"benchmarks.{name}").measure(given.quick):  # rows, and lines of text
            if isinstance(found, Row):
                rows.append(found)
            print(found.line() if isinstance(found, Row) else found, flush=True)
        if given.quick:
            continue
        print(f"\nkept in {store(name, rows)}")
        for line in worse(rows, before[1]) if before else ():
            print(f"WORSE than {before[0]}: {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
