"""LLC estimates against devinterp and canonical-interp: the same job, and a job to the same standard error.

Error against the truth, bias included, is what ``benchmarks/llc_error.py`` measures.
"""

import argparse
import copy
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.llc_workers import DEFAULTS, Network, our_network, ours, run

BATCH = 64
JOB = {
    "n_beta": 300.0, "localization": 300.0, "step_size": 1e-5, "n_chains": 4, "batch_size": BATCH,
    "integrator": "euler",
}  # fmt: skip
CONVERGING = 3000.0
BEST = {
    "preconditioner": "curvature", "integrator": "leimkuhler_matthews", "control_variate": True, "step_size": "auto",
}  # fmt: skip

NAMES = {
    "ours": "ours", "plain": "ours, SGLD", "best": "ours, best", "devinterp1": "1.3.2", "devinterp2": "2.0.1",
    "canonical": "canonical", "as it comes": "1.3.2 as it comes",
}  # fmt: skip
ALIKE = ("ours", "plain", "best", "canonical")
"""Whose chains see the same minibatches, so that they are not independent."""


def prepare(cache: Path) -> Path:
    """Train the network once; a file with its weights, the estimation set and the masks of the heads."""
    from lightning_physim import ParticleDataModule, ParticleSystem
    from lightning_physim.llc.regions import head_regions

    path = cache / "against_devinterp.pt"
    if path.exists():
        return path
    system = ParticleSystem(20, (1.2, 1.2), radius=0.05, stiffness=8000.0, restitution=0.8, gravity=1.0, interval=0.05)
    data = ParticleDataModule(system, n_train=2000, n_val=1, n_test=1, ood={}, batch_size=BATCH, cache_dir=str(cache))
    data.prepare_data()
    data.setup()
    torch.manual_seed(0)
    network = our_network()
    # A rate that stays high keeps the network flat enough for the step size of the job.
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 100))
    loader, step = data.train_dataloader(), 0
    while step < 2500:
        for batch in loader:
            # The network's own standardisation is left out, for the network without our package has none.
            loss = F.mse_loss(network(data.target.standardize(batch.states[:, 0])), batch.targets[:, 0])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            step += 1
            if step % 250 == 0:
                print(f"step {step}: loss {loss.item():.4f}", file=sys.stderr)
            if step == 2500:
                break
    split = data.split("train")
    sample = split[torch.randperm(len(split))[:2048].numpy()]
    states, targets = data.target.standardize(sample.states[:, 0]), sample.targets[:, 0].clone()
    weights = {name: p.detach() for name, p in network.named_parameters()}
    plain = Network()
    plain.load_state_dict(weights)
    few = states[:256].double()  # in single precision sharp heads tell two orders of summation apart
    torch.testing.assert_close(plain.double()(few), copy.deepcopy(network).double()(few))
    regions = {name: {p: m.clone() for p, m in masks.items()} for name, masks in head_regions(network).items()}
    torch.save({"weights": weights, "states": states, "targets": targets, "regions": {"model": None, **regions}}, path)
    return path


class Estimates:
    """What one tool found in several repeats.

    Attributes:
        chains: ``{region: [repeats, chains]}``, the mean over kept draws of each chain.
        seconds: ``{region: seconds}`` of a repeat.
        error: ``{region: standard error}`` of the mean over the chains of one repeat.
        common: how many times the variance between repeats is what independent chains would have, over all regions.
    """

    def __init__(self, repeats: list[dict], first_draw: int, share_batches: bool) -> None:
        self.repeats = repeats
        self.chains = {n: np.array([r[n]["trace"] for r in repeats])[:, :, first_draw:].mean(2) for n in repeats[0]}
        self.seconds = {n: float(np.mean([r[n]["seconds"] for r in repeats])) for n in repeats[0]}
        within = {n: c.var(axis=1, ddof=1).mean() / c.shape[1] for n, c in self.chains.items()}
        self.common = 1.0
        if share_batches and len(repeats) > 1:
            ratios = [c.mean(1).var(ddof=1) / within[n] for n, c in self.chains.items()]
            self.common = max(1.0, float(np.mean(ratios)))
        self.error = {n: float(np.sqrt(self.common * v)) for n, v in within.items()}

    def mean(self, region: str) -> float:
        return float(self.chains[region].mean())

    def text(self, region: str) -> str:
        return f"{self.mean(region):.2f} ± {self.error[region] / len(self.repeats) ** 0.5:.2f}"

    def total(self) -> float:
        return sum(self.seconds.values())


