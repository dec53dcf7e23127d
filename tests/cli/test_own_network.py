"""A network of the user's own, by the command."""

import sys

import pytest
import torch
import yaml

from lightning_physim import Run
from lightning_physim.cli.own_network import with_own_network
from lightning_physim.errors import InputError
from lightning_physim.tracking import read_metrics
from tests.helpers.fits import TINY, only_run, physim, rows

NETWORK = """
import pytorch_lightning as pl
import torch
from torch import nn


class {name}(pl.LightningModule):
    def __init__(self, width: int = 8, lr: float = 3e-3) -> None:
        super().__init__()
        self.lr = lr
        self.embed, self.read = nn.Linear(4, width), nn.Linear(width, 4)
        layer = nn.TransformerEncoderLayer(width, 2, 8, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def residual(self, state):
        return self.read(self.encoder(self.embed(state)))

    def forward(self, state):
        return state + self.residual(state)

    def estimation_residuals(self, batch):
        return self.residual(batch[0]) - batch[1]

    def estimation_loss(self, batch):
        return self.estimation_residuals(batch).square().mean()

    def training_step(self, batch, batch_idx):
        return self.estimation_loss((batch.states[:, 0], batch.targets[:, 0]))

    def validation_step(self, batch, batch_idx):
        loss = self.estimation_loss((batch.states[:, 0], batch.targets[:, 0]))
        self.log("val/loss", loss, batch_size=len(batch.states))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), self.lr)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch, request):
    """A project with a network in a module of a name of its own: modules are kept by name for the whole process."""
    module = f"mine_{abs(hash(request.node.name)) % 10**8}"
    (tmp_path / f"{module}.py").write_text(NETWORK.replace("{name}", "Mine"))
    config = {key: value for key, value in TINY.items() if key != "model"}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config | {"emergence": False}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path, f"{module}.Mine"


@pytest.mark.slow
def test_it_is_trained_measured_resumed_and_opened(folder):
    path, network = folder
    physim("fit", "--config=tiny.yaml", f"--model={network}", "--model.width=12", "--trainer.max_steps=10", cwd=path)
    run = only_run(path)
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"] == {"class_path": network, "init_args": {"width": 12, "lr": 0.003}}
    logged = read_metrics(run / "metrics.jsonl")
    assert {"probe/enrichment/L0H1", "llc/L0H1/mean", "geometry/L0H0/trace", "val/loss"} <= logged.keys()
    assert network in (run / "report.html").read_text()
    physim("fit", "--ckpt_path=last", "--trainer.max_steps=12", cwd=path)
    assert read_metrics(run / "metrics.jsonl")["probe/enrichment/L0H1"][0][-1] == 12
    done = physim("llc", "last", "--steps=[12]", "--regions=[L0H1]", cwd=path)
    assert done.stdout.startswith("step 12: 1 regions")
    opened = Run("last")
    module = opened.model()
    assert type(module).__name__ == "Mine" and module.embed.out_features == 12
    patterns = opened.attention(opened.data.probe_states(3)[0])
    assert patterns.shape == (1, 3, 2, 6, 6) and torch.allclose(patterns.sum(-1), torch.ones(1, 3, 2, 6))
    done = physim("test", "--ckpt_path=last", cwd=path, code=2)
    assert "No `test_step()` method" in done.stderr
    done = physim("predict", "--ckpt_path=last", cwd=path, code=2)
    assert done.stderr.splitlines()[-1].startswith("physim: physim predict needs a network with predict_step(batch")
    mine = sys.modules[network.partition(".")[0]].Mine
    mine.predict_step = lambda self, batch, batch_idx: {"next": self(batch.states[:, 0])}
    done = physim("predict", "--ckpt_path=last", cwd=path)
    assert "\npredicted/next [5, 6, 4], truth [5, 7, 6, 4]; " in done.stdout


def test_what_it_is_tested_for_stays_in_the_run(folder):
    path, network = folder
    module, _, name = network.partition(".")
    with (path / f"{module}.py").open("a") as file:
        file.write("    def test_step(self, batch, batch_idx, dataloader_idx=0):\n")
        file.write("        self.log('test/loss', dataloader_idx / 4)\n")
    left_out = [f"--{section}=false" for section in ("llc", "geometry", "probe", "snapshots", "wandb")]
    options = ["--data.ood={'gravity': {'gravity': 2.0}}", "--trainer.max_steps=2", "--trainer.logger=CSVLogger"]
    physim("fit", "--config=tiny.yaml", f"--model={network}", *options, *left_out, cwd=path)
    done = physim("test", "--ckpt_path=last", cwd=path)
    run = only_run(path)
    assert done.stdout.strip().endswith(f"in runs/{run.name}/metrics.jsonl and runs/{run.name}/report.html")
    last = rows(run)[-1]
    assert (last["step"], last["test/loss"], last["ood_gravity/loss"]) == (2, 0.0, 0.25)
    assert "<th>test</th><th>ood_gravity</th>" in (run / "report.html").read_text()
    (board,) = (run / "lightning_logs").iterdir()  # beside what training has left
    assert "test/loss/dataloader_idx_1" in (board / "metrics.csv").read_text().splitlines()[0]
    assert yaml.safe_load((board / "hparams.yaml").read_text())["data"]["n_train"] == 40


def test_what_is_named_is_a_network(folder):
    path, network = folder
    for wrong, line in (
        (
            "mine_nowhere.Mine",
            "--model takes the path of a class, such as my.Network; got mine_nowhere.Mine: No module",
        ),
        (network + "s", "has no attribute 'Mines'"),
        ("Mine", "--model takes the path of a LightningModule with training_step(batch, batch_idx)"),
        ("torch.nn.Linear", "estimation_loss(batch)"),
        ("pytorch_lightning.LightningModule", "lacks training_step"),
    ):
        done = physim("fit", "--config=tiny.yaml", f"--model={wrong}", cwd=path, code=2)
        (said,) = done.stderr.strip().splitlines()
        assert said.startswith("physim: --model takes ") and line in said, said
    assert not list(path.glob("runs/*"))


def test_options_of_our_network_do_not_reach_another(folder):
    _, network = folder
    ours = {"model": {"n_layers": 2, "d_model": 16}, "data": {}}
    for word in ("--model.lr=1", "--model={'n_heads': 8}", '--model={"lr": 1.0}'):
        assert with_own_network(ours, [word]) == (ours, False)
    whole = f'--model={{"class_path": "{network}", "init_args": {{"width": 3}}}}'
    assert with_own_network(ours, [whole]) == ({"data": {}}, True)
    for words in ([f"--model={network}"], ["--model", network, "--model.width=3"]):
        assert with_own_network(ours, words) == ({"data": {}}, True)
    named = {"model": ours["model"] | {"class_path": network, "init_args": {"width": 3}}, "data": {}}
    kept = {"data": {}, "model": {"class_path": network, "init_args": {"width": 3}}}
    assert with_own_network(named, []) == (kept, True)
    with pytest.raises(InputError, match="--model takes"):
        with_own_network(ours, ["--model"])
