"""Induction heads in a small sequence model of torch's own layers, watched by lightning_physim.

    python examples/induction_heads.py [--steps 3000]

A sequence of tokens is repeated after a pause of random length. A head that looks for the earlier copy of the present
token, and at what came after it, knows the next one: an induction head (Olsson et al. 2022, arXiv 2209.11895). Nothing
here is a particle. The lines marked ``glue`` are all that this package asks for.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_physim.callbacks import (
    NETWORK_SGLD,
    EmergenceMonitor,
    Geometry,
    LearningCoefficient,
    LogSpacedCheckpoint,
    Observer,
)
from lightning_physim.keys import head_name
from lightning_physim.llc import head_regions
from lightning_physim.probes import attention_patterns
from lightning_physim.report import LiveReport
from lightning_physim.tracking import new_loggers, new_run

N_TOKENS, COPY, PAUSE = 8, 8, 4
LENGTH = 2 * COPY + PAUSE


def sequences(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Tokens ``[n, LENGTH]``; and for each position where the token after the earlier copy is, -1 without one."""
    rng = torch.Generator().manual_seed(seed)
    tokens = torch.randint(N_TOKENS, (n, LENGTH), generator=rng)
    after = torch.full((n, LENGTH), -1)
    for row, pause in enumerate(torch.randint(PAUSE + 1, (n,), generator=rng).tolist()):
        start = COPY + pause
        tokens[row, start : start + COPY] = tokens[row, :COPY]
        after[row, start : start + COPY - 1] = torch.arange(1, COPY)
    return tokens, after


class SequenceModel(pl.LightningModule):
    """Two layers of causal attention; the squared error of the next token, one-hot."""

    def __init__(self, width: int = 32, n_heads: int = 2, n_layers: int = 2, lr: float = 2e-3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.tokens, self.places = nn.Embedding(N_TOKENS, width), nn.Embedding(LENGTH, width)
        layer = nn.TransformerEncoderLayer(width, n_heads, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, n_layers, enable_nested_tensor=False)
        self.read = nn.Linear(width, N_TOKENS)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.places(torch.arange(LENGTH, device=tokens.device))
        mask = nn.Transformer.generate_square_subsequent_mask(LENGTH, device=tokens.device, dtype=x.dtype)
        return self.read(self.layers(x, mask=mask, is_causal=True))

    def residuals(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """``[sequences, positions, tokens]`` where the next token can be known; 0 elsewhere."""
        tokens, after = batch
        known = (after[:, :-1] >= 0).unsqueeze(-1)
        wanted = tokens[:, 1:, None] == torch.arange(N_TOKENS, device=self.device)  # F.one_hot has no batching rule
        return known * (self(tokens)[:, :-1] - wanted.to(self.dtype))

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return self.residuals(batch).square().mean()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = self.loss(batch)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), self.hparams["lr"])


class InductionProbe(Observer):  # glue: a probe of one's own, measured on a log-spaced schedule, bit-neutral and timed
    """Logs ``probe/induction/L{l}H{h}``: attention of a head to the token after the earlier copy of the present one."""

    name = "induction"

    def __init__(self, tokens: Tensor, after: Tensor, steps_per_decade: int = 12) -> None:
        super().__init__(steps_per_decade)
        self.tokens, self.after = tokens, after
        self.history: dict[str, tuple[list[int], list[float]]] = {}  # what EmergenceMonitor reads

    @torch.no_grad()
    def measure(self, trainer: pl.Trainer, module: pl.LightningModule, final: bool) -> dict[str, float]:
        patterns = attention_patterns(module, self.tokens.to(module.device)).cpu()  # [layers, batch, heads, query, key]
        known = self.after >= 0
        target = self.after.clamp(min=0)[None, :, None, :, None].expand(*patterns.shape[:-1], 1)
        mass = patterns.gather(-1, target).squeeze(-1).transpose(2, 3)[:, known].mean(1)  # [layers, heads]
        scores = {f"probe/induction/{head_name(*place)}": float(mass[place]) for place in _places(mass)}
        for key, score in scores.items():
            steps, values = self.history.setdefault(key, ([], []))
            steps.append(trainer.global_step)
            values.append(score)
        return scores


def _places(mass: Tensor) -> list[tuple[int, int]]:
    return [(layer, head) for layer in range(mass.shape[0]) for head in range(mass.shape[1])]


def main(steps: int = 3000, runs: str = "runs", quick: bool = False) -> Path:
    """Train, and leave ``runs/<id>/``; its path."""
    pl.seed_everything(0)
    run = new_run(runs, name="induction")  # glue
    held_out = sequences(64 if quick else 128, seed=1)
    model = SequenceModel()
    sampler = replace(NETWORK_SGLD, n_chains=2, n_draws=12, n_burn_in=10) if quick else NETWORK_SGLD
    trainer = pl.Trainer(
        logger=new_loggers(run),  # glue
        callbacks=[
            InductionProbe(*held_out),
            EmergenceMonitor(score="probe/induction/"),  # glue: growth laws and forecasts of that score
            LearningCoefficient(  # glue: of every head of torch.nn.TransformerEncoderLayer
                loss_fn=SequenceModel.loss, residual_fn=SequenceModel.residuals, data=held_out, sgld=sampler,
                first_step=10 if quick else 100, steps_per_decade=2,
            ),
            Geometry(  # glue: the spectrum of every head
                residual_fn=SequenceModel.residuals, data=tuple(each[:4] for each in held_out),
                regions=head_regions(model), steps_per_decade=2,
            ),
            LogSpacedCheckpoint(),  # glue
            LiveReport(run),  # glue
        ],
        default_root_dir=run.path, max_steps=steps, max_epochs=-1, accelerator="cpu", enable_model_summary=False,
    )  # fmt: skip
    data = TensorDataset(*sequences(512 if quick else 20_000, seed=0))
    trainer.fit(model, DataLoader(data, batch_size=64, shuffle=True))
    return run.path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3000, help="optimizer steps (default: %(default)s)")
    print(main(parser.parse_args().steps))