def deviation(one: Estimates, other: Estimates, region: str) -> float:
    """Difference of the means in standard deviations, Welch's t brought to a normal scale."""
    from scipy import stats

    a, b = one.chains[region].ravel(), other.chains[region].ravel()
    p = stats.ttest_ind(a, b, equal_var=False).pvalue
    return float(np.sign(a.mean() - b.mean()) * stats.norm.isf(p / 2))


def same_job(found: dict[str, Estimates], regions: list[str]) -> None:
    from scipy import stats

    mine, others = found["ours"], [name for name in found if name != "ours"]
    print("\n| region | " + " | ".join(f"{NAMES[n]}, s" for n in found) + " | ", end="")
    print(" | ".join(f"{NAMES[n]}" for n in found) + " | " + " | ".join(f"z, {NAMES[n]}" for n in others) + " |")
    print("|---" * (1 + 2 * len(found) + len(others)) + "|")
    z = {name: [deviation(mine, found[name], region) for region in regions] for name in others}
    for i, region in enumerate(regions):
        cells = [f"{e.seconds[region]:.1f}" for e in found.values()] + [e.text(region) for e in found.values()]
        print(f"| {region} | " + " | ".join(cells + [f"{z[name][i]:+.1f}" for name in others]) + " |")
    totals = [f"**{e.total():.1f}**" for e in found.values()]
    blank = [""] * (len(found) + len(others))
    print("| all | " + " | ".join(totals + blank) + " |\n")
    if "canonical" in found:
        repeats = found["canonical"].repeats
        compiling = sum(r["compiling"] for repeat in repeats for r in repeat.values()) / len(repeats)
        without = found["canonical"].total() - compiling
        print(
            f"canonical compiles for {compiling:.1f} s of CPU time, nothing being cached; without that it takes "
            f"{without / mine.total():.2f} times our seconds. It knows no masks: heads go in as networks of their own"
        )
    for name in others:
        chi2 = float(np.square(z[name]).sum())
        print(
            f"{NAMES[name]}: {found[name].total() / mine.total():.2f} times our seconds; chi-square {chi2:.1f} on "
            f"{len(regions)} regions, p = {stats.chi2.sf(chi2, len(regions)):.2f}"
        )
    if "devinterp1" in found:
        offsets = [r["mean"] - np.mean(r["trace"]) for repeat in found["devinterp1"].repeats for r in repeat.values()]
        print(f"initial loss of 1.3.2 as it comes: estimates off by {min(offsets):+.1f} to {max(offsets):+.1f}")


def same_error(found: dict[str, Estimates], regions: list[str], initial_loss_variance: float) -> None:
    mine = [name for name in found if name in ("plain", "best")]
    tools = [name for name in found if name not in mine]
    cost = {name: {r: e.seconds[r] * e.error[r] ** 2 for r in regions} for name, e in found.items()}
    if "devinterp1" in found:
        e = found["devinterp1"]
        cost["as it comes"] = {r: e.seconds[r] * (e.error[r] ** 2 + initial_loss_variance) for r in regions}
    pairs = [(tool, ours) for tool in [*tools, *(["as it comes"] if "as it comes" in cost else [])] for ours in mine]
    columns = [f"{NAMES[name]}: s" for name in found] + [NAMES[name] for name in found]
    ratios = [f"{NAMES[tool]} / {NAMES[ours]}" for tool, ours in pairs]
    print("\n| region | " + " | ".join(columns + ratios) + " |\n" + "|---" * (1 + len(columns) + len(pairs)) + "|")
    for r in regions:
        cells = [f"{e.seconds[r]:.1f}" for e in found.values()]
        cells += [f"{e.mean(r):.2f} ({e.error[r]:.2f})" for e in found.values()]
        print(f"| {r} | " + " | ".join(cells + [f"{cost[t][r] / cost[o][r]:.1f}" for t, o in pairs]) + " |")
    heads = [r for r in regions if r != "model"]
    for label, which in (("all, one SE", regions), ("heads, one SE", heads)):
        sums = {name: sum(c[r] for r in which) for name, c in cost.items()}
        blank = [""] * len(columns)
        print(f"| {label} | " + " | ".join(blank + [f"**{sums[t] / sums[o]:.1f}**" for t, o in pairs]) + " |")
    reference = {r: max(abs(found[mine[-1]].mean(r)), 1.0) for r in regions}
    sums = {name: sum(c[r] / reference[r] ** 2 for r in regions) for name, c in cost.items()}
    print("| all, one relative SE | " + " | ".join(blank + [f"**{sums[t] / sums[o]:.1f}**" for t, o in pairs]) + " |\n")
    for name in found:
        seconds = sum(cost[name].values()) / 0.5**2
        print(f"{NAMES[name]}: {seconds:.0f} s for a standard error of 0.5 in every region")
    for name in mine:
        e = found[name]
        given = np.median([r[n]["mcse"] / e.error[n] for r in e.repeats for n in regions])
        print(
            f"{NAMES[name]}: variance between repeats {e.common:.1f} times that of independent chains; "
            f"the mcse it gives is {given:.2f} times the measured error (median)"
        )


