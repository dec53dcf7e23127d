"""LLC estimates against devinterp."""

import argparse
import copy
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

BATCH = 64
JOB = {"n_beta": 300.0, "localization": 300.0, "step_size": 1e-5, "n_chains": 4, "seed": 0}
CONVERGING = 3000.0
BEST = {"preconditioner": "curvature", "integrator": "leimkuhler_matthews", "control_variate": True}

NAMES = {
    "ours": "ours", "plain": "ours, SGLD", "best": "ours, best",
    "devinterp1": "1.3.2", "devinterp2": "2.0.1", "as it comes": "1.3.2 as it comes",
}  # fmt: skip


class Attention(nn.Module):
    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.qkv, self.output = nn.Linear(d_model, 3 * d_model), nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        split = self.qkv(x).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        return self.output(F.scaled_dot_product_attention(*split.unbind(0)).transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, d_model: int, n_heads: int, d_mlp: int) -> None:
        super().__init__()
        self.attention_norm, self.mlp_norm = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.attention = Attention(d_model, n_heads)
        self.mlp = nn.Sequential(nn.Linear(d_model, d_mlp), nn.GELU(), nn.Linear(d_mlp, d_model))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        return x + self.mlp(self.mlp_norm(x))


class Network(nn.Module):
    """The network without our package: the same parameters and outputs on standardised states."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Linear(4, 64)
        self.blocks = nn.ModuleList(Block(64, 4, 256) for _ in range(2))
        self.norm, self.readout = nn.LayerNorm(64), nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embedding(x)
        for block in self.blocks:
            x = block(x)
        return self.readout(self.norm(x))


def our_network() -> nn.Module:
    from lightning_physim import PhysicsTransformer

    return PhysicsTransformer(2, 4, 64, 256, embedding="linear", attend_self=True)


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


def clock(device: str) -> Callable[[], float]:
    """CPU seconds of this process; on a GPU wall seconds, with what was started done."""
    if device == "cpu":
        return time.process_time

    def now() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return now


def initial_loss(network: nn.Module, states: Tensor, targets: Tensor) -> float:
    with torch.no_grad():
        return F.mse_loss(network(states), targets).item()


def mean_squared_error(network: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.mse_loss(network(batch[0]), batch[1])


def devinterp1(job: dict) -> dict:
    from devinterp.optim.sgld import SGLD
    from devinterp.slt.sampler import estimate_learning_coeff_with_summary
    from torch.utils.data import DataLoader, TensorDataset

    network, found = Network(), {}
    network.load_state_dict(job["weights"])
    network.to(job["device"])
    exact = initial_loss(network, job["states"].to(job["device"]), job["targets"].to(job["device"]))
    now = clock(job["device"])
    for name, region in job["regions"].items():
        masks = None
        if region is not None:
            masks = {n: region.get(n, torch.zeros_like(p, dtype=torch.bool)) for n, p in network.named_parameters()}
        loader = DataLoader(TensorDataset(job["states"], job["targets"]), BATCH, shuffle=True)
        start = now()
        result = estimate_learning_coeff_with_summary(
            network,
            loader,
            evaluate=mean_squared_error,
            sampling_method=SGLD,
            optimizer_kwargs={"lr": job["step_size"], "nbeta": job["n_beta"], "localization": job["localization"]},
            num_draws=job["n_draws"],
            num_chains=job["n_chains"],
            seed=job["seed"],
            device=torch.device(job["device"]),
            verbose=False,
            optimize_over_per_model_param=masks,
        )
        seconds = now() - start
        trace = job["n_beta"] * (result["loss/trace"] - exact)
        found[name] = {"seconds": seconds, "trace": trace.tolist(), "mean": result["llc/mean"]}
    return found


def devinterp2(job: dict) -> dict:
    from datasets import Dataset, disable_progress_bars
    from devinterp.slt.llc import llc

    disable_progress_bars()
    logging.disable(logging.INFO)
    network, found = Network(), {}
    network.load_state_dict(job["weights"])
    states, targets = job["states"].to(job["device"]), job["targets"].to(job["device"])
    exact = initial_loss(network.to(job["device"]), states, targets)
    now = clock(job["device"])
    # Its data sets are made of token ids and its losses have one value per token but the first: rows of two tokens, the
    # first of them the number of a sample.
    rows = Dataset.from_dict({"input_ids": [[i, 0] for i in range(len(states))]}).with_format("torch")

    def loss_fn(model: nn.Module, ids: Tensor) -> Tensor:
        here = ids[:, 0]
        return (model(states[here]) - targets[here]).square().mean((1, 2))[:, None]

    for name, region in job["regions"].items():
        start = now()
        result = llc(
            network,
            rows,
            {},
            lr=job["step_size"],
            n_beta=job["n_beta"],
            localization=job["localization"],
            param_masks=region,
            loss_fn=loss_fn,
            num_chains=job["n_chains"],
            num_draws=job["n_draws"],
            batch_size=BATCH,
            init_seed=1000 * job["seed"],
            match_sampling_input_ids_across_chains=False,
            device=job["device"],
        )
        trace = job["n_beta"] * (result.loss_trace.values - exact)
        mean = float(result.llc_mean)
        found[name] = {"seconds": now() - start, "trace": trace.tolist(), "mean": mean}
    return found


def ours(job: dict) -> dict:
    import arviz_stats.base  # noqa: F401  imported before the clock starts, as devinterp is

    from lightning_physim.llc import SGLDConfig, estimate_llc, head_regions

    torch.set_flush_denormal(True)  # as physim does
    network, found = our_network(), {}
    network.load_state_dict(job["weights"], strict=False)
    network.to(job["device"])
    data = (job["states"].to(job["device"]), job["targets"].to(job["device"]))
    same = {name: job[name] for name in ("n_beta", "localization", "n_chains", "n_draws", "n_burn_in", "seed")}
    config = SGLDConfig(batch_size=BATCH, **same, **(BEST if job["best"] else {"step_size": job["step_size"]}))
    now = clock(job["device"])
    heads = head_regions(network)
    for layer in ("model", "L0", "L1"):
        names = [name for name in job["regions"] if name.startswith(layer)]
        if not names:
            continue
        start = now()
        result = estimate_llc(network, mean_squared_error, data, {n: heads.get(n) for n in names}, config)
        seconds = (now() - start) / len(names)
        for name in names:
            r = result[name]
            found[name] = {"seconds": seconds, "trace": r.trace.tolist(), "mean": r.mean, "mcse": r.mcse}
            found[name] |= {"step_size": r.step_size, "acceptance": r.acceptance, "failures": list(r.failures)}
    return found


WORKERS = {"ours": ours, "devinterp1": devinterp1, "devinterp2": devinterp2}


def work(worker: str, path: str) -> None:
    """Do the job and print what came out as the last line."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(json.dumps(WORKERS[worker](torch.load(path, weights_only=False))))


