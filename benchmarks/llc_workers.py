"""The same estimates of learning coefficients by every tool, each in a process and an environment of its own.

Benchmarks import this file; a peer's interpreter runs it as a script, and needs torch and the peer alone.
"""

import argparse
import itertools
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.data import DataLoader, TensorDataset

ROOT = Path(__file__).parents[1]


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


def our_network(settings: dict[str, Any] | None = None) -> nn.Module:
    from lightning_physim.model import make_network

    alike = {"architecture": "transformer", "d_model": 64, "d_mlp": 256, "embedding": "linear", "attend_self": True}
    settings = alike if settings is None else settings
    return make_network(settings["architecture"], settings)


class OneRegion(nn.Module):
    """A network by a region's parameters alone, for a tool that knows no masks.

    Entries beside the mask move, and have no effect.
    """

    def __init__(self, network: nn.Module, masks: dict[str, Tensor]) -> None:
        super().__init__()
        self.network = (network.requires_grad_(False),)  # no submodule: its parameters are not to move
        self.names, self.masks = tuple(masks), tuple(masks.values())
        self.moving = nn.ParameterList(network.get_parameter(name).detach().clone() for name in masks)
        self.frozen = tuple(network.get_parameter(name).detach() for name in masks)

    def forward(self, x: Tensor) -> Tensor:
        weights = map(torch.where, self.masks, self.moving, self.frozen)
        return functional_call(self.network[0], dict(zip(self.names, weights, strict=True)), (x,))


class Problem:
    """What a job asks, ready for a tool.

    Args:
        job: ``weights``, ``states``, ``targets``, ``regions`` ``{name: masks or None}``, the sampler's settings, and
            ``network``: options of ours, or None for the one without our package.
        own: our network in any case.
    """

    def __init__(self, job: dict[str, Any], own: bool = False) -> None:
        device, settings = job["device"], job["network"]
        self.network = our_network(settings) if own or settings is not None else Network()
        self.network.load_state_dict(job["weights"], strict=False)
        self.network.to(device)
        self.states, self.targets = job["states"].to(device), job["targets"].to(device)
        with torch.no_grad():
            self.loss = F.mse_loss(self.network(self.states), self.targets).item()

    def loader(self, job: dict[str, Any]) -> DataLoader:
        return DataLoader(TensorDataset(self.states, self.targets), job["batch_size"], shuffle=True)


def clock(device: str) -> Callable[[], float]:
    """CPU seconds of this process and of what it ran; on a GPU wall seconds, with what was started done."""
    if device == "cpu":
        return lambda: time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])

    def now() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return now