def profile(job: dict[str, Any]) -> None:
    """Where the time of a layer's heads goes."""
    torch.set_num_threads(1)
    for layer in ("L0", "L1"):
        few = {**job, "regions": {n: m for n, m in job["regions"].items() if n.startswith(layer)}, "n_draws": 50}
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
            list(ours(few))
        events = sorted(profiler.key_averages(), key=lambda e: -e.self_cpu_time_total)
        total = sum(event.self_cpu_time_total for event in events)
        print(f"\n| heads of {layer} | calls | share of CPU time |\n|---|---|---|")
        for event in events[:14]:
            print(f"| {event.key} | {event.count} | {100 * event.self_cpu_time_total / total:.1f} % |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devinterp1", metavar="PYTHON", help="interpreter that has devinterp 1.3.2")
    parser.add_argument("--devinterp2", metavar="PYTHON", help="interpreter that has devinterp 2.0.1")
    parser.add_argument("--canonical", metavar="PYTHON", help="interpreter that has canonical-interp 0.1.5")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--draws", type=int, default=200, help="of each chain")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cache", default="data", type=Path, help="folder for data, network and raw results")
    parser.add_argument("--only-same-job", action="store_true", help="leave out the job to the same standard error")
    parser.add_argument("--quick", action="store_true", help="20 draws, once: to see that it runs")
    parser.add_argument("--profile", action="store_true", help="only our own CPU profile")
    given = parser.parse_args()
    draws, repeats = (20, 1) if given.quick else (given.draws, given.repeats)
    problem = torch.load(prepare(given.cache), weights_only=False)
    regions = list(problem["regions"])
    job = {**DEFAULTS, **problem, **JOB, "device": given.device, "n_draws": draws}
    if given.profile:
        return profile(job)
    pythons = {"ours": sys.executable, **{n: getattr(given, n) for n in ("devinterp1", "devinterp2", "canonical")}}
    tools = {worker: python for worker, python in pythons.items() if python}
    # devinterp keeps what comes after the burn-in by itself in 1.3.2 only; here it draws throughout, and we drop it.
    burn_in = draws // 2
    shorter = {"n_draws": draws - burn_in, "n_burn_in": burn_in, "localization": CONVERGING}
    variants = {
        "plain": ("ours", shorter),
        "best": ("ours", {**shorter, "settings": dict.fromkeys(DEFAULTS["parts"], BEST)}),
    }
    variants |= {name: (name, {"localization": CONVERGING}) for name in tools if name != "ours"}
    if given.only_same_job:
        variants = {}
    raw: dict[str, dict[str, list[dict]]] = {"same job": {}, "same error": {}}
    for repeat in range(repeats):
        for worker, python in tools.items():
            raw["same job"].setdefault(worker, []).append(run(python, worker, {**job, "seed": repeat}))
        for name, (worker, changed) in variants.items():
            result = run(tools[worker], worker, {**job, **changed, "seed": 100 + repeat})
            raw["same error"].setdefault(name, []).append(result)
        (given.cache / "against_devinterp.json").write_text(json.dumps(raw))
    same_job({n: Estimates(r, 0, n in ALIKE) for n, r in raw["same job"].items()}, regions)
    if not variants:
        return
    # Over how many samples the initial loss of 1.3.2 is a mean, drawn without replacement.
    network = Network()
    network.load_state_dict(problem["weights"])
    with torch.no_grad():
        losses = (network(problem["states"]) - problem["targets"]).square().mean((1, 2))
    n = BATCH * JOB["n_chains"]
    variance = JOB["n_beta"] ** 2 * losses.var().item() / n * (1 - n / len(losses))
    kept = {name: 0 if worker == "ours" else burn_in for name, (worker, _) in variants.items()}
    found = {n: Estimates(r, kept[n], n in ALIKE) for n, r in raw["same error"].items()}
    same_error(found, regions, variance)


if __name__ == "__main__":
    main()