def run(python: str, worker: str, job: dict) -> dict:
    """``{region: {"seconds", "trace", ...}}`` of the job, done in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.pt"
        torch.save(job, path)
        command = [python, __file__, "--worker", worker, "--job", str(path)]
        # What it writes for people is shown only if it fails.
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode:
        raise SystemExit(f"{worker} failed with status {done.returncode}:\n{done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    seconds = sum(region["seconds"] for region in found.values())
    print(f"{worker}, seed {job['seed']}: {seconds:.1f} s", file=sys.stderr, flush=True)
    return found


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
    tools = [name for name in found if name.startswith("devinterp")]
    mine = [name for name in found if name not in tools]
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


def profile(job: dict) -> None:
    """Where the time of a layer's heads goes."""
    torch.set_num_threads(1)
    for layer in ("L0", "L1"):
        few = {**job, "regions": {n: m for n, m in job["regions"].items() if n.startswith(layer)}, "n_draws": 50}
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
            ours(few)
        events = sorted(profiler.key_averages(), key=lambda e: -e.self_cpu_time_total)
        total = sum(event.self_cpu_time_total for event in events)
        print(f"\n| heads of {layer} | calls | share of CPU time |\n|---|---|---|")
        for event in events[:14]:
            print(f"| {event.key} | {event.count} | {100 * event.self_cpu_time_total / total:.1f} % |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devinterp1", metavar="PYTHON", help="interpreter that has devinterp 1.3.2")
    parser.add_argument("--devinterp2", metavar="PYTHON", help="interpreter that has devinterp 2.0.1")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cache", default="data", type=Path, help="folder for data, network and raw results")
    parser.add_argument("--quick", action="store_true", help="a tenth of the draws, once: to see that it runs")
    parser.add_argument("--profile", action="store_true", help="only our own CPU profile")
    parser.add_argument("--worker", choices=WORKERS, help=argparse.SUPPRESS)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        return work(given.worker, given.job)
    draws, repeats = (20, 1) if given.quick else (200, given.repeats)
    problem = torch.load(prepare(given.cache), weights_only=False)
    regions = list(problem["regions"])
    job = {**problem, **JOB, "device": given.device, "n_draws": draws, "n_burn_in": 0, "best": False}
    if given.profile:
        return profile(job)
    pythons = {"ours": sys.executable, "devinterp1": given.devinterp1, "devinterp2": given.devinterp2}
    tools = {worker: python for worker, python in pythons.items() if python}
    # devinterp keeps what comes after the burn-in by itself in 1.3.2 only; here it draws throughout, and we drop it.
    burn_in = draws // 2
    shorter = {"n_draws": draws - burn_in, "n_burn_in": burn_in, "localization": CONVERGING}
    variants = {name: ("ours", {**shorter, "best": name == "best"}) for name in ("plain", "best")}
    variants |= {name: (name, {"localization": CONVERGING}) for name in tools if name != "ours"}
    raw: dict[str, dict[str, list[dict]]] = {"same job": {}, "same error": {}}
    for repeat in range(repeats):
        for worker, python in tools.items():
            raw["same job"].setdefault(worker, []).append(run(python, worker, {**job, "seed": repeat}))
        for name, (worker, changed) in variants.items():
            result = run(tools[worker], worker, {**job, **changed, "seed": 100 + repeat})
            raw["same error"].setdefault(name, []).append(result)
        (given.cache / "against_devinterp.json").write_text(json.dumps(raw))
    same_job({n: Estimates(r, 0, n == "ours") for n, r in raw["same job"].items()}, regions)
    # Over how many samples the initial loss of 1.3.2 is a mean, drawn without replacement.
    network = Network()
    network.load_state_dict(problem["weights"])
    with torch.no_grad():
        losses = (network(problem["states"]) - problem["targets"]).square().mean((1, 2))
    n = BATCH * JOB["n_chains"]
    variance = JOB["n_beta"] ** 2 * losses.var().item() / n * (1 - n / len(losses))
    kept = {name: 0 if worker == "ours" else burn_in for name, (worker, _) in variants.items()}
    found = {n: Estimates(r, kept[n], n in ("plain", "best")) for n, r in raw["same error"].items()}
    same_error(found, regions, variance)


if __name__ == "__main__":
    main()
