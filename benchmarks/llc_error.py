"""Learning coefficients at the last step of a run of ``demo``: error against a long chain, and what it costs.

    python -m benchmarks.llc_error RUN --devinterp2 PYTHON

All tools sample the same density about the same anchor, by equal ``n_beta`` and localization. The reference is what
long chains of ours say that take all states at every step. Peers are given, region by region, the step size and the
share of dropped draws that a scan finds closest to it, which nobody knows beforehand; other draws are judged.
"""

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import refusals
from benchmarks.llc_workers import run

BETA = {"n_beta": 1000.0, "localization": 1000.0}
USUAL = {"n_chains": 4, "n_draws": 200, "batch_size": 32}
"""The defaults of devinterp 2.0.1."""
STEPS = (3e-6, 6e-6, 1.2e-5, 3e-5, 1e-4)
DROPPED = (0.0, 0.5)
"""Shares of the draws, from the start."""
ERROR = 0.05
"""Relative rms error that costs are brought to."""
PEERS = {"devinterp1": "devinterp 1.3.2", "devinterp2": "devinterp 2.0.1", "canonical": "canonical-interp 0.1.5"}


def our_settings(n_draws: int | None = None) -> dict[str, Any]:
    """Of the sampler, for heads and for the model; and for the long chain, with every state in each step."""
    from lightning_physim.callbacks import NETWORK_SGLD

    sgld = replace(NETWORK_SGLD, about="anchor", **BETA)
    found = {
        "L": replace(sgld, n_draws=144, n_burn_in=32),
        "model": replace(sgld, n_draws=96, n_burn_in=48, batch_size=256),
    }
    if n_draws is not None:
        long = {"step_size": 0.8, "batch_size": None, "n_chains": 4, "n_draws": n_draws}
        found = {"L": replace(sgld, n_burn_in=48, **long), "model": replace(sgld, n_burn_in=160, **long)}
    return {part: {k: v for k, v in asdict(config).items() if k != "seed"} for part, config in found.items()}


def prepare(which: str, cache: Path) -> dict[str, Any]:
    """Network, states and regions of the last checkpoint."""
    from lightning_physim.callbacks.learning_coefficient import default_regions
    from lightning_physim.checkpoints import load_network
    from lightning_physim.cli.configs import read_config
    from lightning_physim.cli.measurements import normalised
    from lightning_physim.data import data_module
    from lightning_physim.tracking import checkpoint_step, find_run

    found = find_run("runs", which)
    steps = {step: path for path in found.checkpoints.glob("*.ckpt") if (step := checkpoint_step(path)) is not None}
    module = load_network(steps[max(steps)], torch.device("cpu"))
    config = normalised(read_config(found.config), str(found.config))
    data = data_module(config["data"] | {"cache_dir": str(cache)})
    data.prepare_data()
    data.setup()
    states, targets = data.estimation_set(config["llc"]["n_samples"])
    regions = {name: masks and dict(masks) for name, masks in default_regions(module.network, True).items()}
    network = dict(module.hparams)
    print(f"step {max(steps)}, {len(states)} states, {BETA}")
    weights = module.network.state_dict()
    return {"network": network, "weights": weights, "states": states, "targets": targets, "regions": regions}