def mean_squared_error(network: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.mse_loss(network(batch[0]), batch[1])


def residuals(network: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return network(batch[0]) - batch[1]


def step_size(job: dict[str, Any], region: str) -> float:
    """Of a region: the one of all, or its own."""
    size = job["step_size"]
    return size[region] if isinstance(size, dict) else size


def devinterp1(job: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    from devinterp.optim.sgld import SGLD
    from devinterp.slt.sampler import estimate_learning_coeff_with_summary

    problem = Problem(job)
    network, now = problem.network, clock(job["device"])
    for name, region in job["regions"].items():
        masks = None
        if region is not None:
            masks = {n: region.get(n, torch.zeros_like(p, dtype=torch.bool)) for n, p in network.named_parameters()}
        loader = problem.loader(job)
        start = now()
        result = estimate_learning_coeff_with_summary(
            network,
            loader,
            evaluate=mean_squared_error,
            sampling_method=SGLD,
            optimizer_kwargs={"lr": step_size(job, name), "nbeta": job["n_beta"], "localization": job["localization"]},
            num_draws=job["n_draws"],
            num_chains=job["n_chains"],
            seed=job["seed"],
            device=torch.device(job["device"]),
            verbose=False,
            optimize_over_per_model_param=masks,
        )
        seconds = now() - start
        trace = job["n_beta"] * (result["loss/trace"] - problem.loss)
        yield name, {"seconds": seconds, "trace": trace.tolist(), "mean": result["llc/mean"]}


def devinterp2(job: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    from datasets import Dataset, disable_progress_bars
    from devinterp.slt.llc import llc

    disable_progress_bars()
    problem, now = Problem(job), clock(job["device"])
    # Its data sets are made of token ids and its losses have one value per token but the first: rows of two tokens, the
    # first of them the number of a sample.
    ids = [[i, 0] for i in range(len(problem.states))]
    rows = Dataset.from_dict({"input_ids": ids}).with_format("torch")

    def loss_fn(model: nn.Module, ids: Tensor) -> Tensor:
        here = ids[:, 0]
        return (model(problem.states[here]) - problem.targets[here]).square().mean((1, 2))[:, None]

    for name, region in job["regions"].items():
        start = now()
        result = llc(
            problem.network,
            rows,
            {},
            lr=step_size(job, name),
            n_beta=job["n_beta"],
            localization=job["localization"],
            param_masks=region,
            loss_fn=loss_fn,
            num_chains=job["n_chains"],
            num_draws=job["n_draws"],
            batch_size=job["batch_size"],
            init_seed=1000 * job["seed"],
            match_sampling_input_ids_across_chains=False,
            device=job["device"],
        )
        trace = job["n_beta"] * (result.loss_trace.values - problem.loss)
        mean = float(result.llc_mean)
        yield name, {"seconds": now() - start, "trace": trace.tolist(), "mean": mean}


def canonical(job: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    if not hasattr(itertools, "batched"):
        # Its wheel asks for Python 3.10, and it imports a name of 3.12, of which nothing here makes use.
        itertools.batched = None  # type: ignore[attr-defined]
    from canonical_interp import LLCEstimator

    problem, now = Problem(job), clock(job["device"])
    for name, region in job["regions"].items():
        network = problem.network if region is None else OneRegion(problem.network, region)
        loader, stamps = problem.loader(job), []
        estimator = LLCEstimator(
            draws=job["n_draws"],
            chains=job["n_chains"],
            burnin_steps=0,
            steps_bw_draws=1,
            learning_rate=step_size(job, name),
            localization=job["localization"],
            nbeta=job["n_beta"],
        )

        def unpack(batch: list[Tensor], stamps: list[float] = stamps) -> tuple[Tensor, Tensor]:
            stamps.append(now())
            return batch[0], batch[1]

        torch._dynamo.reset()  # or it gives up compiling after eight regions
        start = now()
        with torch.no_grad():  # or it prepares for a second derivative, which fused attention does not have
            mean = estimator.estimate_llc(
                network,
                loader,
                criterion_fn=F.mse_loss,
                devices=job["device"],
                seed=job["seed"],
                unpack_fn=unpack,
                show_progress=False,
            )
        seconds = now() - start
        trace = job["n_beta"] * (estimator.get_metrics()["losses"] - problem.loss)
        # Over the data once for the initial loss, and a step for each draw. What is beyond that is compilation.
        compiled = seconds - len(stamps) * float(np.median(np.diff(stamps[len(loader) :])))
        yield name, {"seconds": seconds, "compiling": compiled, "trace": trace.tolist(), "mean": float(mean)}


def ours(job: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    import arviz_stats.base  # noqa: F401  imported before the clock starts, as devinterp is

    from lightning_physim.llc import SGLDConfig, estimate_llc, head_regions

    problem = Problem(job, own=True)
    data, heads = (problem.states, problem.targets), head_regions(problem.network)
    same = (
        "n_beta", "localization", "step_size", "n_chains", "n_draws", "n_burn_in", "batch_size", "integrator", "seed",
    )  # fmt: skip
    given = residuals if job["residuals"] else None
    now = clock(job["device"])
    for part in job["parts"]:
        names = [name for name in job["regions"] if name.startswith(part)]
        if not names:
            continue
        config = SGLDConfig(**{name: job[name] for name in same} | job["settings"].get(part, {}))
        start = now()
        regions = {name: heads.get(name) for name in names}
        result = estimate_llc(problem.network, mean_squared_error, data, regions, config, residual_fn=given)
        seconds = (now() - start) / len(names)
        for name in names:
            r = result[name]
            found = {"seconds": seconds, "trace": r.trace.tolist(), "mean": r.mean, "mcse": r.mcse}
            yield name, found | {"step_size": r.step_size, "failures": list(r.failures.values())}


WORKERS = {"ours": ours, "devinterp1": devinterp1, "devinterp2": devinterp2, "canonical": canonical}
DEFAULTS: dict[str, Any] = {
    "network": None, "device": "cpu", "n_burn_in": 0, "integrator": "euler", "seed": 0, "settings": {},
    "residuals": False, "parts": ("model", "L0", "L1"),
}  # fmt: skip
"""Of a job. Ours estimates the regions together whose names start with the same of ``parts``; ``settings`` are those of
the sampler by part."""


def run(python: str, worker: str, job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """``{region: {"seconds", "trace", ...}}`` of the job, in a process of its own, with nothing compiled before."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.pt"
        torch.save(DEFAULTS | job, path)
        paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        one = {"OMP_NUM_THREADS": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1"}
        env = os.environ | one | {"PYTHONPATH": paths, "TORCHINDUCTOR_CACHE_DIR": folder, "TMPDIR": folder}
        command = [python, __file__, worker, str(path)]
        # What it writes for people is shown only if it fails.
        done = subprocess.run(command, capture_output=True, text=True, env=env)
    if done.returncode:
        raise SystemExit(f"{worker} failed with status {done.returncode}:\n{done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    seconds = sum(region["seconds"] for region in found.values())
    print(f"{worker}, seed {job.get('seed', 0)}: {seconds:.1f} s", file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Do a job and print what came out as the last line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("worker", choices=WORKERS)
    parser.add_argument("job", help="file with the job")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # for all of them, as physim does
    print(json.dumps(dict(WORKERS[given.worker](torch.load(given.job, weights_only=False)))))


if __name__ == "__main__":
    main()
