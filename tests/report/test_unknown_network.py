"""The page of a run stands whatever network it was trained with."""

import yaml

from lightning_physim.model import NETWORKS, describe_network
from lightning_physim.report import write_report
from lightning_physim.tracking import JsonlLogger, RunDirectory


def test_a_network_that_this_version_does_not_know_is_named_on_the_page(tmp_path):
    run = RunDirectory(tmp_path / "run")
    JsonlLogger(run.metrics).log_metrics({"val/loss": 0.5}, step=10)
    run.config.write_text(yaml.safe_dump({"seed_everything": 3, "model": {"architecture": "graph_network"}}))
    page = write_report(run.path).read_text()
    assert '<span class="facts">· seed 3 · graph network · 10 steps</span>' in page


def test_every_network_has_a_label_of_its_own():
    hparams = {"n_layers": 2, "n_heads": 4, "d_model": 32}
    labels = [describe_network(name, hparams) for name in NETWORKS]
    assert labels == ["2 layers of 4 heads, width 32", "no attention", "interaction network"]