def reference(job: dict[str, Any], ours: list[dict], settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By long chains: until their error is a third of what estimates of ours spread by, or the draws are used up."""
    parts = tuple(job["regions"])
    targets = {name: float(np.std([each[name]["mean"] for each in ours], ddof=1)) / 3 for name in parts}
    by_part = {n: settings["model" if n == "model" else "L"] | {"target_mcse": targets[n] or None} for n in parts}
    return run(sys.executable, "ours", job | {"parts": parts, "settings": by_part, "seed": 1000})


class Errors:
    """Of one tool, relative to the reference.

    Args:
        estimates: ``{region: one estimate per seed}``.
        seconds: ``{region: CPU seconds of one}``.
        truth: ``{region: the reference, and its standard error}``.
    """

    def __init__(
        self, estimates: dict[str, list[float]], seconds: dict[str, float], truth: dict[str, tuple[float, float]]
    ) -> None:
        self.seeds = len(next(iter(estimates.values())))
        self.seconds, self.mean = seconds, {n: float(np.mean(e)) for n, e in estimates.items()}
        off = {n: (np.array(e) - truth[n][0]) / truth[n][0] for n, e in estimates.items()}
        self.rms = {n: float(np.sqrt(np.mean(o**2))) for n, o in off.items()}
        self.bias = {n: float(o.mean()) for n, o in off.items()}
        self.spread = {n: float(o.std(ddof=1)) for n, o in off.items()}
        # Of a bias, as means over few seeds and the reference have errors of their own.
        self.unknown = {
            n: float(np.hypot(o.std(ddof=1) / len(o) ** 0.5, truth[n][1] / truth[n][0])) for n, o in off.items()
        }

    def over(self, regions: list[str]) -> dict[str, float]:
        """Root mean squares over regions, and seconds: as it comes, and brought to :data:`ERROR`."""
        found = {name: rms(getattr(self, name)[n] for n in regions) for name in ("rms", "spread", "bias", "unknown")}
        found["seconds"] = sum(self.seconds[n] for n in regions)
        found["by rms"] = found["seconds"] * (found["rms"] / ERROR) ** 2
        found["by spread"] = found["seconds"] * (found["spread"] / ERROR) ** 2
        return found


def errors(
    repeats: list[dict], truth: dict[str, tuple[float, float]], dropped: dict[str, float] | None = None
) -> Errors:
    """Of repeated estimates: as the tool gives them, or of what is left where draws are dropped."""
    estimates = {
        n: [r[n]["mean"] if dropped is None else float(chains(r[n], dropped[n]).mean()) for r in repeats] for n in truth
    }
    return Errors(estimates, {n: float(np.mean([r[n]["seconds"] for r in repeats])) for n in truth}, truth)


def rms(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(list(values)))))


def chains(result: dict[str, Any], dropped: float) -> np.ndarray:
    """Mean of each chain, without the draws that are dropped; NaN where it broke off."""
    trace = np.array(result["trace"], dtype=float)
    return trace[:, int(dropped * trace.shape[1]) :].mean(1)


def choose(scan: dict[str, dict], truth: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """``{region: (step size, share that is dropped)}`` with the least error of a mean over chains."""
    best: dict[str, tuple[float, tuple[float, float]]] = {}
    for step, found in scan.items():
        for name, result in found.items():
            for dropped in DROPPED:
                means = chains(result, dropped)
                error = (means.mean() - truth[name][0]) ** 2 + means.var(ddof=1) / len(means)
                if np.isfinite(error) and error < best.get(name, (np.inf,))[0]:
                    best[name] = (error, (float(step), dropped))
    return {name: chosen for name, (_, chosen) in best.items()}


def one_for_all(
    scan: dict[str, dict], truth: dict[str, tuple[float, float]], regions: list[str]
) -> tuple[float, str, float]:
    """Least relative rms error over regions of one estimate with one step size; that size and the share dropped."""
    return min(
        (rms(chains(found[n], dropped).mean() / truth[n][0] - 1 for n in regions), step, dropped)
        for step, found in scan.items()
        for dropped in DROPPED
    )


def measure(given: argparse.Namespace, raw: dict[str, Any], path: Path) -> None:
    """Fill in what is not there yet, and write it down."""
    job = {**prepare(given.run, given.cache), **BETA, **USUAL, "step_size": 1.0, "residuals": True}
    draws, seeds, peer_seeds = (16, 2, 2) if given.quick else (job["n_draws"], given.seeds, given.peer_seeds)
    settings, long = our_settings(), our_settings(given.reference_draws)
    if given.quick:
        short = {"n_draws": 16, "n_burn_in": 8}
        settings, long = ({part: each | short for part, each in some.items()} for some in (settings, long))

    def keep(name: str, value: Any) -> None:
        raw[name] = value
        path.write_text(json.dumps(raw))

    our_job = job | {"parts": tuple(settings), "settings": settings}
    if "ours" not in raw:
        keep("ours", [run(sys.executable, "ours", our_job | {"seed": seed}) for seed in range(seeds)])
    if "reference" not in raw:
        keep("reference", reference(job, raw["ours"], long))
    truth = truth_of(raw)
    for name in PEERS:
        if (python := getattr(given, name)) is None:
            continue
        theirs = job | {"n_draws": draws}
        if f"{name} scan" not in raw:
            steps = STEPS[::3] if given.quick else STEPS
            found = {f"{size:g}": run(python, name, theirs | {"step_size": size, "seed": 500}) for size in steps}
            keep(f"{name} scan", found)
        if name not in raw:
            sizes = {region: step for region, (step, _) in choose(raw[f"{name} scan"], truth).items()}
            keep(name, [run(python, name, theirs | {"step_size": sizes, "seed": seed}) for seed in range(peer_seeds)])


def truth_of(raw: dict[str, Any]) -> dict[str, tuple[float, float]]:
    return {name: (r["mean"], r["mcse"]) for name, r in raw["reference"].items()}


def report(raw: dict[str, Any]) -> None:
    truth = truth_of(raw)
    regions, heads = list(truth), [name for name in truth if name != "model"]
    found = {"ours": errors(raw["ours"], truth)}
    chosen = {tool: choose(raw[f"{tool} scan"], truth) for tool in PEERS if tool in raw}
    for tool, choices in chosen.items():
        found[tool] = errors(raw[tool], truth, {n: dropped for n, (_, dropped) in choices.items()})
    for tool in chosen:
        print(f"\nScan of {PEERS[tool]}: mean over all draws, and over their second half\n")
        scan = raw[f"{tool} scan"]
        head("region", "reference", *(f"step {size}" for size in scan))
        for n in regions:
            row(
                n,
                f"{truth[n][0]:.2f}",
                *(", ".join(f"{chains(r[n], d).mean():.2f}" for d in DROPPED) for r in scan.values()),
            )
    print("\nBias and spread of one estimate relative to the reference\n")
    head(
        "region",
        "reference",
        *(f"{PEERS.get(t, t)}: {what}" for t in found for what in ("s", "mean", "bias", "spread")),
    )
    for n in regions:
        cells = []
        for tool, e in found.items():
            step = f" (step {chosen[tool][n][0]:g}, {chosen[tool][n][1]:.0%} dropped)" if tool in chosen else ""
            cells += [f"{e.seconds[n]:.2f}", f"{e.mean[n]:.2f}{step}"]
            cells += [f"{e.bias[n]:+.1%} ± {e.unknown[n]:.1%}", f"{e.spread[n]:.1%}"]
        row(n, f"{truth[n][0]:.3f} ± {truth[n][1]:.3f}", *cells)
    print(
        f"\nCosts at a relative rms error of {ERROR:.0%} are extrapolated: error squared times seconds. A bias stays.\n"
    )
    head(
        "regions",
        "tool",
        "seeds",
        "s",
        "rms error",
        "bias",
        "spread",
        "s at equal rms",
        "times ours",
        "by spread alone",
    )
    for label, which in (("heads", heads), ("model", ["model"])):
        mine = found["ours"].over(which)
        for tool, e in found.items():
            o = e.over(which)
            percent = (f"{o['rms']:.1%}", f"{o['bias']:.1%}, known to {o['unknown']:.1%}", f"{o['spread']:.1%}")
            times = (f"**{o['by rms'] / mine['by rms']:.1f}**", f"{o['by spread'] / mine['by spread']:.1f}")
            name, seconds = PEERS.get(tool, tool), f"{o['seconds']:.2f}"
            row(label, name, str(e.seeds), seconds, *percent, f"{o['by rms']:.2f}", *times)
    for tool in chosen:
        error, size, dropped = one_for_all(raw[f"{tool} scan"], truth, heads)
        seconds = found[tool].over(heads)["seconds"] * (error / ERROR) ** 2
        print(
            f"\n{PEERS[tool]} with one step size for all heads, the best of the scan: rms error {error:.1%} at {size}, "
            f"{dropped:.0%} dropped; {seconds / found['ours'].over(heads)['by rms']:.1f} times ours at equal rms error"
        )
    stated = {n: rms(r[n]["mcse"] for r in raw["ours"]) / truth[n][0] / found["ours"].spread[n] for n in regions}
    print("\nStandard errors that ours states, over what its estimates spread by: ", end="")
    print(", ".join(f"{n} {ratio:.2f}" for n, ratio in stated.items()))
    print(f"The reference took {sum(r['seconds'] for r in raw['reference'].values()):.0f} s", end="; ")
    failed = [f"{n}: {', '.join(r['failures'])}" for n, r in raw["reference"].items() if r["failures"]]
    print("of its diagnostics failed " + ("; ".join(failed) or "none"))


def head(*cells: str) -> None:
    row(*cells)
    print("|---" * len(cells) + "|")


def row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="a run of demo, with checkpoints")
    for name, what in PEERS.items():
        parser.add_argument(f"--{name}", metavar="PYTHON", help=f"interpreter that has {what}")
    parser.add_argument("--seeds", type=int, default=8, help="estimates of ours")
    parser.add_argument("--peer-seeds", type=int, default=4, help="estimates of each peer")
    parser.add_argument("--reference-draws", type=int, default=1600, help="of each of four chains, at most")
    parser.add_argument("--cache", default="data", type=Path, help="folder for data and raw results, which are reused")
    parser.add_argument("--quick", action="store_true", help="16 draws: to see that it runs; nothing is reused")
    given = parser.parse_args()
    path = given.cache / ("llc_error_quick.json" if given.quick else "llc_error.json")
    raw = json.loads(path.read_text()) if path.exists() and not given.quick else {}
    measure(given, raw, path)
    report(raw)


if __name__ == "__main__":
    with refusals():
        main()
