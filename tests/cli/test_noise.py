"""The terminal of a command belongs to the command."""

import logging
import re
import subprocess
import sys
import warnings

import pytest
import yaml
from tqdm import tqdm

from lightning_physim.cli.noise import PACKAGE, without_noise
from tests.helpers.fits import physim, without

LIGHTNING = logging.getLogger("pytorch_lightning.utilities.rank_zero")


def test_adverts_and_notices_go_and_the_rest_stays(caplog):
    with caplog.at_level("INFO"), without_noise():
        LIGHTNING.info("💡 Tip: buy this")
        LIGHTNING.info("`Trainer.fit` stopped: `max_steps=60` reached.")
        logging.getLogger("lightning_fabric.utilities.seed").info("Seed set to 0")
        LIGHTNING.info("`Trainer.fit` stopped: no validation loss has fallen")
        warnings.warn("`isinstance(treespec, LeafSpec)` is deprecated, use another", FutureWarning, stacklevel=1)
        with pytest.warns(UserWarning, match="a loss of its own"):
            warnings.warn("a loss of its own", UserWarning, stacklevel=1)
    assert caplog.messages == ["`Trainer.fit` stopped: no validation loss has fallen"]
    with pytest.warns(FutureWarning):  # everything is as it was
        warnings.warn("`isinstance(treespec, LeafSpec)` is deprecated, use another", FutureWarning, stacklevel=1)
    with caplog.at_level("INFO"):
        LIGHTNING.info("💡 Tip: buy this")
    assert caplog.messages[1:] == ["💡 Tip: buy this"]


def test_warnings_of_ours_come_without_a_path_and_above_a_bar(capsys, monkeypatch):
    with without_noise(), tqdm(total=2, desc="a bar", ascii=True) as bar:
        bar.update()
        # As Lightning does when it is imported, which is after the command has begun.
        monkeypatch.setattr(warnings, "formatwarning", lambda message, category, filename, *_: f"{filename}: {message}")
        warnings.showwarning(UserWarning("a region fails"), UserWarning, f"{PACKAGE}/callbacks/x.py", 7)
        warnings.showwarning(UserWarning("another fails"), UserWarning, "/elsewhere/x.py", 7)
    lines = re.split(r"[\r\n]+", capsys.readouterr().err)
    assert "a region fails" in lines and "/elsewhere/x.py: another fails" in lines


def test_a_training_says_nothing_of_others(tmp_path, caplog):
    quick = without("emergence", "snapshots", "llc", "geometry", "probe")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(quick))
    with caplog.at_level("INFO"):
        physim("fit", "--config=tiny.yaml", "--trainer.max_steps=1", "--wandb=false", cwd=tmp_path)
    assert not [
        said for said in caplog.messages if not any(word in said for word in ("W&B", "left out", "report, which"))
    ]


def test_it_costs_no_torch():
    code = "import sys, lightning_physim.cli.noise; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
